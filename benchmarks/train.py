"""Training steps and epochs of five nets: zkynet against PyTorch eager, flax nnx, equinox and hand-written JAX.

Times are of one step: of a program that makes one, or of an epoch divided by its steps. Epochs (`zkynet fit` in
memory, `lax.scan`) include the shuffling of their rows and end with the mean loss on the host. In hand-written JAX,
"donated" steps and all epochs give their parameters and state away, and nets with convolutions are there twice,
channels first with reduce_window (NCHW) and channels last with reshape and max (NHWC); ratios are against the faster
one. Before the clock runs, the first losses of zkynet, PyTorch and JAX are compared.

`python -m benchmarks train mlp gpt` prints these two only; `python -m benchmarks.train gpt` just compares its losses
on small sizes.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from . import nets_equinox, nets_jax, nets_nnx, nets_torch, nets_zkynet, startup
from .contenders import Contender
from .timing import Row, medians, print_ratios, print_table
from .workloads import WORKLOADS, Workload

TOLERANCE = 1e-4  # between losses, relative

# What is divided by what (where there are two layouts, by the faster one), and the most it should be.
STEP, FIT = "zkynet step", "zkynet fit"
EVERYWHERE: list[tuple[str, str, float]] = [(FIT, "lax.scan", 1.05)]
TARGETS: dict[str, list[tuple[str, str, float]]] = {
    "mlp": [(STEP, "PyTorch eager", 0.4), (STEP, "nnx.jit", 0.5), (STEP, "jax.jit", 1.5)],
    "conv_net": [(STEP, "PyTorch eager", 1.0), (FIT, "PyTorch eager", 1.0)],
    "gpt": [(STEP, "PyTorch eager", 1.0), (FIT, "PyTorch eager", 1.0)],
}
# Also printed, without a target.
OTHERS: list[tuple[str, str]] = [
    (STEP, "jax.jit"), (STEP, "jax.jit donated"), (FIT, "jax.jit donated"), (STEP, "PyTorch eager"),
    (FIT, "PyTorch eager"), (STEP, "nnx.jit"), (STEP, "nnx.cached_partial"), (STEP, "equinox")]


def contenders(work: Workload) -> dict[str, Contender]:
    """All that are installed."""
    found: dict[str, Contender] = {}
    for module in (nets_zkynet, nets_torch, nets_nnx, nets_equinox, nets_jax):
        found |= module.contenders(work)
    return found


def check(work: Workload) -> float:
    """The largest relative difference between losses; raises when it is more than the tolerance.

    Compared are the first steps, and the mean losses of an epoch without shuffling.
    """
    singles = {STEP: nets_zkynet.step(work), **nets_torch.contenders(work)}
    wholes: dict[str, Contender] = {FIT: nets_zkynet.fit(work, shuffle=False)}
    for suffix, given in nets_jax.variants(work).items():
        singles[f"jax.jit{suffix}"] = nets_jax.steps(work, *given, donated=False)
        wholes[f"lax.scan{suffix}"] = nets_jax.epochs(work, *given, shuffle=False)
    steps = {name: [float(one.call()) for _ in range(min(5, work.steps))] for name, one in singles.items()}
    epochs = {name: [float(one.call())] for name, one in wholes.items()}
    return max(_difference(work, steps), _difference(work, epochs))


def _difference(work: Workload, losses: dict[str, list[float]]) -> float:
    found = np.array(list(losses.values()))
    difference = float(np.max(np.ptp(found, axis=0) / np.abs(found).max(axis=0)))
    if difference > TOLERANCE:
        raise AssertionError(f"{work.title}: losses differ by {difference:.1e}, so the work is not the same: {losses}")
    return difference


def _checked(work: Workload) -> None:
    print(f"{work.title}: losses differ by at most {check(work):.1e}", flush=True)


def measure(work: Workload, quick: bool) -> dict[str, float]:
    """Median seconds of a step."""
    entered = contenders(work)
    times = medians({name: one.call for name, one in entered.items()}, rounds=2 if quick else 15,
                    budget=1e-4 if quick else 0.2, most=20.0)
    return {name: seconds / entered[name].steps for name, seconds in times.items()}


def ratios(work: Workload, times: dict[str, float]) -> list[tuple[str, float, float | None]]:
    """(what, ratio, target or None) for all whose contenders were there."""
    wanted: list[tuple[str, str, float | None]] = [*EVERYWHERE, *TARGETS.get(work.name, [])]
    wanted += [(*pair, None) for pair in OTHERS if pair not in {(a, b) for a, b, _ in wanted}]
    found = []
    for ours, theirs, target in wanted:
        rivals = [times[name] for name in (theirs, f"{theirs} NCHW", f"{theirs} NHWC") if name in times]
        if ours in times and rivals:
            found.append((f"{work.title}: {ours} / {theirs}", times[ours] / min(rivals), target))
    return found


def main(quick: bool = False, only: Sequence[str] = ()) -> None:
    if unknown := set(only) - WORKLOADS.keys():
        raise SystemExit(f"no net called {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    versions = [f"{name} {importlib.import_module(name).__version__}" for name, there in (
        ("jax", True), ("torch", nets_torch.torch), ("flax", nets_nnx.nnx), ("equinox", nets_equinox.eqx)) if there]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{', '.join(versions)}, on {jax.default_backend()}; XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}")
    rows, found = [], []
    for name in only or WORKLOADS:
        make: Callable[[bool], Workload] = WORKLOADS[name]
        work = make(quick)
        _checked(work)
        times = measure(work, quick)
        rows.append(Row(work.title, times))
        found += ratios(work, times)
        print_table(f"train: {name}", rows[-1:])
    if not only:
        begun: dict[str, Any] = startup.medians(1 if quick else 7)
        rows.append(Row("first import to first step of the MLP", begun))
        print_table("train: start", rows[-1:])
        found += [(f"start of the MLP: zkynet / {other}", begun["zkynet"] / begun[other], target)
                  for other, target in (("jax", 1.3), ("jax + optax", None))]
    print_ratios("train: ratios", found)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        _checked(WORKLOADS[given](True))
