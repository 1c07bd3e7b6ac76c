"""RavDL's layers."""

from .custom import CustomLayer
from .layer import Layer
from .shaping import (
    Add,
    Concat,
    Division,
    Dot,
    Multiply,
    Power,
    Reshape,
    Subtract,
    Transpose,
)
from .units import (
    Activation,
    BatchNormalization1D,
    BatchNormalization2D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNormalization,
    MaxPooling2D,
)

__all__ = [
    "Activation", "Add", "BatchNormalization1D", "BatchNormalization2D", "Concat", "Conv2D", "CustomLayer", "Dense",
    "Division", "Dot", "Dropout", "Embedding", "Flatten", "Layer", "LayerNormalization", "MaxPooling2D", "Multiply",
    "Power", "Reshape", "Subtract", "Transpose",
]
