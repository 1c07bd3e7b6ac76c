"""A layered layout of flat boxes and links: ranks by longest path, order by barycentres, straight lanes.

The method is Sugiyama's, in the form of Gansner, Koutsofios, North and Vo, "A technique for drawing
directed graphs" (1993): a link that spans several layers gets a lane of its own in each (so that it never
runs over a box), a label is a box on the lane, and the places across are a least-squares fit under the
order found before. `layout` calls this once for each cluster.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from zkynet.visual.geometry import Point, Rect

TOP, BOTTOM = -1, -2  # ends of a link that comes from above the whole, or leaves it below
LANE = 8.0
BOX_GAP, LANE_GAP, LAYER_GAP, LABEL_GAP = 20.0, 9.0, 26.0, 11.0
TALLEST_LABEL = 18.0
SWEEPS = 8
MOST_LANES = 20_000  # beyond this, long links are drawn straight: the time stays linear


@dataclass(slots=True)
class Link:
    """An arrow between units (or TOP, BOTTOM); a shift says how far from a unit's middle it is fastened.

    Where there is no shift, the place along the unit's side is chosen here. Among links that could as well
    change places, `hint` (where the far end of one from TOP or to BOTTOM is, outside) decides.
    """

    source: int
    target: int
    label: tuple[float, float] | None = None
    source_shift: float | None = None
    target_shift: float | None = None
    hint: float = 0.0


@dataclass(slots=True)
class Layers:
    """The result: places of the units, the layer of each, and for each link its bends and its label."""

    width: float
    height: float
    rects: list[Rect]
    ranks: list[int]
    bends: list[list[Point]]
    labels: list[Rect | None]


@dataclass(slots=True)
class _Grid:
    """Units, then labels, then ends and lanes: everything that takes room in a layer."""

    width: list[float]
    height: list[float]
    rank: list[int]
    ups: list[list[tuple[int, float, float]]] = field(default_factory=list)  # (other, its shift, my shift)
    downs: list[list[tuple[int, float, float]]] = field(default_factory=list)
    x: list[float] = field(default_factory=list)
    hints: dict[int, float] = field(default_factory=dict)

    def add(self, width: float, height: float, rank: int, hint: float = 0.0) -> int:
        if hint:
            self.hints[len(self.rank)] = hint
        self.width.append(width)
        self.height.append(height)
        self.rank.append(rank)
        return len(self.rank) - 1

    def layers(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for item, rank in enumerate(self.rank):
            found[rank].append(item)
        return found


def layered(sizes: Sequence[tuple[float, float]], links: Sequence[Link], draft: bool = False) -> Layers:
    """Places units of these sizes so that every link points downwards. The links must hold no cycle.

    A draft has its final order, but takes less care of where things stand across.

    >>> found = layered([(40, 20), (40, 20)], [Link(0, 1)])
    >>> found.ranks, found.rects[0].bottom < found.rects[1].y
    ([0, 1], True)
    """
    grid = _Grid([w for w, _ in sizes], [h for _, h in sizes], [0] * len(sizes))
    chains = _assign_ranks(grid, links)
    _add_lanes(grid, links, chains)
    layers = _ordered(grid)
    _fasten(grid, layers, links, chains)
    _place_across(grid, layers, draft)
    tops, heights = _place_down(grid, layers)
    left = min((x - w / 2 for x, w in zip(grid.x, grid.width, strict=True)), default=0.0)
    rects = []
    for item in range(len(grid.rank)):
        rank, width, height = grid.rank[item], grid.width[item], grid.height[item]
        y = tops[rank] + (heights[rank] - height) / 2
        rects.append(Rect(grid.x[item] - width / 2 - left, y, width, height))
    bends = [
        _bends(grid, link, chain, rects, tops, heights) for link, chain in zip(links, chains, strict=True)
    ]
    labels = [rects[chain.label] if chain.label is not None else None for chain in chains]
    return Layers(
        width=max((r.right for r in rects), default=0.0),
        height=tops[-1] + heights[-1] if tops else 0.0,
        rects=rects[: len(sizes)],
        ranks=grid.rank[: len(sizes)],
        bends=bends,
        labels=labels,
    )


@dataclass(slots=True)
class _Chain:
    """The items which a link passes, in order, which of them is its label, and its chosen shifts."""

    label: int | None = None
    items: list[int] = field(default_factory=list)
    out: float = 0.0
    into: float = 0.0


def longest_path(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The rank of each of `count` items such that every pair (above, below) goes down, edges short.

    >>> longest_path(4, [(0, 1), (1, 2), (3, 2)])
    [0, 1, 2, 1]
    """
    ups: list[list[int]] = [[] for _ in range(count)]
    downs: list[list[int]] = [[] for _ in range(count)]
    for above, below in pairs:
        downs[above].append(below)
        ups[below].append(above)
    waiting = [len(above) for above in ups]
    order = [item for item in range(count) if not waiting[item]]
    rank = [0] * count
    for item in order:
        for below in downs[item]:
            rank[below] = max(rank[below], rank[item] + 1)
            waiting[below] -= 1
            if not waiting[below]:
                order.append(below)
    if len(order) != count:
        raise ValueError("these links form a cycle")
    # An item with at least as many links below as above is drawn close to what it feeds: a weight stands
    # beside its product, and not at the top of the page.
    for item in reversed(order):
        if downs[item] and len(ups[item]) <= len(downs[item]):
            rank[item] = min(rank[below] for below in downs[item]) - 1
    least = min(rank, default=0)
    return [value - least for value in rank]


