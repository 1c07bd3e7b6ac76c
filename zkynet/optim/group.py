"""The options of a group of parameters, which can be set between steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from ..framework import cg
from ..framework.errors import GraphError, InputError
from ..framework.session import current_session
from .update import GroupPlan

if TYPE_CHECKING:
    from .optimizer import Optimizer


class Group(MutableMapping[str, Any]):
    """The options of one group of parameters, as a mapping to read and set. Another `lr` compiles nothing; other
    options do, once.

    Raises:
        InputError: for what is no option, out of its limits, or would need another state (a momentum where there was
            none, for example); the group stays as it was.
        GraphError: inside of a compiled function.
    """

    def __init__(self, options: dict[str, Any], params: list[cg.Parameter], owner: Optimizer):
        self._options = options
        self.params = params
        self._owner = owner
        self._wide = any(p.dtype in ("float64", "complex128") for p in params)
        with self._precision():
            self.rate = cg.Constant("lr", np.float64(0) if self._wide else np.float32(0))
        self._take_rate()

    def _precision(self) -> Any:
        return jax.enable_x64(True) if self._wide else contextlib.nullcontext()

    def _take_rate(self) -> None:
        if self.schedule is None:
            session = current_session.get()
            if session is not None and session.traced:
                raise GraphError("a compiled function takes the rate of an optimizer as an input and cannot set it: "
                                 "set lr between its calls, or make it a schedule, a function of the step.")
            with self._precision():
                self.rate.value = np.float64(self["lr"]) if self._wide else np.float32(self["lr"])

    @property
    def schedule(self) -> Callable[[Any], Any] | None:
        return self["lr"] if callable(self["lr"]) else None

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise InputError(f"there is no option {name!r}; there are: {', '.join(self)}.")
        before, schedule = self._options, self.schedule
        self._options = {**before, name: value}
        try:
            self._owner.check(self._options)
            self._take_rate()
            if name != "lr" or self.schedule != schedule:
                self._owner.replan()
        except Exception:
            self._options = before
            raise

    def __delitem__(self, name: str) -> None:
        raise InputError(f"the option {name!r} of a group cannot be deleted; set it to another value.")

    def __ior__(self, options: Mapping[str, Any]) -> Self:
        self.update(options)
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return repr(self._options)

    def plan(self) -> GroupPlan:
        options = tuple((name, tuple(value) if isinstance(value, list) else value)
                        for name, value in self.items() if name != "lr")
        return GroupPlan(len(self.params), options, self.schedule)
