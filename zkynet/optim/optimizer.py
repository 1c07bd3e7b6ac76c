"""Optimizer: parameter groups, state, and the step that computes loss, gradients and update in one program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..framework import cg, modes
from ..framework.allocation import keep_large_blocks
from ..framework.avals import Aval, x64_mode
from ..framework.errors import GraphError, InputError
from ..framework.session import current_session
from ..framework.templates import is_numeric
from . import rules
from .group import Group
from .packing import Layout
from .step import fused_step, step_in_graph
from .update import Plan, Settings, as_complex, plan_of, update


class Optimizer:
    """What the optimizers have in common; derive, and give `transformation`.

    Args:
        params: parameters, or groups of them: dicts with "params" and options of their own, as in torch.optim. None
            leaves it to `bind` (a Trainer does that).
        defaults: the options, "lr" (a number, or a schedule: a function of the step) among them.
        maximize: climb instead of descend.
        clip_value: bound on the magnitude of each gradient's elements.
        clip_norm: bound on the norm of all gradients together (torch.nn.utils.clip_grad_norm_).
        accumulate: average the gradients of this many steps, and at the last of them update, with the average clipped,
            what had a gradient in any of them.
        average: decay of a moving average of the parameters, which `averaged()` puts in their place. It begins with
            their values after their first update (as torch.optim.swa_utils.AveragedModel).

    Of complex parameters the real and the imaginary parts are trained as parameters of their own.

    Raises:
        InputError: for what is no parameter, is given twice, is no floating point number, or for options that are
            unknown or out of their limits.

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
        common = {"clip_value": clip_value, "clip_norm": clip_norm, "average": average}
        rules.check(accumulate=accumulate, **{name: value for name, value in common.items() if value is not None})
        self.defaults = dict(defaults)
        self.settings = Settings(bool(maximize), clip_value, clip_norm, int(accumulate), average,
                                 self.elementwise)
        self.param_groups: list[Group] = []
        self.params: list[cg.Parameter] = []
        self.index: dict[cg.Parameter, int] = {}
        self.avals: tuple[Aval, ...] = ()  # of the parameters; with the plan they tell states of other shapes apart
        self.states: list[cg.State] = []
        self.layout = Layout.of({})
        self.inputs: list[cg.Constant | cg.State] = []  # of the update, besides gradients and parameters
        self._plan: Plan | None = None
        self._averaging = False
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
        params = self._listed(params)
        if not params:
            raise InputError(f"{type(self).__name__} got no parameters: is the model empty?")
        self._adopt(params if any(isinstance(one, Mapping) for one in params) else [{"params": params}])

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """One more group, a dict with "params" and options; only before the first step."""
        if self.states and (self._steps or self.settings.accumulate > 1 and self._count("phase")):
            raise InputError("a group of parameters can be added before the first step only: the state of the others "
                             "would be lost. Make another optimizer for it.")
        self._adopt([group])

    def _adopt(self, groups: Sequence[Any]) -> None:
        """Take these groups too; nothing changes when one of them does not fit."""
        before = self.param_groups, self.params
        try:
            for group in groups:
                self._take(group)
            self._start()
        except Exception:
            self.param_groups, self.params = before
            self._plan = None
            raise

    def _listed(self, params: Any) -> list[Any]:
        try:
            return [params] if isinstance(params, cg.Parameter) else list(params)
        except TypeError:
            raise InputError(f"{type(self).__name__} needs parameters, but got {type(params).__name__}; pass "
                             "model.parameters().") from None

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise InputError for options out of their limits; the rule checks all but the rate."""
        if not callable(options["lr"]):
            rules.check(lr=options["lr"])
        self.transformation(**{name: value for name, value in options.items() if name != "lr"})

    def _take(self, group: Any) -> None:
        if not isinstance(group, Mapping) or "params" not in group:
            what = f"one with {', '.join(map(str, group))}" if isinstance(group, Mapping) else type(group).__name__
            raise InputError(f'{type(self).__name__}: a group of parameters is a dict with "params", but got {what}.')
        options = {**self.defaults, **{name: value for name, value in group.items() if name != "params"}}
        unknown = set(options) - set(self.defaults)
        if unknown:
            raise InputError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}; it has: "
                             f"{', '.join(self.defaults)}.")
        self.check(options)
        params = self._listed(group["params"])
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
        self.param_groups = [*self.param_groups, Group(options, params, self)]
        self.params = [*self.params, *params]

    @property
    def lr(self) -> Any:
        """The learning rate (or schedule) of the first group; setting it sets that of all groups."""
        return self.param_groups[0]["lr"] if self.param_groups else self.defaults["lr"]

    @lr.setter
    def lr(self, rate: Any) -> None:
        self.check({**self.defaults, "lr": rate})
        for group in self.param_groups:
            group["lr"] = rate
        self.defaults["lr"] = rate

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
        self._keep(self.plan.init, {number: p.value for number, p in enumerate(self.params)})
        self.index = {p: number for number, p in enumerate(self.params)}
        self.avals = tuple([p.aval for p in self.params])
        self._list_inputs()

    def _keep(self, init: Callable[[Any], Any], params: dict[int, Any], **limits: int) -> None:
        """The state that init gives, which one program computes: array by array each shape would be one.

        Values that are not computed yet, as in a recording, have a shape and a dtype, which is what most rules look at.
        """
        known = {number: value for number, value in params.items() if isinstance(value, jax.Array)}
        with self._precision():
            layout = Layout.of(jax.eval_shape(init, params), **limits)
            arrays = jax.jit(lambda given: layout.pack(jax.tree.leaves(init({**params, **given}))))(known)
            states = [cg.State(name, array) for name, array in zip(layout.array_names, arrays, strict=True)]
        self.layout, self.states = layout, states

    def _precision(self) -> Any:
        """In 64 bits what belongs to parameters of that precision, also outside of it."""
        return jax.enable_x64(x64_mode() or any(p.aval.x64 for p in self.params))

    def _leaves(self) -> dict[str, Any]:
        """The state's arrays by name."""
        with self._precision():
            leaves = self.layout.unpack([state.value for state in self.states])
        return dict(zip(self.layout.names, leaves, strict=True))

    def _count(self, name: str) -> int:
        """A number of the state by its name."""
        return int(self.states[self.layout.array_names.index(name)].value)

    @property
    def _steps(self) -> int:
        return self._count(self._counter)

    def _list_inputs(self) -> None:
        self.inputs = [*(group.rate for group in self.param_groups if group.schedule is None), *self.states]

    def replan(self) -> None:
        """Go on with the groups' present options."""
        before, plan = self.plan, self._planned()
        with self._precision():
            state = jax.eval_shape(plan.init, {number: p.aval.struct for number, p in enumerate(self.params)})
        if Layout.of(state) != self.layout:
            raise InputError(f"with this option {type(self).__name__} would keep another state than it does: make "
                             "another optimizer for it.")
        self._plan = plan
        self._list_inputs()
        # Compiled functions that hold a step see this as they see a module's mode: as before when the options are back.
        modes.changed(self, before, plan)

    def _planned(self) -> Plan:
        groups = tuple(group.plan() for group in self.param_groups)
        return plan_of(type(self).transformation, groups, self.settings)

    @property
    def plan(self) -> Plan:
        if self._plan is None:
            if not self.params:
                raise self._unbound()
            self._plan = self._planned()
        return self._plan

    def others(self, given: Sequence[Any]) -> tuple[int, ...]:
        """The numbers of trainable parameters for which None is given, but which had a gradient in earlier steps,
        perhaps: when gradients are accumulated they are part of the update."""
        if self.settings.accumulate == 1:
            return ()
        return tuple([number for number, (p, one) in enumerate(zip(self.params, given, strict=True))
                      if one is None and p.trainable])

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
        found = {name: np.asarray(arrays[name]) for name in own}
        if strange := [name for name, array in found.items() if not is_numeric(array.dtype)]:
            raise InputError(f"a state is of numbers, but these are not: {', '.join(strange[:8])}.")
        rates = {index: float(found[f"lr.{index}"]) for index, group in enumerate(self.param_groups)
                 if group.schedule is None}
        for rate in rates.values():
            rules.check(lr=rate)
        with self._precision():
            packed = self.layout.pack([found[name].astype(own[name].dtype) for name in self.layout.names])
            for state, array in zip(self.states, packed, strict=True):
                state.value = array
        for index, rate in rates.items():
            self.param_groups[index]["lr"] = rate

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters are their moving averages; afterwards they are themselves again.

        Raises:
            InputError: when the optimizer was made without `average=`. GraphError: for a step inside.
        """
        if self.settings.average is None:
            raise InputError(f"{type(self).__name__} keeps no moving average: make it with average=0.999, for example.")
        leaves = self._leaves()
        kept = {p: p.value for number, p in enumerate(self.params) if leaves[f"averaged.{number}"]}
        before, self._averaging = self._averaging, True
        try:
            with self._precision():
                for p in kept:  # copies: the step writes over its state
                    p.value = as_complex(jnp.array(leaves[f"average.{self.index[p]}"]), p.dtype)
            yield
        finally:
            self._averaging = before
            for p, value in kept.items():
                p.value = value

    # Steps ---------------------------------------------------------------------------------------------

    def step(self, loss: Any) -> None:
        """Compute the loss, its gradients and the update, in one program; the loss's value is known afterwards.

        Inside a `zkynet.compile`d function (or a Module's call) the update becomes part of that program.

        Args:
            loss: a scalar graph: what a loss function returned.

        Raises:
            GraphError: when the loss is no scalar, or has a gradient at none of the parameters, or inside of
                `averaged()`.
        """
        self._check_usable()
        root = scalar_loss(loss)
        if current_session.get() is not None:
            step_in_graph(self, root)
        else:
            fused_step(self, root)

    def apply(self, gradients: Iterable[Any] | Mapping[cg.Parameter, Any]) -> None:
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
        self._check_usable()
        params = self.params
        if not isinstance(gradients, Mapping):
            gradients = list(gradients)
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
        others = self.others([given.get(p) for p in params])
        updated = [*given, *(params[number] for number in others)]
        news = update(*given.values(), *updated, *self.inputs, plan=self.plan, layout=self.layout, numbers=numbers,
                      others=others)
        for held, new in zip([*updated, *self.states], news, strict=True):
            held.value = new

    def _check_usable(self) -> None:
        if not self.params:
            raise self._unbound()
        if self._averaging:
            raise GraphError("inside of averaged() there are no steps: they would change the averages, which are only "
                             "lent. Step outside.")

    def _unbound(self) -> InputError:
        return InputError(f"{type(self).__name__} has no parameters yet: give it model.parameters(), or bind them.")

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.defaults.items())
        return f"{type(self).__name__}({options})"


def scalar_loss(loss: Any) -> cg.Node:
    """The node of a loss; GraphError for what is none."""
    root = getattr(loss, "root", None)
    if not isinstance(root, cg.Node):
        raise GraphError(f"step() needs the loss as a graph, one node, but got {type(loss).__name__}: pass what the "
                         "loss function returned, not its value.")
    if root.shape != ():
        raise GraphError(f"step() needs a scalar loss, but this one has shape {root.shape}: take its mean or sum.")
    return root
