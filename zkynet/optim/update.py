"""The update of all parameters as one operator: gradients, parameters, rates and state in, new ones out.

What is in here is a pure function of arrays, and traced once per program; `optimizer` decides when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..framework import cg
from ..framework.attributes import exact
from ..framework.operator import FunctionOperator
from .packing import Layout, by_parameter, together

Schedule = Callable[[Any], Any]


@dataclass(frozen=True)
class GroupPlan:
    """One group: how many parameters, the options but the rate, and the schedule of the rate if it has one."""

    count: int
    options: tuple[tuple[str, Any], ...]
    schedule: Schedule | None


Arrays = dict[int, Any]  # by the parameter's number


@dataclass(frozen=True)
class Settings:
    """What holds for all groups; see `Optimizer`."""

    maximize: bool = False
    clip_value: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    average: float | None = None
    elementwise: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything static about an update. Made by `plan_of`, so that equal ones are one and share compiled programs.

    Attributes:
        transformation: from a group's options to the optax transformation that turns gradients into a direction; the
            parameter becomes p - rate * direction.
    """

    transformation: Callable[..., optax.GradientTransformation]
    groups: tuple[GroupPlan, ...]
    settings: Settings

    def init(self, params: Arrays) -> dict[str, Any]:
        """The state before the first step. What it holds for each parameter is in dicts by the parameter's number."""
        params = {i: _as_real(p) for i, p in params.items()}
        state: dict[str, Any] = {"step": jnp.zeros((), jnp.int32)}
        state["groups"] = [self._rule(group).init(members) for group, members in self._members(params)]
        if self.settings.accumulate > 1:
            state["phase"] = jnp.zeros((), jnp.int32)
            state["accumulated"] = {i: jnp.zeros_like(p) for i, p in params.items()}
            state["seen"] = {i: jnp.zeros((), bool) for i in params}
        if self.settings.average is not None:
            state["average"] = {i: jnp.array(p) for i, p in params.items()}
            state["averaged"] = {i: jnp.zeros((), jnp.int32) for i in params}
        return state

    def _rule(self, group: GroupPlan) -> optax.GradientTransformation:
        rule = self.transformation(**dict(group.options))
        return together(rule) if self.settings.elementwise else rule

    def _members(self, arrays: Arrays) -> list[tuple[GroupPlan, Arrays]]:
        """The arrays of each group."""
        found, start = [], 0
        for group in self.groups:
            end = start + group.count
            found.append((group, {i: array for i, array in arrays.items() if start <= i < end}))
            start = end
        return found

    def apply(self, grads: Arrays, params: Arrays, rates: Sequence[Any], state: Any) -> tuple[Arrays, Any]:
        """New parameters and state. State of parameters that are not given stays as it is.

        Parameters without gradient are given when gradients are accumulated: they may have had one in this cycle.
        """
        reals = {i: _as_real(p) for i, p in params.items()}
        grads = {i: _as_real(jnp.asarray(g, params[i].dtype)) for i, g in grads.items()}
        inner = by_parameter(lambda own: {i: own[i] for i in params if i in own}, state)
        if self.settings.accumulate == 1:
            news, following = self._update(grads, reals, rates, inner)
        else:
            cycle = {name: state[name] for name in ("accumulated", "seen")}
            news, following = self._accumulated(grads, reals, rates, {**inner, **cycle})
        state = by_parameter(lambda old, new: {**old, **new}, state, following)
        return {i: as_complex(p, params[i].dtype) for i, p in news.items()}, state

    def _update(self, grads: Arrays, params: Arrays, rates: Sequence[Any], state: Any) -> tuple[Arrays, Any]:
        news: Arrays = {}
        following: list[Any] = []
        rate = iter(rates)
        for (group, members), (_, gradients), inner in zip(
                self._members(params), self._members(self._prepared(grads)), state["groups"], strict=True):
            lr = next(rate) if group.schedule is None else group.schedule(state["step"])
            found: Any = self._rule(group).update(gradients, inner, members)
            directions, inner = found
            following.append(inner)
            news |= {i: (p - lr * directions[i]).astype(p.dtype) for i, p in members.items()}
        state = {**state, "step": state["step"] + 1, "groups": following}
        decay = self.settings.average
        if decay is not None:  # begins with the first values, as torch.optim.swa_utils.AveragedModel
            count = state["averaged"]
            state["average"] = {i: jnp.where(count[i] == 0, news[i], decay * a + (1.0 - decay) * news[i])
                                for i, a in state["average"].items()}
            state["averaged"] = jax.tree.map(optax.safe_increment, count)
        return news, state

    def _prepared(self, grads: Arrays) -> Arrays:
        """Gradients of descent, clipped."""
        bound, longest = self.settings.clip_value, self.settings.clip_norm
        if self.settings.maximize:
            grads = {i: -g for i, g in grads.items()}
        if bound is not None:
            grads = {i: jnp.clip(g, -bound, bound) for i, g in grads.items()}
        if longest is not None:  # as torch.nn.utils.clip_grad_norm_, with its 1e-6
            scale = jnp.minimum(1.0, longest / (optax.tree.norm(grads) + 1e-6))
            grads = {i: g * scale.astype(g.dtype) for i, g in grads.items()}
        return grads

    def _accumulated(self, grads: Arrays, params: Arrays, rates: Sequence[Any], state: Any) -> tuple[Arrays, Any]:
        """Add to the mean of the gradients; at the last of them, update what had one, and begin anew."""
        times = self.settings.accumulate
        total = {i: a + grads[i] / times if i in grads else a for i, a in state["accumulated"].items()}
        seen = {i: jnp.ones((), bool) if i in grads else s for i, s in state["seen"].items()}
        due = state["phase"] == times - 1

        def where_seen(old: Arrays, new: Arrays) -> Arrays:
            return {i: jnp.where(seen[i], new[i], array) for i, array in old.items()}

        def update(_: None) -> Any:
            news, following = self._update({i: total[i] for i in params}, params, rates, state)
            begun = jax.tree.map(jnp.zeros_like, {"accumulated": total, "seen": seen})
            return where_seen(params, news), {**by_parameter(where_seen, state, following), **begun}

        def wait(_: None) -> Any:
            return params, {**state, "accumulated": total, "seen": seen}

        news, following = jax.lax.cond(due, update, wait, None)
        return news, {**following, "phase": jnp.where(due, 0, state["phase"] + 1)}