def _assign_ranks(grid: _Grid, links: Sequence[Link]) -> list[_Chain]:
    chains = []
    pairs: list[tuple[int, int]] = []
    anchored = any(link.source == TOP for link in links)
    for link in links:
        chain = _Chain()
        inside = link.source >= 0 and link.target >= 0
        if inside and link.label is not None:
            chain.label = grid.add(*link.label, 0)
            pairs += [(link.source, chain.label), (chain.label, link.target)]
        elif inside:
            pairs.append((link.source, link.target))
        chains.append(chain)
    ranks = longest_path(len(grid.width), pairs)
    grid.rank = [rank + 1 for rank in ranks] if anchored else ranks
    return chains


def _add_lanes(grid: _Grid, links: Sequence[Link], chains: list[_Chain]) -> None:
    last = max(grid.rank, default=0) + 1
    span = sum(_span(grid, link, last) for link in links)
    straight = span > MOST_LANES
    for link, chain in zip(links, chains, strict=True):
        start = link.source if link.source >= 0 else grid.add(LANE, 0.0, 0, link.hint)
        end = link.target if link.target >= 0 else grid.add(LANE, 0.0, last, link.hint)
        stops = [start, *([chain.label] if chain.label is not None else []), end]
        items = [start]
        for upper, lower in zip(stops, stops[1:], strict=False):
            if not straight:
                between = range(grid.rank[upper] + 1, grid.rank[lower])
                items += [grid.add(LANE, 0.0, rank, link.hint) for rank in between]
            items.append(lower)
        chain.items = items
    _connect(grid, links, chains)


def _connect(grid: _Grid, links: Sequence[Link], chains: list[_Chain]) -> None:
    """Fills in who stands above and below whom, and where they are fastened."""
    grid.ups = [[] for _ in grid.rank]
    grid.downs = [[] for _ in grid.rank]
    for link, chain in zip(links, chains, strict=True):
        final = len(chain.items) - 2
        for step, (upper, lower) in enumerate(zip(chain.items, chain.items[1:], strict=False)):
            out = (link.source_shift or chain.out) if step == 0 else 0.0
            into = (link.target_shift or chain.into) if step == final else 0.0
            grid.downs[upper].append((lower, into, out))
            grid.ups[lower].append((upper, out, into))


def _span(grid: _Grid, link: Link, last: int) -> int:
    above = grid.rank[link.source] if link.source >= 0 else 0
    below = grid.rank[link.target] if link.target >= 0 else last
    return below - above


