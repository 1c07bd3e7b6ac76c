"""Data sets and loaders: arrays, files and folders, as batches on the device.

>>> from zkynet import data
>>> digits = data.sklearn("digits")
>>> parts = data.split(digits, {"train": 0.9, "validation": 0.1}, seed=0, stratify=True)
>>> loader = data.Loader(parts["train"], batch_size=64, shuffle=True, seed=0)
>>> x, y = loader.peek()
>>> x.shape, y.shape, len(loader)
((64, 64), (64,), 26)
"""

from .bundled import sklearn
from .cifar_files import cifar10
from .dataset import ArrayDataset, Dataset, Rows, Subset, as_dataset, fingerprint, in_memory, read_rows
from .draws import Draws, epoch_order
from .errors import DataError
from .images import ImageFolder
from .loader import Batch, Loader
from .mnist_files import idx, mnist
from .numpy_files import npy, npz
from .plain_pickle import read_plain_pickle
from .sequences import Vocabulary, Windows, cut, text
from .splits import Splits, split
from .tables import csv
from .transforms import Mapped, Normalize, RandomCrop, RandomHorizontalFlip, Resize, ToFloat, Transform

__all__ = [
    "ArrayDataset", "Batch", "DataError", "Dataset", "Draws", "ImageFolder", "Loader", "Mapped", "Normalize",
    "RandomCrop", "RandomHorizontalFlip", "Resize", "Rows", "Splits", "Subset", "ToFloat", "Transform", "Vocabulary",
    "Windows", "as_dataset", "cifar10", "csv", "cut", "epoch_order", "fingerprint", "idx", "in_memory", "mnist", "npy",
    "npz", "read_plain_pickle", "read_rows", "sklearn", "split", "text",
]
