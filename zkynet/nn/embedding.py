"""A table of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..framework import cg, op
from ..framework.errors import InputError
from .init import Initialiser, Shape, fresh_seed
from .recorded import RecordedLayer


class Embedding(RecordedLayer):
    """y[..., :] = weight[x[...], :], for integers x (torch.nn.Embedding).

    Args:
        num_embeddings: rows of the table; x must be smaller. A position out of range gives nan (it cannot be known when
            a program runs), a negative one counts from the end.
        embedding_dim: size of the output's last axis.
        padding_idx: a row that starts as zeros and gets no gradient; only positions below 0 that come to it give one.
        max_norm, norm_type, scale_grad_by_freq, sparse: PyTorch's, accepted with its defaults only.
        _weight, _freeze: the table, and whether it is not trained; `from_pretrained` gives them.
        weight_init: an initialiser (see `nn.init`); PyTorch's by default, normal(0, 1).

    Parameters: weight (num_embeddings, embedding_dim).

    Raises:
        InputError: when x is not made of integers, a size is no int, or an argument is not supported.

    >>> from zkynet import nn
    >>> import numpy as np
    >>> nn.Embedding(10, 3)(np.array([[1, 2], [4, 9]])).shape
    (2, 2, 3)
    """

    weight: cg.Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                 sparse: bool = False, _weight: Any = None, _freeze: bool = False, *,
                 weight_init: Initialiser | None = None):
        super().__init__()
        for name, given, instead in (
                ("max_norm", max_norm is not None, "normalise the weight yourself between steps"),
                ("norm_type", norm_type != 2.0, "it only matters with max_norm, which is not supported"),
                ("scale_grad_by_freq", scale_grad_by_freq, "divide the gradient's rows by their counts"),
                ("sparse", sparse, "gradients are dense here")):
            if given:
                raise InputError(f"Embedding: {name} is not supported: {instead}.")
        self.check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = self._row(padding_idx)
        how = weight_init if _weight is None else np.asarray(_weight, np.float32)
        self.make("weight", (num_embeddings, embedding_dim), self._normal if how is None else how)
        self.weight.trainable = not _freeze

    def _normal(self, shape: Shape) -> np.ndarray:
        table = np.random.default_rng(fresh_seed()).standard_normal(shape, np.float32)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0.0
        return table

    def _row(self, padding_idx: int | None) -> int | None:
        if padding_idx is None:
            return None
        rows = self.num_embeddings
        if not -rows <= padding_idx < rows:
            raise InputError(f"Embedding: padding_idx={padding_idx} is no row of num_embeddings={rows}.")
        return padding_idx % rows

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None,
                        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                        sparse: bool = False) -> Embedding:
        """A layer whose table is given; with `freeze` it is not trained. Other arguments as for `Embedding`.

        >>> from zkynet import nn
        >>> nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1, 0]).value.tolist()
        [[3.0, 4.0], [1.0, 2.0]]
        """
        table = np.asarray(embeddings, np.float32)
        if table.ndim != 2:
            raise InputError(f"Embedding: a table (num_embeddings, embedding_dim) is needed, but got {table.shape}.")
        return cls(table.shape[0], table.shape[1], padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, table,
                   freeze)

    def call(self, input: Any) -> Any:
        return self.replay(self._rows, input, self.weight)

    def _rows(self, input: Any, weight: Any) -> Any:
        if input.dtype.kind not in "iu":
            raise InputError(f"{self.functional_name} takes integers, positions in its table, but got {input.aval!r}. "
                             "Cast them first, if they are meant so.")
        y = op.take(weight, input, axis=0)
        if self.padding_idx is None:
            return y
        padded = op.expand_dims(op.equal(input, op.full((), self.padding_idx, input.dtype)), axis=-1)
        return op.where(padded, op.stop_gradient(y), y)

    def extra(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
