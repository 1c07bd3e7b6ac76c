"""Losses of ops, by name, class or object."""

from __future__ import annotations

from typing import Any

from zkynet.framework.errors import InputError

from ..api.op import Op


class Loss:
    """Derive it and write `loss(self, y, y_pred)`, an op without axes."""

    def loss(self, y: Op, y_pred: Op) -> Op:
        raise NotImplementedError  # overridden by both below, and by scripts

    def __call__(self, y: Op, y_pred: Op) -> Op:
        return self.loss(y, y_pred)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SquareLoss(Loss):
    """The mean of (y_pred - y)^2."""

    def loss(self, y: Op, y_pred: Op) -> Op:
        return y.square_loss(y_pred)  # pyright: ignore[reportAttributeAccessIssue] - a function of ravnet


class CrossEntropy(Loss):
    """torch.nn.functional.cross_entropy: y_pred are logits, y classes or their probabilities (one-hot rows)."""

    def loss(self, y: Op, y_pred: Op) -> Op:
        return y.cross_entropy_loss(y_pred)  # pyright: ignore[reportAttributeAccessIssue] - a function of ravnet


BY_NAME: dict[str, type[Loss]] = {"squareloss": SquareLoss, "square_loss": SquareLoss, "mse": SquareLoss,
                                  "crossentropy": CrossEntropy, "cross_entropy": CrossEntropy,
                                  "cross_entropy_loss": CrossEntropy}


def as_loss(given: Any) -> Any:
    """The loss of a name ('SquareLoss', 'CrossEntropy'), a class with `loss(y, y_pred)`, its object, or a function of
    two ops."""
    if isinstance(given, str):
        kind = BY_NAME.get(given.lower())
        if kind is None:
            raise InputError(f"there is no loss {given!r}; there are 'SquareLoss' and 'CrossEntropy', and any function "
                             "of y_true and y_pred.")
        return kind()
    if isinstance(given, type):
        given = given()
    found = getattr(given, "loss", given)
    if not callable(found):
        raise InputError("a loss is 'SquareLoss', 'CrossEntropy' or a function of y_true and y_pred, but got "
                         f"{given!r}.")
    return found