def _as_real(array: Any) -> Any:
    """A complex array as pairs of real numbers: torch's optimizers, too, see each of both as a parameter."""
    return jnp.stack([array.real, array.imag], -1) if jnp.iscomplexobj(array) else array


def as_complex(array: Any, dtype: Any) -> Any:
    """The reverse, where the dtype is a complex one."""
    return jax.lax.complex(array[..., 0], array[..., 1]) if dtype.kind == "c" else array


_plans: dict[tuple, Plan] = {}


def plan_of(transformation: Any, groups: tuple[GroupPlan, ...], settings: Settings) -> Plan:
    """The one Plan of these."""
    key = exact(tuple((group.count, group.options, group.schedule) for group in groups)), transformation, settings
    return _plans.setdefault(key, Plan(transformation, groups, settings))


def _body(*arrays: Any, plan: Plan, layout: Layout, numbers: tuple[int, ...],
          others: tuple[int, ...]) -> tuple[Any, ...]:
    count, updated = len(numbers), numbers + others
    rates = count + len(updated)
    states = rates + sum(group.schedule is None for group in plan.groups)
    news, following = plan.apply(dict(zip(numbers, arrays[:count], strict=True)),
                                 dict(zip(updated, arrays[count:rates], strict=True)), arrays[rates:states],
                                 jax.tree.unflatten(layout.tree, layout.unpack(arrays[states:])))
    return (*[news[i] for i in updated], *layout.pack(jax.tree.leaves(following)))


# Inputs: gradients of the parameters with these numbers, these parameters and the others, the rates of the groups
# without schedule, the state as it is kept. Outputs: the same parameters, and the state.
update = FunctionOperator(_body, "optimizer_step", [cg.Variable("arrays", differentiable=False)],
                          {"plan": None, "layout": None, "numbers": (), "others": ()}, variadic=True)
