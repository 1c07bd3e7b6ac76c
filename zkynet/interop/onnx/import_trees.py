"""Import rules of ensembles of decision trees: all samples go down all trees at once, one level a step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...framework import op
from ...framework.errors import InputError
from .import_ml import POST, classified, labels
from .import_registry import importer

_DOMAIN = "ai.onnx.ml"
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF")
_COMPARE = (op.less_equal, op.less, op.greater_equal, op.greater, op.equal, op.not_equal)
_MEMBER, _LEAF = _MODES.index("BRANCH_MEMBER"), _MODES.index("LEAF")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_POST = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


class Forest(NamedTuple):
    """All nodes of all trees in one table; a leaf leads to itself.

    `members` holds for each node the set that a BRANCH_MEMBER tests, padded with nan; `weights` what each leaf says of
    each target, and `voted` of which targets it says something.
    """

    roots: np.ndarray
    feature: np.ndarray
    mode: np.ndarray
    split: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    missing: np.ndarray
    members: np.ndarray | None
    weights: np.ndarray
    voted: np.ndarray

    @property
    def depth(self) -> int:
        """The number of steps from a root to the farthest leaf."""
        level, depth = np.unique(self.roots), 0
        while (self.mode[level] != _LEAF).any():
            inner = level[self.mode[level] != _LEAF]
            level, depth = np.unique(np.concatenate([self.yes[inner], self.no[inner]])), depth + 1
            if depth > len(self.mode):
                raise InputError("the trees of the ONNX model have a cycle.")
        return depth

    def reached(self, x: Any) -> Any:
        """The leaf that each row of x reaches in each tree, of shape (rows, trees)."""
        place: Any = np.broadcast_to(self.roots.astype(np.int32), (x.shape[0], len(self.roots)))
        for _ in range(self.depth):
            place = op.where(self._test(x, place), op.take(self.yes, place, axis=0), op.take(self.no, place, axis=0))
        return place

    def _test(self, x: Any, place: Any) -> Any:
        value = op.gather(x, op.take(self.feature, place, axis=0), axis=1)
        split = op.take(self.split, place, axis=0)
        mode = op.take(self.mode, place, axis=0)
        met: Any = op.zeros(place.shape, bool)
        for number, compare in enumerate(_COMPARE):
            if (self.mode == number).any():
                met = op.where(op.equal(mode, number), compare(value, split), met)
        if self.members is not None:
            inside = op.any(op.equal(op.expand_dims(value, axis=2), op.take(self.members, place, axis=0)), axis=2)
            met = op.where(op.equal(mode, _MEMBER), inside, met)
        if self.missing.any():
            met = op.where(op.isnan(value), op.take(self.missing, place, axis=0), met)
        return met

    def scores(self, x: Any, aggregate: str) -> Any:
        """What the trees say of each target: the sum, the average or an extreme over the trees."""
        place = self.reached(x)
        said = op.take(self.weights, place, axis=0)  # (rows, trees, targets)
        if aggregate in ("SUM", "AVERAGE"):
            total = op.sum(said, axis=1)
            return total / float(len(self.roots)) if aggregate == "AVERAGE" else total
        away = np.inf if aggregate == "MIN" else -np.inf
        voted = op.take(self.voted, place, axis=0)
        best = (op.min if aggregate == "MIN" else op.max)(op.where(voted, said, away), axis=1)
        return op.where(op.any(voted, axis=1), best, 0.0)


# Version 5: nodes and leaves apart --------------------------------------------------------------------------


@importer("TreeEnsemble", domain=_DOMAIN, since=5)
def _(ctx, x):
    scores = _forest(ctx).scores(x, _AGGREGATES[ctx.attr("aggregate_function", 1)])
    return POST[_POST[ctx.attr("post_transform", 0)]](scores)


def _forest(ctx: Any) -> Forest:
    mode = np.asarray(ctx.attr("nodes_modes"), np.int32)
    count, weights = len(mode), np.asarray(ctx.attr("leaf_weights"))
    leaves = len(weights)
    own = np.arange(count, count + leaves)

    def column(name: str, rest: Any, default: Any = None) -> np.ndarray:
        given = ctx.attr(name, default if default is not None else [0] * count)
        return np.concatenate([np.asarray(given), np.broadcast_to(rest, leaves)])

    def target(branch: str) -> np.ndarray:
        ids, leaf = (np.asarray(ctx.attr(f"nodes_{branch}{kind}")) for kind in ("nodeids", "leafs"))
        return np.concatenate([np.where(leaf, ids + count, ids), own]).astype(np.int32)

    table = np.zeros((count + leaves, ctx.attr("n_targets")), weights.dtype)
    voted = np.zeros(table.shape, bool)
    ids = np.asarray(ctx.attr("leaf_targetids"))
    table[own, ids], voted[own, ids] = weights, True
    return Forest(np.asarray(ctx.attr("tree_roots")), column("nodes_featureids", 0).astype(np.int32),
                  np.concatenate([mode, np.full(leaves, _LEAF, np.int32)]),
                  column("nodes_splits", 0).astype(weights.dtype), target("true"), target("false"),
                  column("nodes_missing_value_tracks_true", 0).astype(bool), _members(ctx, mode, leaves), table, voted)


def _members(ctx: Any, mode: np.ndarray, leaves: int) -> np.ndarray | None:
    values = np.asarray(ctx.attr("membership_values", np.zeros(0, np.float32)))
    tests = np.flatnonzero(mode == _MEMBER)
    if not len(tests):
        return None
    sets = np.split(values, np.flatnonzero(np.isnan(values)) + 1)[:len(tests)]
    made = np.full((len(mode) + leaves, max(map(len, sets))), np.nan, values.dtype)
    for node, found in zip(tests, sets, strict=True):
        made[node, :len(found)] = found
    return made


# Before: all in lists ---------------------------------------------------------------------------------------


def _listed(ctx: Any, name: str, default: Any = None) -> np.ndarray:
    """An attribute that is a list of floats, or a tensor of doubles."""
    found = ctx.attr(f"{name}_as_tensor", None)
    return np.asarray(ctx.attr(name, default) if found is None else found)


def _listed_forest(ctx: Any, what: str, targets: int) -> Forest:
    place = {key: i for i, key in enumerate(zip(ctx.attr("nodes_treeids"), ctx.attr("nodes_nodeids"), strict=True))}
    trees = ctx.attr("nodes_treeids")
    mode = np.asarray([_MODES.index(m) for m in ctx.attr("nodes_modes")], np.int32)
    own = np.arange(len(mode))

    def target(branch: str) -> np.ndarray:
        ids = ctx.attr(f"nodes_{branch}nodeids")
        found = [i if mode[i] == _LEAF else place[trees[i], ids[i]] for i in range(len(mode))]
        return np.asarray(found, np.int32)

    weights = _listed(ctx, f"{what}_weights").astype(np.float32)
    table = np.zeros((len(mode), targets), np.float32)
    voted = np.zeros(table.shape, bool)
    for tree, node, to, weight in zip(ctx.attr(f"{what}_treeids"), ctx.attr(f"{what}_nodeids"),
                                      ctx.attr(f"{what}_ids"), weights, strict=True):
        table[place[tree, node], to] += weight
        voted[place[tree, node], to] = True
    children = set(target("true")[mode != _LEAF]) | set(target("false")[mode != _LEAF])
    roots = np.asarray([i for i in own if i not in children])
    missing = np.asarray(ctx.attr("nodes_missing_value_tracks_true", [0] * len(mode)), bool)
    return Forest(roots, np.asarray(ctx.attr("nodes_featureids"), np.int32), mode,
                  _listed(ctx, "nodes_values").astype(np.float32), target("true"), target("false"), missing, None,
                  table, voted)


@importer("TreeEnsembleRegressor", domain=_DOMAIN)
def _(ctx, x):
    count = ctx.attr("n_targets", 1)
    scores = _listed_forest(ctx, "target", count).scores(x, ctx.attr("aggregate_function", "SUM"))
    scores = op.cast(scores, dtype=np.float32) + _listed(ctx, "base_values", [0.0] * count).astype(np.float32)
    return POST[ctx.attr("post_transform", "NONE")](scores)


@importer("TreeEnsembleClassifier", domain=_DOMAIN)
def _(ctx, x):
    names = labels(ctx)
    used = sorted(set(ctx.attr("class_ids")))
    single = len(names) == 2 and len(used) == 1  # the weights are those of the second class
    scores = _listed_forest(ctx, "class", len(names)).scores(x, "SUM")
    if single:
        scores = scores[:, used[0]:used[0] + 1]
    base = _listed(ctx, "base_values", [0.0] * scores.shape[1]).astype(np.float32)
    scores = op.cast(scores, dtype=np.float32) + base
    if single and ctx.attr("post_transform", "NONE") in ("NONE", "PROBIT"):  # they are probabilities
        scores = op.concat([1.0 - scores, scores], axis=-1)
    return classified(ctx, scores, names)