def _ordered(grid: _Grid) -> list[list[int]]:
    layers = _first_order(grid)
    if grid.hints:
        for layer in (layers[0], layers[-1]):
            layer.sort(key=lambda item: grid.hints.get(item, 0.0))
    best, fewest = [list(layer) for layer in layers], _crossings(grid, layers)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        _sweep(grid, layers, down)
        count = _crossings(grid, layers)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def _first_order(grid: _Grid) -> list[list[int]]:
    """Each layer in the order in which a walk upwards from the sinks leaves its items."""
    layers: list[list[int]] = [[] for _ in grid.layers()]
    seen = [False] * len(grid.rank)
    for sink in sorted(range(len(grid.rank)), key=lambda item: -grid.rank[item]):
        stack: list[tuple[int, int]] = [] if seen[sink] else [(sink, 0)]
        seen[sink] = True
        while stack:
            item, step = stack.pop()
            if step < len(grid.ups[item]):
                stack.append((item, step + 1))
                above = grid.ups[item][step][0]
                if not seen[above]:
                    seen[above] = True
                    stack.append((above, 0))
            else:
                layers[grid.rank[item]].append(item)
    return layers


def _sweep(grid: _Grid, layers: list[list[int]], down: bool) -> None:
    sides = grid.ups if down else grid.downs
    position = {item: float(place) for layer in layers for place, item in enumerate(layer)}
    for layer in layers if down else reversed(layers):
        key: dict[int, tuple[float, float]] = {}
        for item in layer:
            links = sides[item]
            if links:
                mean = sum(position[o] + 0.9 * s / grid.width[o] for o, s, _ in links) / len(links)
            else:
                mean = position[item]
            key[item] = (mean, grid.hints.get(item, 0.0))
        layer.sort(key=key.__getitem__)
        for place, item in enumerate(layer):
            position[item] = float(place)


def _crossings(grid: _Grid, layers: list[list[int]]) -> int:
    total = 0
    for layer, below in zip(layers, layers[1:], strict=False):
        place = {item: index for index, item in enumerate(below)}
        ends: list[float] = []
        for item in layer:
            downs = sorted(grid.downs[item], key=lambda link: link[2])
            for other, shift, _ in downs:
                if other in place:
                    end = place[other] + 0.9 * shift / grid.width[other]
                    total += len(ends) - bisect_left(ends, end + 1e-9)
                    insort(ends, end)
    return total


def _place_across(grid: _Grid, layers: list[list[int]], draft: bool) -> None:
    grid.x = [0.0] * len(grid.rank)
    for layer in layers:
        edge = 0.0
        for item in layer:
            grid.x[item] = edge + grid.width[item] / 2
            edge += grid.width[item] + BOX_GAP
        for item in layer:
            grid.x[item] -= edge / 2
    for sweep in range(4 if draft else 16):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            _fit_layer(grid, layer, (grid.ups,) if down else (grid.downs,))
    for sweep in range(0 if draft else 6):
        before = list(grid.x)
        for layer in layers if sweep % 2 else reversed(layers):
            _fit_layer(grid, layer, (grid.ups, grid.downs))
        if all(abs(a - b) < 0.5 for a, b in zip(before, grid.x, strict=True)):
            break


def _fit_layer(grid: _Grid, layer: list[int], sides: Sequence[list[list[tuple[int, float, float]]]]) -> None:
    wished, weights, least = [], [], []
    for place, item in enumerate(layer):
        total = weight = 0.0
        for side in sides:
            for other, shift, mine in side[item]:
                lanes = (grid.height[item] == 0.0) + (grid.height[other] == 0.0)
                pull = (1.0, 2.0, 8.0)[lanes]  # lanes run straight before anything else does
                total += pull * (grid.x[other] + shift - mine)
                weight += pull
        wished.append(total / weight if weight else grid.x[item])
        weights.append(weight or 0.1)
        if place:
            before = layer[place - 1]
            gap = LANE_GAP if 0.0 in (grid.height[item], grid.height[before]) else BOX_GAP
            least.append((grid.width[item] + grid.width[before]) / 2 + gap)
    for item, x in zip(layer, spaced(wished, weights, least), strict=True):
        grid.x[item] = x


