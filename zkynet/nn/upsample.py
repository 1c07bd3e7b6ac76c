"""Interpolation to another spatial size."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from ..framework.errors import InputError, ShapeError
from ..framework.operators.resize import resize
from .recorded import RecordedLayer

# What each mode is along one axis, and for how many spatial axes it is meant (None for any).
_MODES = {"nearest": ("nearest", None), "nearest-exact": ("nearest-exact", None), "linear": ("linear", 1),
          "bilinear": ("linear", 2), "bicubic": ("cubic", 2), "trilinear": ("linear", 3)}


class Upsample(RecordedLayer):
    """Resample the spatial axes to another size (torch.nn.Upsample), larger or smaller.

    Along each axis of n elements that becomes m, output i is interpolated at the place p of the input:

    - nearest: element floor(i n / m); nearest-exact: element floor((i + 1/2) n / m),
    - otherwise p = (i + 1/2) n / m - 1/2, or with align_corners p = i (n - 1) / (m - 1);
      linear, bilinear, trilinear: between the two neighbours of p; bicubic: between four, by Keys' kernel (a = -0.75).

    Args:
        size: the spatial shape of the output, an int or one for each axis.
        scale_factor: instead, a number or one for each axis: m = floor(n scale_factor), and 1 / scale_factor in the
            place of n / m.
        mode: "nearest", "nearest-exact", "linear" (one spatial axis), "bilinear", "bicubic" (two), "trilinear" (three).
        align_corners: for the modes that are not nearest; False by default.
        recompute_scale_factor: use n / m even though scale_factor was given.

    Raises:
        InputError: when the arguments make no sense.
        ShapeError: when an input (batch, channels, *space) has not the axes of the mode, or no elements.

    >>> from zkynet import nn
    >>> nn.Upsample(scale_factor=2)([[[1.0, 2.0]]]).value.tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    >>> nn.Upsample(size=3, mode="linear", align_corners=True)([[[1.0, 2.0]]]).value.tolist()
    [[[1.0, 1.5, 2.0]]]
    """

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None):
        super().__init__()
        if mode not in _MODES:
            raise InputError(f"Upsample: mode must be one of {', '.join(_MODES)}, but got {mode!r}.")
        if (size is None) == (scale_factor is None):
            raise InputError(f"Upsample: give either size or scale_factor, but got size={size!r} and "
                             f"scale_factor={scale_factor!r}.")
        if align_corners is not None and mode.startswith("nearest"):
            raise InputError(f"Upsample: align_corners has no meaning for mode={mode!r}: leave it out.")
        if size is not None and recompute_scale_factor:
            raise InputError("Upsample: recompute_scale_factor needs scale_factor, but size was given.")
        given: Any = size if scale_factor is None else scale_factor
        kind, made = (Integral, int) if scale_factor is None else (Real, float)
        several = isinstance(given, (tuple, list))
        numbers = list(given) if several else [given]
        if not numbers or not all([isinstance(n, kind) and 0 < float(n) < math.inf for n in numbers]):
            raise InputError(f"Upsample: size takes ints >= 1 and scale_factor numbers > 0, one or one for each axis, "
                             f"but got size={size!r}, scale_factor={scale_factor!r}.")
        taken = tuple([made(n) for n in numbers]) if several else made(numbers[0])
        self.size, self.scale_factor = (taken, None) if scale_factor is None else (None, taken)
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def call(self, input: Any) -> Any:
        return self.replay(self._resized, input)

    def _resized(self, x: Any) -> Any:
        mode, space = _MODES[self.mode]
        if x.ndim not in ((3, 4, 5) if space is None else (space + 2,)) or 0 in x.shape[1:]:
            axes = "(batch, channels, *space)" if space is None else f"(batch, channels and {space} spatial)"
            raise ShapeError(f"Upsample: mode={self.mode!r} takes an input with the axes {axes}, none of them empty, "
                             f"but its input has the shape {x.shape}.")
        scale = None
        if self.scale_factor is None:
            size = self._each(self.size, x.ndim - 2, "size")
        else:
            factors = self._each(self.scale_factor, x.ndim - 2, "scale_factor")
            size = tuple([math.floor(n * factor) for n, factor in zip(x.shape[2:], factors, strict=True)])
            if not self.recompute_scale_factor:
                scale = tuple([1.0 / factor for factor in factors])
        if min(size) < 1:
            raise ShapeError(f"Upsample: an input of shape {x.shape} would become one of spatial shape {size}.")
        return resize(x, size=size, mode=mode, align_corners=bool(self.align_corners), scale=scale)

    @staticmethod
    def _each(given: Any, space: int, name: str) -> tuple:
        found = tuple(given) if isinstance(given, (tuple, list)) else (given,) * space
        if len(found) != space:
            raise ShapeError(f"Upsample: {name}={given!r} is for {len(found)} spatial axes, but its input has {space}.")
        return found

    def extra(self) -> str:
        given = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{given}, mode={self.mode!r}" + (", align_corners=True" if self.align_corners else "")
