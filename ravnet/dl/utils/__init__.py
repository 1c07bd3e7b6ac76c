"""What training loops need."""

from .data_manipulation import batch_iterator

__all__ = ["batch_iterator"]