def spaced(wished: Sequence[float], weights: Sequence[float], least: Sequence[float]) -> list[float]:
    """Places nearest to the wished ones (weighted least squares) with at least these gaps between them.

    Pools adjacent violators (Barlow et al., 1972) after the gaps are taken out.

    >>> spaced([0.0, 0.0], [1.0, 1.0], [10.0])
    [-5.0, 5.0]
    """
    offsets = [0.0]
    for gap in least:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []
    for wish, weight, offset in zip(wished, weights, offsets, strict=False):
        value, size = wish - offset, 1
        while pools and pools[-1][0] > value:
            other, mass, count = pools.pop()
            value = (value * weight + other * mass) / (weight + mass)
            weight, size = weight + mass, size + count
        pools.append((value, weight, size))
    places = [value for value, _, size in pools for _ in range(size)]
    return [place + offset for place, offset in zip(places, offsets, strict=False)]


def _place_down(grid: _Grid, layers: list[list[int]]) -> tuple[list[float], list[float]]:
    tops, heights, y = [], [], 0.0
    for index, layer in enumerate(layers):
        heights.append(max((grid.height[item] for item in layer), default=0.0))
        tops.append(y)
        slant = 0.0
        for item in layer:
            for other, shift, mine in grid.downs[item]:
                slant = max(slant, abs(grid.x[item] + mine - grid.x[other] - shift))
        # Between boxes there is more room than round labels and frames; wide slants get more, or the curves
        # lie flat over one another.
        near = (
            index + 1 < len(layers) and _is_box_layer(grid, layer) and _is_box_layer(grid, layers[index + 1])
        )
        y += heights[-1] + (LAYER_GAP if near else LABEL_GAP) + min(50.0, slant * 0.07)
    return tops, heights


def _fasten(grid: _Grid, layers: list[list[int]], links: Sequence[Link], chains: list[_Chain]) -> None:
    """Spreads the links of a unit along its side, in the order in which their other ends stand."""
    position = {item: place for layer in layers for place, item in enumerate(layer)}
    sides: dict[tuple[int, bool], list[tuple[int, int]]] = {}
    for number, (link, chain) in enumerate(zip(links, chains, strict=True)):
        if link.source >= 0 and link.source_shift is None:
            sides.setdefault((link.source, True), []).append((position[chain.items[1]], number))
        if link.target >= 0 and link.target_shift is None:
            sides.setdefault((link.target, False), []).append((position[chain.items[-2]], number))
    for (unit, out), ends in sides.items():
        step = min(18.0, 0.7 * grid.width[unit] / len(ends))
        for place, (_, number) in enumerate(sorted(ends)):
            shift = (place - (len(ends) - 1) / 2) * step
            if out:
                chains[number].out = shift
            else:
                chains[number].into = shift
    _connect(grid, links, chains)


def _is_box_layer(grid: _Grid, layer: list[int]) -> bool:
    return any(grid.height[item] > TALLEST_LABEL for item in layer)


def _bends(
    grid: _Grid, link: Link, chain: _Chain, rects: list[Rect], tops: list[float], heights: list[float]
) -> list[Point]:
    """The points a link passes: down through a layer, then across the gap to the next."""
    points: list[Point] = []
    for step, item in enumerate(chain.items):
        rect, rank = rects[item], grid.rank[item]
        x, top, bottom = rect.middle.x, tops[rank], tops[rank] + heights[rank]
        if step == 0 and link.source >= 0:
            x += link.source_shift or chain.out
            top = rect.bottom
        elif step == len(chain.items) - 1 and link.target >= 0:
            x += link.target_shift or chain.into
            bottom = rect.y
        points += [Point(x, top), Point(x, bottom)]
    return points
