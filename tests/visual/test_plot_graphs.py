"""What a picture of a real graph shows: boxes, frames, sharing, folding, collapsing, values, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from visual_models import Block, Pair, Recurrent, Scale, Simple, Stack, chain, random_module, tangle

from zkynet.framework import cg, op
from zkynet.visual.collect import collect
from zkynet.visual.facts import read
from zkynet.visual.layered import longest_path
from zkynet.visual.layout import layout
from zkynet.visual.picture import Box, Picture

ONES = np.ones((2, 4), np.float32)


def draw(graph, **options) -> Picture:
    # Compiling a program for the values takes longer than all the rest.
    return collect(graph, **{"values": False, **options})[0]


def find(picture: Picture, title: str, kind: str | None = None) -> list[Box]:
    return [box for box in picture.boxes if box.title == title and kind in (None, box.kind)]


def one(picture: Picture, title: str, kind: str | None = None) -> Box:
    (box,) = find(picture, title, kind)
    return box


def fan_out(picture: Picture, box: Box) -> int:
    return sum(edge.source == box.id for edge in picture.edges)


def test_simple_model() -> None:
    picture = draw(Simple()(3), values=None)
    assert picture.title == "Simple" and picture.clusters == []
    assert sorted(box.title for box in picture.boxes) == ["add", "mult", "square", "w", "x"]
    assert one(picture, "x").kind == "input" and one(picture, "w").kind == "parameter"
    assert "= 36" in one(picture, "mult").lines and "= 3" in one(picture, "x").lines
    assert len(picture.edges) == 5 and {edge.label for edge in picture.edges} == {"int32[]"}
    assert fan_out(picture, one(picture, "x")) == 2


def test_root_and_result_and_containers_show_the_same() -> None:
    result = Simple()(3)
    pictures = [draw(graph) for graph in (result, result.root, [result.root], {"y": result})]
    assert len({picture.size for picture in pictures}) == 1


@pytest.mark.parametrize("share_inputs", [False, True])
@pytest.mark.parametrize("share_weights", [False, True])
def test_composites_show_what_is_shared(share_weights: bool, share_inputs: bool) -> None:
    model = Pair(share_weights, share_inputs)
    result = model(3) if share_inputs else model(3, 4)
    picture = draw(result)
    weights = find(picture, "w", "parameter")
    assert [fan_out(picture, w) for w in weights] == ([2] if share_weights else [1, 1])
    # A shared weight stands outside of both frames, a weight of one module inside its frame.
    assert all((w.cluster is None) == share_weights for w in weights)
    inputs = [box for box in picture.boxes if box.kind == "input"]
    assert [fan_out(picture, x) for x in inputs] == ([4] if share_inputs else [2, 2])
    assert all(x.cluster is None for x in inputs)
    labels = [cluster.label for cluster in picture.clusters]
    assert labels == (["_m1: Simple"] * 2 if share_weights else ["_m1: Simple", "_m2: Simple"])


def test_gradients_show_after_back() -> None:
    result = Pair(True, False)(3, 4)
    assert not any("grad" in line for box in draw(result, values=None).boxes for line in box.lines)
    result.back()
    picture = draw(result, values=None)
    assert "grad = 25" in one(picture, "w").lines
    assert not any(edge.gradient for edge in picture.edges)


def test_backward_direction() -> None:
    result = Simple()(3.0)
    before = draw(result, direction="backward")
    assert any("call back()" in note for note in before.notes)
    result.back()
    picture = draw(result, direction="backward", values=None)
    assert all(edge.gradient for edge in picture.edges) and len(picture.edges) == 5
    assert fan_out(picture, one(picture, "mult")) == 2 and fan_out(picture, one(picture, "w")) == 0
    assert one(picture, "mult").kind == "gradient" and "grad = 33" in one(picture, "x").lines
    places = layout(picture).boxes
    assert places[one(picture, "mult").id].bottom < places[one(picture, "w").id].y


def test_both_directions() -> None:
    result = Simple()(3.0)
    result.back()
    picture = draw(result, direction="both", values=None)
    forward = [edge for edge in picture.edges if not edge.gradient]
    back = [edge for edge in picture.edges if edge.gradient]
    assert len(forward) == 5 and all(edge.against for edge in back)
    assert {(e.source, e.target) for e in forward} == {(e.target, e.source) for e in back}


def test_no_gradient_flows_to_an_index() -> None:
    picture = draw(op.sin(cg.Parameter("w", 2.0)) * 3, direction="both")
    assert {edge.target for edge in picture.edges if edge.gradient} >= {one(picture, "w").id}


def test_jacobian_is_called_by_its_shape() -> None:
    result = Simple()(np.array([3.0, 4.0, 5.0], np.float32))
    result.back()
    assert any(line.startswith("grad [3,3] ") for line in one(draw(result, values=None), "x").lines)


def test_large_jacobians_are_left_to_who_asks_for_them() -> None:
    w = cg.Parameter("w", np.ones((1, 200), np.float32))
    f = cg.Module.build("F", lambda x: op.sum(op.sin(x * w), axis=1), (cg.Variable("x"),))
    result = f(np.ones((200, 1), np.float32))
    result.back()
    picture = draw(result, values=None, direction="both")
    assert one(picture, "sin").lines and not any("grad" in line for box in picture.boxes for line in box.lines)
    assert any("values=True" in note for note in picture.notes)


def test_gradients_pass_operators_with_several_outputs() -> None:
    f = cg.Module.build("F", lambda x: op.sum(op.sin(op.split(x, 2)[0])), (cg.Variable("x"),))
    result = f(np.ones(4, np.float32))
    result.back()
    for direction in ("backward", "both"):
        picture = draw(result, values=None, direction=direction)
        titles = {box.id: box.title for box in picture.boxes}
        back = [(titles[edge.source], titles[edge.target]) for edge in picture.edges if edge.gradient]
        assert sorted(back) == [("sin", "split"), ("split", "x"), ("sum", "sin")]


def test_operand_used_twice_has_two_edges() -> None:
    picture = draw(cg.Module.build("F", lambda x: op.mult(x, x), (cg.Variable("x"),))(2.0))
    assert len(picture.edges) == 2 and picture.size == 2


def test_constant_is_called_by_its_value() -> None:
    picture = draw(cg.Module.build("F", lambda x: x * 2.5, (cg.Variable("x"),))(2.0))
    assert one(picture, "2.5").lines == ("constant",)


def test_frozen_parameter_says_so() -> None:
    model = Simple()
    model.param("w").trainable = False
    assert "parameter, frozen" in one(draw(model(3)), "w").lines


def test_several_outputs_are_numbered_on_the_edges() -> None:
    class Halves(cg.Operator):
        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))

        def call(self, x):
            return x.value[:2], x.value[2:]

    def call(x):
        low, high = Halves()(x)
        return op.sin(low) * high

    picture = draw(cg.Module.build("F", call, (cg.Variable("x"),))(np.arange(4.0)))
    assert find(picture, "output") == []
    labels = {edge.label for edge in picture.edges if edge.source == one(picture, "Halves").id}
    assert labels == {"[0] float32[2]", "[1] float32[2]"}


def test_python_operator_is_one_box() -> None:
    class Twice(cg.Operator):
        jit = False

        def __init__(self):
            super().__init__(inputs=(cg.Variable("x"),))

        def call(self, x):
            return np.asarray(x.value) * 2

    picture = draw(cg.Module.build("F", lambda x: op.sin(Twice()(x)), (cg.Variable("x"),))(2.0))
    assert sorted(box.title for box in picture.boxes) == ["Twice", "sin", "x"]


def test_penalty_on_a_weight_does_not_pull_it_out_of_its_module() -> None:
    model = Stack(1)

    def loss(x):
        return op.square(model(x)) + op.square(model.blocks[0].up.w)

    picture = draw(cg.Module.build("Loss", loss, (cg.Variable("x"),))(ONES))
    homes = {box.cluster for box in picture.boxes if box.title == "w"}
    assert None not in homes and len(homes) == 3


def test_graph_continued_outside_of_its_module() -> None:
    loss = op.square(Stack(1)(ONES)) * 0.5
    picture = draw(loss)
    assert {"Stack", "blocks.0: Block"} <= {cluster.label for cluster in picture.clusters}
    assert one(picture, "square").cluster is None and picture.title == "mult"


# Collapsing and folding ----------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "modules", "frames"), [(0, 3, 0), (1, 4, 3), (2, 0, 7), (9, 0, 7)])
def test_depth(depth: int, modules: int, frames: int) -> None:
    picture = draw(Stack(2)(ONES), depth=depth)
    assert sum(box.kind == "module" for box in picture.boxes) == modules
    assert len(picture.clusters) == frames


def test_collapsed_module_tells_what_is_in_it() -> None:
    box = one(draw(Stack(2)(ONES), depth=0), "blocks.0: Block")
    assert box.lines == ("5 operators", "16 parameters")
    assert "2 add" in box.detail and "blocks.0" in box.detail


def test_predicate_collapses_single_modules() -> None:
    picture = draw(Stack(2)(ONES), collapse=lambda node: node.name == "sin")
    assert [box.title for box in picture.boxes if box.kind == "module"] == [
        "blocks.0: Block",
        "blocks.1: Block",
    ]
    assert [cluster.label for cluster in picture.clusters] == ["head: Scale"]


@pytest.mark.parametrize("residual", [False, True])
def test_equal_blocks_are_drawn_once(residual: bool) -> None:
    result = Stack(12, residual=residual)(ONES)
    picture = draw(result)
    (fold,) = [cluster for cluster in picture.clusters if cluster.repeats > 1]
    assert fold.label == "Block x 12" and fold.repeats == 12
    assert len(find(picture, "sin")) == 1
    assert picture.size == draw(Stack(3, residual=residual)(ONES)).size
    # Values are those of one repetition: they are not shown.
    assert one(picture, "sin").lines == ()
    assert draw(result, fold=False).size > 100


def test_folded_block_can_be_closed() -> None:
    picture = draw(Stack(12)(ONES), depth=0)
    assert [box.title for box in picture.boxes] == ["x", "Block x 12", "head: Scale"]
    assert one(picture, "Block x 12").lines == ("5 operators each", "16 parameters")
    assert len(picture.edges) == 2


def test_two_equal_blocks_and_unequal_blocks_are_drawn_each() -> None:
    assert len(find(draw(Stack(2)(ONES)), "sin")) == 2
    picture = draw(Stack(6, alike=False)(ONES))
    assert all(cluster.repeats == 1 for cluster in picture.clusters)
    assert sum(cluster.label.endswith(": Block") for cluster in picture.clusters) == 6


def test_blocks_that_differ_in_a_shared_parameter_or_in_wiring_are_not_folded() -> None:
    first, second = Scale(4), Scale(4)

    def call(x):
        y = first(x)
        for _ in range(3):
            y = second(y) * x  # the same operators, but x comes from outside each time
        return second(second(second(op.sin(y))))

    picture = draw(cg.Module.build("F", call, (cg.Variable("x"),))(ONES))
    folds = [cluster.label for cluster in picture.clusters if cluster.repeats > 1]
    assert folds == ["Scale x 3", "Scale x 3"]


def test_one_cell_called_many_times_keeps_its_weights_outside() -> None:
    picture = draw(Recurrent(5)(np.ones(3, np.float32)))
    (fold,) = picture.clusters
    assert fold.label == "Scale x 5"
    assert [w.cluster for w in find(picture, "w")] == [None]


def test_parallel_towers_are_folded_and_joined() -> None:
    towers = [Scale(4) for _ in range(4)]

    def call(x):
        found = [tower(x) for tower in towers]
        return (found[0] + found[1]) * (found[2] + found[3])

    picture = draw(cg.Module.build("F", call, (cg.Variable("x"),))(ONES))
    assert [cluster.label for cluster in picture.clusters] == ["Scale x 4"]
    assert picture.size == 1 + 4 + 3


# Large graphs ----------------------------------------------------------------------


def check_readable(graph, least_nodes: int, most: int = 300) -> Picture:
    assert len(graph.nodes) >= least_nodes
    picture = draw(graph)
    assert 3 <= picture.size <= most
    assert any(f"{len(graph.nodes):,} nodes in" in note for note in picture.notes)
    drawing = layout(picture)
    assert drawing.width < 6000 and drawing.height < 20_000
    return picture


def test_5000_operators_in_a_chain() -> None:
    picture = check_readable(chain(5000), 5000, most=20)
    (box,) = [box for box in picture.boxes if box.kind == "nodes"]
    assert box.title == "… 4,988 nodes" and "square" in box.lines[0]


def test_5000_operators_in_turn_are_a_loop() -> None:
    picture = check_readable(chain(5000, seed=None), 5000, most=20)
    assert [cluster.label for cluster in picture.clusters] == ["sin, cos, square, negative x 1,250"]


def test_5000_operators_in_a_tangle() -> None:
    picture = check_readable(tangle(5000), 5000, most=60)
    assert any(box.title == "… 60 parameters" for box in picture.boxes)


def test_5000_nodes_in_equal_blocks() -> None:
    picture = check_readable(Stack(500)(ONES), 4500, most=20)
    assert any(cluster.label == "Block x 500" for cluster in picture.clusters)


def test_5000_nodes_in_unequal_blocks() -> None:
    picture = check_readable(Stack(480, alike=False)(ONES), 4500, most=60)
    assert any(box.title == "blocks.0: Block" for box in picture.boxes)


def test_limit_none_shows_everything_and_depth_is_kept_as_far_as_it_goes() -> None:
    graph = Stack(40, alike=False)(ONES)
    assert draw(graph, limit=None).size == len(graph.nodes)
    assert draw(graph, depth=1, limit=100).size <= 100


def test_pages_offer_depths_that_fit() -> None:
    pictures = collect(Stack(30, alike=False)(ONES), several=True, values=False)
    sizes = [picture.size for picture in pictures]
    assert len(sizes) == len(set(sizes)) >= 2 and max(sizes) <= 300


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_without_cycles_whatever_is_collapsed(seed: int) -> None:
    graph = random_module(seed)(1.0, 2.0)
    options = {
        "limit": (100, 300, 15)[seed % 3],
        "depth": (None, 0, 1)[seed // 3 % 3],
        "fold": seed % 2 == 0,
    }
    for picture in collect(graph, values=False, several=True, **options):
        place = {box.id: index for index, box in enumerate(picture.boxes)}
        longest_path(len(place), [(place[edge.source], place[edge.target]) for edge in picture.edges])
        reached = {edge.source for edge in picture.edges}
        unused = [box for box in picture.boxes if box.id not in reached]
        assert len(unused) <= len(graph.roots), "only results are used by nothing"
        layout(picture)


# Values ----------------------------------------------------------------------


def test_large_graph_is_not_computed() -> None:
    graph = chain(300)
    draw(graph, values=None)
    assert not graph.root.is_computed
    small = chain(10)
    draw(small, values=False)
    assert not small.root.is_computed
    draw(small, values=None)
    assert small.root.is_computed


def test_gradients_of_a_large_graph_are_shown_when_they_were_read() -> None:
    graph = chain(300)
    graph.back(np.ones(3, np.float32))
    assert not any("grad" in line for box in draw(graph).boxes for line in box.lines)
    assert any("values=True" in note for note in draw(graph, direction="both").notes)
    inputs = cg.get_input_nodes(graph)
    assert inputs[0].gvalue is not None
    assert any(line.startswith("grad") for line in one(draw(graph), "x").lines)


def test_first_value_that_is_not_finite_is_marked() -> None:
    def call(x):
        return op.square(op.sin(x / 0.0)) + x

    picture = draw(cg.Module.build("F", call, (cg.Variable("x"),))(np.zeros(3, np.float32)), values=None)
    (bad,) = [box for box in picture.boxes if box.alarm]
    assert bad.title == "divide" and "3 of 3" in bad.alarm and bad.alarm in picture.notes


def test_gradient_that_is_not_finite_is_marked() -> None:
    result = cg.Module.build("F", lambda x: op.sqrt(x) * 2.0, (cg.Variable("x"),))(0.0)
    result.back()
    (bad,) = [box for box in draw(result, values=None).boxes if box.alarm]
    assert bad.title == "x" and "gradient" in bad.alarm


def test_bad_value_in_a_collapsed_module_marks_the_module() -> None:
    class Bad(cg.Module):
        def call(self, x):
            return op.log(x)

    class Outer(cg.Module):
        def __init__(self):
            super().__init__()
            self.bad = Bad()

        def call(self, x):
            return op.sin(self.bad(x - 1.0))

    picture = draw(Outer()(1.0), depth=0, values=None)
    assert "log" in one(picture, "bad: Bad").alarm


def test_infinite_constant_is_no_fault() -> None:
    call = cg.Module.build("F", lambda x: op.maximum(x, -np.inf), (cg.Variable("x"),))
    assert not any(box.alarm for box in draw(call(1.0), values=None).boxes)


def test_details_name_path_and_line_but_no_folder() -> None:
    detail = one(draw(Stack(1)(ONES)), "sin").detail
    assert "blocks.0.sin" in detail and "visual_models.py:" in detail
    assert "/visual_models.py" not in detail or "tests/visual/visual_models.py" in detail
    assert not any(line.startswith("made at /") for line in detail.splitlines())


@pytest.mark.parametrize("graph", [3, None, "x", [], Simple()])
def test_what_is_no_graph_is_refused(graph) -> None:
    with pytest.raises(TypeError, match="plot_cg draws a node"):
        draw(graph)


def test_wrong_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="direction is one of"):
        draw(Simple()(3), direction="sideways")


def test_reading_keeps_every_node_once_and_in_order() -> None:
    block = Block(4)
    first, second = block(ONES).root, op.sin(ONES)
    facts = read([second + first, first, second])
    assert [fact.index for fact in facts.facts] == list(range(len(facts.facts)))
    assert all(source < fact.index for fact in facts.facts for source, _ in fact.inputs)
    assert len(facts.roots) == 3
