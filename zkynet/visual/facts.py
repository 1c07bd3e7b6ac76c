"""What a graph consists of, read once: its nodes as `Fact`s and its module calls as `Group`s.

Everything after this works on indices into two lists. A leaf has no scope of its own; it stands in the
innermost module call that holds all who use it, so that a weight which two calls share is seen outside both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from zkynet.framework import cg
from zkynet.visual.picture import Kind

PAGE = 0  # the group that is no module call: the sheet itself


@dataclass(slots=True)
class Fact:
    """One node. `inputs` are (fact, output number or None for an operator with one output)."""

    index: int
    kind: Kind
    name: str
    node: Any
    inputs: list[tuple[int, int | None]] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    group: int = PAGE
    token: Hashable = None  # equal for nodes that do the same to the same shapes

    @property
    def is_leaf(self) -> bool:
        """Whether it is no operator."""
        return self.kind != "operator"


@dataclass(slots=True)
class Group:
    """One module call (or the sheet): its facts in order and the calls made inside it."""

    index: int
    scope: Any
    parent: int = PAGE
    depth: int = 0
    facts: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The class of the module."""
        return str(self.scope.label)

    @property
    def title(self) -> str:
        """'name: Class', or the class alone for an outermost call."""
        name = str(self.scope.name)
        return self.label if name == self.label else f"{name}: {self.label}"


@dataclass(slots=True)
class Facts:
    """A graph, read."""

    facts: list[Fact]
    groups: list[Group]
    roots: list[int]
    heading: str

    def lineage(self, group: int) -> list[int]:
        """The groups around and including one, the sheet first."""
        chain = [group]
        while chain[-1] != PAGE:
            chain.append(self.groups[chain[-1]].parent)
        return chain[::-1]

    def deepest(self) -> int:
        """How many frames stand in one another at most."""
        return max(group.depth for group in self.groups)

    def within(self, group: int) -> list[int]:
        """All facts of a group and of the groups inside it, in the graph's order."""
        found: list[int] = []
        waiting = [group]
        for index in waiting:
            found += self.groups[index].facts
            waiting += self.groups[index].groups
        return sorted(found)


def read(graph: Any) -> Facts:
    """Reads a node, a list of nodes, or what a Module's call returned."""
    roots, heading = roots_of(graph)
    nodes = _all_nodes(roots)
    facts, place = _facts_of(nodes)
    groups = _groups_of(facts)
    _place_leaves(facts, groups)
    for fact in facts:
        groups[fact.group].facts.append(fact.index)
    return Facts(facts, groups, [place[root] for root in roots if root in place], heading)


def roots_of(graph: Any) -> tuple[list[Any], str]:
    """The output nodes and a title for a graph given in any of the accepted forms."""
    if isinstance(graph, cg.ModuleGraph):
        return list(graph.roots), str(graph.module.functional_name)
    found = _flat(graph)
    if not found or not all(hasattr(node, "children") and hasattr(node, "isleaf") for node in found):
        raise TypeError(
            "plot_cg draws a node, a tuple, list or dict of nodes, or the result of calling a Module, but "
            f"got {type(graph).__name__} {str(graph)[:60]!r}. Pass result.root or result itself"
            f"{', where result = module(inputs)' if isinstance(graph, cg.Module) else ''}."
        )
    return found, found[0].name if len(found) == 1 else "graph"


def _flat(graph: Any) -> list[Any]:
    if isinstance(graph, cg.ModuleGraph):
        return list(graph.roots)
    if isinstance(graph, dict):
        return [node for value in graph.values() for node in _flat(value)]
    if isinstance(graph, (list, tuple)):
        return [node for value in graph for node in _flat(value)]
    return [graph]


def _all_nodes(roots: list[Any]) -> list[Any]:
    """All nodes below the roots, inputs before users, each once."""
    order: list[Any] = []
    seen: set[Any] = set()
    for root in roots:
        for node in cg.get_all_nodes(root):
            if node not in seen:
                seen.add(node)
                order.append(node)
    # Joined from several roots, a later root's inputs may come after users of theirs: sort once more.
    return order if len(roots) == 1 else _sorted(order)


def _sorted(nodes: list[Any]) -> list[Any]:
    place = {node: index for index, node in enumerate(nodes)}
    done: set[Any] = set()
    order: list[Any] = []
    for start in nodes:
        stack = [(start, 0)]
        while stack:
            node, step = stack.pop()
            if node in done:
                continue
            if step < len(node.children):
                stack.append((node, step + 1))
                if node.children[step] in place and node.children[step] not in done:
                    stack.append((node.children[step], 0))
            else:
                done.add(node)
                order.append(node)
    return order


