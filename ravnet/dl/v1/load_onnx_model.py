"""ONNX files as models."""

from ..onnx import load_onnx

__all__ = ["load_onnx"]
