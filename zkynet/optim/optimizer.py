"""Optimizer: parameter groups, state, and the step that computes loss, gradients and update in one program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..framework import cg
from ..framework.allocation import keep_large_blocks
from ..framework.errors import GraphError, InputError
from ..framework.session import current_session
from .packing import Layout
from .step import fused_step, step_in_graph
from .update import GroupPlan, Plan, Settings, plan_of, update


class Group(dict):
    """The options of one group of parameters, as a dict. Another `lr` compiles nothing; other options do, once."""

    def __init__(self, options: Mapping[str, Any], params: list[cg.Parameter], changed: Callable[[], None]):
        super().__init__(options)
        self.params = params
        self.rate = cg.Constant("lr", 0.0)
        self._changed = changed
        self._take_rate(self["lr"])

    def _take_rate(self, lr: Any) -> None:
        if callable(lr):
            self.schedule: Callable[[Any], Any] | None = lr
        else:
            self.schedule = None
            self.rate.value = np.float32(lr)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise InputError(f"there is no option {name!r}; there are: {', '.join(self)}.")
        was = self.schedule
        super().__setitem__(name, value)
        if name == "lr":
            self._take_rate(value)
        if name != "lr" or self.schedule != was:
            self._changed()

    def plan(self) -> GroupPlan:
        options = tuple((name, tuple(value) if isinstance(value, list) else value)
                        for name, value in self.items() if name != "lr")
        return GroupPlan(len(self.params), options, self.schedule)


class Optimizer:
    """What the optimizers have in common; derive, and give `transformation`.

    Args:
        params: parameters, or groups of them: dicts with "params" and options of their own, as in torch.optim. None
            leaves it to `bind` (a Trainer does that).
        defaults: the options, "lr" (a number, or a schedule: a function of the step) among them.
        maximize: climb instead of descend.
        clip_value: bound on the magnitude of each gradient's elements.
        clip_norm: bound on the norm of all gradients together (torch.nn.utils.clip_grad_norm_).
        accumulate: average the gradients of this many steps, and update at the last of them.
        average: decay of a moving average of the parameters, which `averaged()` puts in their place.

    Raises:
        InputError: for what is no parameter, is given twice, is no floating point number, or for unknown options.

    >>> from zkynet import optim
    >>> from zkynet.framework import cg, op
    >>> p = cg.Parameter("p", 4.0)
    >>> opt = optim.SGD([p], lr=0.25)
    >>> loss = op.square(p)
    >>> opt.step(loss)
    >>> float(p.value), float(loss.value)
    (2.0, 16.0)
    """

    elementwise = False  # whether `transformation` treats every element alike, whichever parameter it belongs to
    _counter = "step"  # what the number of steps so far is called in the state

    def __init__(self, params: Any, defaults: Mapping[str, Any], *, maximize: bool = False,
                 clip_value: float | None = None, clip_norm: float | None = None, accumulate: int = 1,
                 average: float | None = None):
        if accumulate < 1:
            raise InputError(f"accumulate is a number of steps from 1 on, but got {accumulate!r}.")
        self.defaults = dict(defaults)
        self.settings = Settings(bool(maximize), clip_value, clip_norm, int(accumulate), average,
                                 self.elementwise)
        self.param_groups: list[Group] = []
        self.params: list[cg.Parameter] = []
        self.index: dict[cg.Parameter, int] = {}
        self.states: list[cg.State] = []
        self.layout = Layout.of({})
        self.inputs: list[cg.Constant | cg.State] = []  # of the update, besides gradients and parameters
        self._plan: Plan | None = None
        if params is not None:
            self.bind(params)

    @staticmethod
    def transformation(**options: Any) -> Any:
        """The optax transformation from gradients to direction, for the options of a group but its lr."""
        raise NotImplementedError

    # Parameters and options ----------------------------------------------------------------------------

    def bind(self, params: Any) -> None:
        """Take these parameters (or groups), once."""
        if self.param_groups:
            raise InputError(f"{self!r} has its parameters already; use add_param_group for more.")
        params = list(params)
        if not params:
            raise InputError(f"{type(self).__name__} got no parameters: is the model empty?")
        for group in params if isinstance(params[0], Mapping) else [{"params": params}]:
            self._take(group)
        self._start()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """One more group, a dict with "params" and options; only before the first step."""
        if self.states and self._steps:
            raise InputError("a group of parameters can be added before the first step only: the state of the others "
                             "would be lost. Make another optimizer for it.")
        self._take(group)
        self._start()

    def _take(self, group: Mapping[str, Any]) -> None:
        options = {**self.defaults, **{name: value for name, value in group.items() if name != "params"}}
        unknown = set(options) - set(self.defaults)
        if unknown:
            raise InputError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}; it has: "
                             f"{', '.join(self.defaults)}.")
        params = group["params"]
        params = [params] if isinstance(params, cg.Parameter) else list(params)
        taken = {id(p) for p in self.params}
        for p in params:
            if not isinstance(p, cg.Parameter):
                raise InputError(f"{type(self).__name__} needs cg.Parameter objects, but got {type(p).__name__}; "
                                 "pass model.parameters().")
            if not p.aval.inexact:
                raise InputError(f"{p!r} is not floating point: a step would lose its fraction. Make it a float, or "
                                 "leave it out.")
            if id(p) in taken:
                raise InputError(f"{p!r} is in two groups of {type(self).__name__}.")
            taken.add(id(p))
        self.param_groups.append(Group(options, params, self._replan))
        self.params += params

    @property
    def lr(self) -> Any:
        """The learning rate (or schedule) of the first group; setting it sets that of all groups."""
        return self.param_groups[0]["lr"] if self.param_groups else self.defaults["lr"]

    @lr.setter
    def lr(self, rate: Any) -> None:
        self.defaults["lr"] = rate
        for group in self.param_groups:
            group["lr"] = rate

    @property
    def rates(self) -> list[float]:
        """The groups' learning rates at the next step, as numbers."""
        step = self._steps
        return [float(group["lr"] if group.schedule is None else group.schedule(step)) for group in self.param_groups]

    # State ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """The state before the first step, as State objects in the order of the tree's leaves."""
        keep_large_blocks()
        self._plan = None
        self.index = {p: number for number, p in enumerate(self.params)}
        self._keep(self.plan.init, {number: p.value for p, number in self.index.items()})
        self._list_inputs()

    def _keep(self, init: Callable[[Any], Any], params: dict[int, Any], **limits: int) -> None:
        """The state that init gives, which one program computes: array by array each shape would be one.

        Values that are not computed yet, as in a recording, have a shape and a dtype, which is what most rules look at.
        """
        self.layout = layout = Layout.of(jax.eval_shape(init, params), **limits)
        known = {number: value for number, value in params.items() if isinstance(value, jax.Array)}
        arrays = jax.jit(lambda given: layout.pack(jax.tree.leaves(init({**params, **given}))))(known)
        self.states = [cg.State(name, array) for name, array in zip(layout.array_names, arrays, strict=True)]

    def _leaves(self) -> dict[str, Any]:
        """The state's arrays by name."""
        return dict(zip(self.layout.names, self.layout.unpack([state.value for state in self.states]), strict=True))

    @property
    def _steps(self) -> int:
        return int(self.states[self.layout.array_names.index(self._counter)].value)

    def _list_inputs(self) -> None:
        self.inputs = [*(group.rate for group in self.param_groups if group.schedule is None), *self.states]

    def _replan(self) -> None:
        self._plan = None
        self._list_inputs()

    @property
    def plan(self) -> Plan:
        if self._plan is None:
            if not self.params:
                raise self._unbound()
            groups = tuple(group.plan() for group in self.param_groups)
            self._plan = plan_of(type(self).transformation, groups, self.settings)
        return self._plan

    def state_dict(self) -> dict[str, Any]:
        """Copies of the state's arrays by name, and the groups' rates where those are numbers."""
        arrays: dict[str, Any] = {name: np.array(leaf) for name, leaf in self._leaves().items()}
        for index, group in enumerate(self.param_groups):
            if group.schedule is None:
                arrays[f"lr.{index}"] = np.array(group.rate.value)
        return arrays

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Take the state that `state_dict` gave; nothing changes when it does not fit."""
        own = self.state_dict()
        wrong = sorted(set(own) ^ set(arrays)) or [
            f"{name} is {own[name].shape}, got {np.shape(arrays[name])}" for name in own
            if own[name].shape != np.shape(arrays[name])]
        if wrong:
            raise InputError(f"the state does not fit this {type(self).__name__}: {', '.join(wrong[:8])}. It must come "
                             "from an optimizer of the same kind, options and parameters.")
        leaves = [np.asarray(arrays[name], own[name].dtype) for name in self.layout.names]
        for state, array in zip(self.states, self.layout.pack(leaves), strict=True):
            state.value = array
        for index, group in enumerate(self.param_groups):
            if group.schedule is None:
                group["lr"] = float(arrays[f"lr.{index}"])

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters are their moving averages; afterwards they are themselves again.

        Raises:
            InputError: when the optimizer was made without `average=`.
        """
        averages = {name: leaf for name, leaf in self._leaves().items() if name.startswith("average.")}
        if not averages:
            raise InputError(f"{type(self).__name__} keeps no moving average: make it with average=0.999, for example.")
        params = self.params
        kept = [p.value for p in params]
        try:
            for name, value in averages.items():
                params[int(name.rpartition(".")[2])].value = value
            yield
        finally:
            for p, value in zip(params, kept, strict=True):
                p.value = value

    # Steps ---------------------------------------------------------------------------------------------

    def step(self, loss: Any) -> None:
        """Compute the loss, its gradients and the update, in one program; the loss's value is known afterwards.

        Inside a `zkynet.compile`d function (or a Module's call) the update becomes part of that program.

        Args:
            loss: a scalar graph: what a loss function returned.

        Raises:
            GraphError: when the loss is no scalar, or depends on none of the parameters.
        """
        if not self.params:
            raise self._unbound()
        root = _scalar(loss)
        if current_session.get() is not None:
            step_in_graph(self, root)
        else:
            fused_step(self, root)

    def apply(self, gradients: Sequence[Any] | Mapping[cg.Parameter, Any]) -> None:
        """Update with these gradients: one for each parameter, in their order, or by parameter. Parameters whose
        gradient is None or left out stay as they are.

        The new values are expressions, part of the program that computes them.

        >>> from zkynet import optim
        >>> from zkynet.framework import cg
        >>> p = cg.Parameter("p", 4.0)
        >>> optim.SGD([p], lr=0.5).apply({p: 2.0})
        >>> float(p.value)
        3.0
        """
        params = self.params
        if not isinstance(gradients, Mapping):
            if len(gradients) != len(params):
                raise InputError(f"{type(self).__name__} has {len(params)} parameters, but got {len(gradients)} "
                                 "gradients.")
            gradients = dict(zip(params, gradients, strict=True))
        foreign = [p for p in gradients if p not in self.index]
        if foreign:
            raise InputError(f"{type(self).__name__} does not have the parameters {foreign}.")
        given = {p: g for p, g in gradients.items() if g is not None}
        for p, g in given.items():
            if np.shape(g) != p.shape:
                raise InputError(f"the gradient of {p!r} has shape {np.shape(g)}.")
        numbers = tuple([self.index[p] for p in given])
        news = update(*given.values(), *given, *self.inputs, plan=self.plan, layout=self.layout, numbers=numbers)
        for held, new in zip([*given, *self.states], news, strict=True):
            held.value = new

    def _unbound(self) -> InputError:
        return InputError(f"{type(self).__name__} has no parameters yet: give it model.parameters(), or bind them.")

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.defaults.items())
        return f"{type(self).__name__}({options})"


def _scalar(loss: Any) -> cg.Node:
    root = getattr(loss, "root", None)
    if not isinstance(root, cg.Node):
        raise GraphError(f"step() needs the loss as a graph, one node, but got {type(loss).__name__}: pass what the "
                         "loss function returned, not its value.")
    if root.shape != ():
        raise GraphError(f"step() needs a scalar loss, but this one has shape {root.shape}: take its mean or sum.")
    return root