def _facts_of(nodes: list[Any]) -> tuple[list[Fact], dict[Any, int]]:
    facts: list[Fact] = []
    place: dict[Any, int] = {}
    part: dict[Any, int] = {}  # nodes that only pick one output: drawn as a remark on the edge
    silent = _silent(nodes)
    for node in nodes:
        if node in silent:
            continue
        if not node.isleaf() and node.name == "output" and node.children[0] in place:
            place[node] = place[node.children[0]]
            part[node] = int(attributes(node).get("index", 0))
            continue
        kind, name = _kind_and_name(node)
        fact = Fact(len(facts), kind, name, node, token=_token(kind, name, node))
        for child in node.children:
            if child in silent:
                continue
            fact.inputs.append((place[child], part.get(child)))
            facts[place[child]].users.append(fact.index)
        place[node] = fact.index
        facts.append(fact)
    return facts, place


def _silent(nodes: Iterable[Any]) -> set[Any]:
    """The leaves that hold what a Python-only operator computed: its own box shows that already."""
    return {node.children[0] for node in nodes if not node.isleaf() and node.name == "host_result"}


def _kind_and_name(node: Any) -> tuple[Kind, str]:
    if not node.isleaf() or node.operator is not None:
        host = attributes(node).get("host") if node.name == "host_result" else None
        return "operator", str(host[0].name if host else node.name)
    template = node.template
    if template is None:
        return "constant", "constant"
    name = str(template.short_name)
    if isinstance(template, cg.Parameter):
        return "parameter", name
    if isinstance(template, cg.State):
        return "state", name
    return ("constant", name) if isinstance(template, cg.Constant) else ("input", name)


def shape_text(node: Any) -> str:
    """'float32[32,64]', or the outputs' number where there are several."""
    if isinstance(getattr(node, "aval", None), tuple):
        return f"{len(node.aval)} outputs"
    return f"{np_name(node.dtype)}[{','.join(map(str, node.shape))}]"


def attributes(node: Any) -> dict[str, Any]:
    """The static attributes of an operator node, by name."""
    return {} if node.operator is None else dict(node.signature.kwargs)


def np_name(dtype: Any) -> str:
    """The usual name of a dtype."""
    return str(getattr(dtype, "name", dtype))


def _token(kind: Kind, name: str, node: Any) -> Hashable:
    """Nodes with equal tokens differ only in their values and inputs (and in which part of it they pick)."""
    if kind != "operator":
        return (kind, name if kind != "constant" else "", shape_text(node))
    attrs = () if name in ("getitem", "slice", "take") else tuple(map(str, attributes(node).items()))
    return (kind, name, attrs, shape_text(node))


def _groups_of(facts: list[Fact]) -> list[Group]:
    """One group for each scope that holds an operator, outer ones first; the only outermost is the sheet."""
    groups = [Group(PAGE, None)]
    known: dict[int, int] = {}
    scopes = {id(fact.node.scope): fact.node.scope for fact in facts if not fact.is_leaf}
    tops = {id(_top(scope)) if scope is not None else None for scope in scopes.values()}
    sheet = next(iter(tops)) if len(tops) == 1 else None

    def group_of(scope: Any) -> int:
        chain = []
        while scope is not None and id(scope) != sheet and id(scope) not in known:
            chain.append(scope)
            scope = scope.parent
        parent = known[id(scope)] if scope is not None and id(scope) != sheet else PAGE
        for inner in reversed(chain):
            index = len(groups)
            groups.append(Group(index, inner, parent, groups[parent].depth + 1))
            groups[parent].groups.append(index)
            known[id(inner)] = parent = index
        return parent

    for fact in facts:
        if not fact.is_leaf:
            fact.group = group_of(fact.node.scope)
    return groups


def _top(scope: Any) -> Any:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _place_leaves(facts: list[Fact], groups: list[Group]) -> None:
    """Puts each leaf into the innermost group that holds all its users.

    A parameter or state goes one step further: users that stand around that group (such as a penalty on
    all weights) do not pull it out of the one module call that owns it. Inputs stay on the sheet.
    """
    for fact in facts:
        if fact.is_leaf and fact.users and fact.kind != "input":
            homes = {facts[user].group for user in fact.users}
            loose = fact.kind in ("parameter", "state")
            fact.group = _common(homes, groups, loose)


def _common(homes: set[int], groups: list[Group], loose: bool) -> int:
    chains = []
    for home in homes:
        chain = [home]
        while chain[-1] != PAGE:
            chain.append(groups[chain[-1]].parent)
        chains.append(chain[::-1])
    depth = 0
    while True:
        below = {chain[depth + 1] for chain in chains if len(chain) > depth + 1}
        stay = any(len(chain) == depth + 1 for chain in chains)
        if len(below) != 1 or (stay and not loose):
            return chains[0][depth]
        if loose:
            chains = [chain for chain in chains if len(chain) > depth + 1]
        depth += 1
