"""Interleaved timing: every contender runs in every round, so that the machine's moods hit all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax


@dataclass
class Row:
    """One line of a table: seconds by contender, and the ratio that is asked for."""

    work: str
    seconds: dict[str, float]
    ratio: float | None = None
    target: str = ""


def medians(contenders: dict[str, Callable[[], object]], rounds: int = 15, budget: float = 0.05,
            most: float = float("inf")) -> dict[str, float]:
    """Median seconds of one call of each contender, over interleaved rounds of about `budget` seconds each.

    Every second round goes the other way: who runs after whom matters, as caches and threads stay warm. A contender
    that has run for `most` seconds leaves after its third round.
    """
    numbers = {name: _calls_within(function, budget) for name, function in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    for _ in range(rounds):
        order.reverse()
        for name, function in order:
            gc.collect()
            number = numbers[name]
            if len(times[name]) >= 3 and sum(times[name]) * number > most:
                continue
            start = time.perf_counter()
            for _ in range(number):
                result = function()
            jax.block_until_ready(result)
            times[name].append((time.perf_counter() - start) / number)
    return {name: statistics.median(found) for name, found in times.items()}


def _calls_within(function: Callable[[], object], budget: float) -> int:
    begun = time.perf_counter()
    for _ in range(3):
        jax.block_until_ready(function())
        if time.perf_counter() - begun > 5.0:
            break
    start = time.perf_counter()
    jax.block_until_ready(function())
    once = time.perf_counter() - start
    return max(1, int(budget / max(once, 1e-7)))


def print_table(title: str, rows: list[Row]) -> None:
    """A markdown table; times in the unit that fits."""
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    print(f"\n### {title}\n")
    print(f"| work | {' | '.join(names)} | ratio | target |")
    print("|---" * (len(names) + 3) + "|")
    for row in rows:
        cells = [_readable(row.seconds[name]) if name in row.seconds else "-" for name in names]
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        print(f"| {row.work} | {' | '.join(cells)} | {ratio} | {row.target} |", flush=True)


def print_ratios(title: str, ratios: list[tuple[str, float, float | None]]) -> None:
    """A markdown table of (what, ratio, the most it should be or None)."""
    print(f"\n### {title}\n\n| ratio of | ratio | target |\n|---|---|---|")
    for what, ratio, target in ratios:
        verdict = "-" if target is None else f"<= {target:g}{'' if ratio <= target else ' missed'}"
        print(f"| {what} | {ratio:.2f} | {verdict} |", flush=True)


def _readable(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
