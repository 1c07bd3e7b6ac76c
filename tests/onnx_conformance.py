"""ONNX's own conformance suite, run on `zkynet.interop.onnx.backend`: `python -m tests.onnx_conformance`.

Prints what passed, failed and is not supported, by operator, and the totals; `--write docs/onnx_gaps.md` writes the
list of gaps. Tests about training, sequences, optional types, strings and types of less than 8 bits stand apart: they
are run as well, but are no part of the target.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
_SUB_BYTE = re.compile(r"U?INT[24]$|FLOAT4|FLOAT6")
_SUB_BYTE_NAME = re.compile(r"(U?INT[24]|FLOAT4E2M1|FLOAT6\w*)(_|$)|_u?int[24](_|$)|_float4e2m1", re.IGNORECASE)


class Outcome(NamedTuple):
    """How one test went: "passed", "failed" or "unsupported"; `apart` says why it is no part of the target."""

    kind: str
    name: str
    operator: str
    apart: str
    status: str
    detail: str
    seconds: float


def cases(kind: str) -> list[Any]:
    """The tests of a kind, as the installed onnx has them."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(loader.load_model_tests(kind=kind), key=lambda case: case.name)


def data_of(case: Any) -> tuple[Any, list[tuple[list[Any], list[Any]]]]:
    """The model of a test, and its pairs of inputs and expected outputs."""
    import onnx
    from onnx.backend.test.runner import _normalize_tensor

    if case.model is not None:
        return case.model, [([_normalize_tensor(x) for x in inputs], [_normalize_tensor(y) for y in outputs])
                            for inputs, outputs in case.data_sets]
    model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
    pairs = []
    for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set*"))):
        pairs.append(tuple(_values(folder, what, declared)
                           for what, declared in (("input", model.graph.input), ("output", model.graph.output))))
    return model, pairs


def _values(folder: str, what: str, declared: Sequence[Any]) -> list[Any]:
    import onnx
    from onnx import numpy_helper

    found = []
    for index in range(len(glob.glob(os.path.join(folder, f"{what}_*.pb")))):
        with open(os.path.join(folder, f"{what}_{index}.pb"), "rb") as file:
            content = file.read()
        kind = declared[index].type
        if kind.HasField("sequence_type"):
            found.append(numpy_helper.to_list(onnx.SequenceProto.FromString(content)))
        elif kind.HasField("optional_type"):
            found.append(numpy_helper.to_optional(onnx.OptionalProto.FromString(content)))
        else:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(content)))
    return found


# What a test is about ---------------------------------------------------------------------------------------


def nodes_of(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from nodes_of(inner)


def apart(case: Any, model: Any) -> str:
    """Why a test is no part of the target; empty when it is."""
    from onnx import TensorProto

    nodes = list(nodes_of(model.graph))
    if any(node.domain.startswith("ai.onnx.preview.training") for node in nodes):
        return "training"
    types = [value.type for value in (*model.graph.input, *model.graph.output)]
    if any("Optional" in node.op_type for node in nodes) or any(t.HasField("optional_type") for t in types):
        return "optional types"
    if any("Sequence" in node.op_type and node.op_type != "ReverseSequence" for node in nodes) or any(
            t.HasField("sequence_type") for t in types):
        return "sequences"
    kinds = {TensorProto.DataType.Name(t.tensor_type.elem_type) for t in types}
    if "STRING" in kinds or any("String" in node.op_type for node in nodes):
        return "strings"
    if any(_SUB_BYTE.match(kind) for kind in kinds) or _SUB_BYTE_NAME.search(case.name):
        return "sub-byte types"
    return ""


def operator_of(case: Any, model: Any, known: dict[str, str]) -> str:
    """The operator that a test is about; of an expanded one, that which was expanded."""
    base = re.sub(r"_expanded(_ver\d+)?$", "", case.name)
    if base != case.name and base in known:
        return known[base]
    nodes = model.graph.node
    if case.kind != "node":
        return case.kind
    node = nodes[0] if len(nodes) == 1 else nodes[-1]
    known[case.name] = f"{node.domain}.{node.op_type}".removeprefix(".")
    return known[case.name]


# Running ----------------------------------------------------------------------------------------------------


def run_case(case: Any, known: dict[str, str] | None = None) -> Outcome:
    """Run one test."""
    from onnx.backend.test.runner import Runner

    from zkynet.framework.errors import ZkynetError
    from zkynet.interop.onnx import backend

    started = time.process_time()
    model, pairs = data_of(case)
    status, detail = "passed", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = backend.prepare(model)
            for inputs, expected in pairs:
                Runner.assert_similar_outputs(expected, list(prepared.run(inputs)), case.rtol, case.atol)
    except ZkynetError as error:
        status = "unsupported" if "cannot be imported" in str(error) else "failed"
        detail = f"{type(error).__name__}: {error}"
    except Exception as error:  # whatever goes wrong is this test's failure
        status, detail = "failed", f"{type(error).__name__}: {error}"
    return Outcome(case.kind, case.name, operator_of(case, model, {} if known is None else known), apart(case, model),
                   status, " ".join(detail.split())[:300], time.process_time() - started)


def run(kinds: Sequence[str] = KINDS, only: str = "") -> list[Outcome]:
    """Run all tests of these kinds whose name matches the regular expression."""
    import jax

    known: dict[str, str] = {}
    found = []
    for kind in kinds:
        for case in cases(kind):
            if re.search(only, case.name):
                found.append(run_case(case, known))
                if len(found) % 200 == 0:
                    jax.clear_caches()
    return found


# Reports ----------------------------------------------------------------------------------------------------

# Why tests do not pass, by a regular expression on the name; the first that fits.
REASONS = {
    r"test_(training_dropout|bernoulli)": "The expected values are those of NumPy's random generator.",
    r"test_regex": "RegexFullMatch takes patterns of the library RE2.",
    r"test_dft_inverse": "The expected values hold rounding errors of float32 that are larger than the tolerance; here "
                         "the transform is computed in float64.",
    r"fp16|bf16": "Sums in half precision are rounded in another order than in the reference.",
    r"test_loop16_seq_none": "A Loop over an optional sequence that is empty at first.",
    "": "Not explained.",
}


def totals(outcomes: Sequence[Outcome]) -> dict[str, Counter]:
    """Counts of each status, by kind; node tests that stand apart by their reason."""
    found: dict[str, Counter] = defaultdict(Counter)
    for outcome in outcomes:
        label = f"{outcome.kind}, apart: {outcome.apart}" if outcome.apart and outcome.kind == "node" else outcome.kind
        found[label][outcome.status] += 1
    return dict(found)


def line(label: str, counts: Counter) -> str:
    total = sum(counts.values())
    return (f"{label:40} {counts['passed']:5} passed {counts['failed']:4} failed {counts['unsupported']:4} unsupported"
            f"   {100 * counts['passed'] / total:5.1f} %")


def report(outcomes: Sequence[Outcome], verbose: bool = False) -> str:
    """A table by operator, then what did not pass, then the totals."""
    by_operator: dict[str, Counter] = defaultdict(Counter)
    for outcome in outcomes:
        by_operator[outcome.operator][outcome.status] += 1
    lines = [line(name, counts) for name, counts in sorted(by_operator.items())] + [""]
    for outcome in outcomes:
        if outcome.status != "passed":
            where = f" [{outcome.apart}]" if outcome.apart else ""
            lines.append(f"{outcome.status}: {outcome.name}{where}" + (f": {outcome.detail}" if verbose else ""))
    lines += ["", *(line(label, counts) for label, counts in totals(outcomes).items())]
    seconds = sum(o.seconds for o in outcomes)
    return "\n".join([*lines, "", f"{len(outcomes)} tests, {seconds:.0f} s of processor time"])


def gaps(outcomes: Sequence[Outcome]) -> str:
    """The page docs/onnx_gaps.md."""
    import onnx

    lines = ["# Known gaps of the ONNX import", "",
             "Written by `python -m tests.onnx_conformance --write docs/onnx_gaps.md`, which runs ONNX's own",
             f"conformance suite (onnx {onnx.__version__}) on `zkynet.interop.onnx.backend`. Tests that stand apart",
             "are about training, sequences, optional types, strings and types of less than 8 bits.", "",
             "| tests | passed | failed | not supported | |", "|---|---|---|---|---|"]
    for label, counts in totals(outcomes).items():
        share = 100 * counts["passed"] / sum(counts.values())
        lines.append(f"| {label} | {counts['passed']} | {counts['failed']} | {counts['unsupported']} | {share:.1f} % |")
    lines += ["", "What does not pass, and why:", ""]
    found: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.status != "passed":
            reason = next(text for pattern, text in REASONS.items() if re.search(pattern, outcome.name))
            found[reason].append(outcome.name)
    for reason, names in found.items():
        lines.append(f"- {reason}")
        lines += [f"  - `{name}`" for name in names]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.onnx_conformance", description=summary)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of tests (may be repeated)")
    parser.add_argument("--only", default="", help="only tests whose name matches this regular expression")
    parser.add_argument("--verbose", action="store_true", help="say why each test failed")
    parser.add_argument("--write", metavar="FILE", help="write the list of gaps to this file")
    options = parser.parse_args(arguments)
    outcomes = run(options.kind or KINDS, options.only)
    print(report(outcomes, options.verbose))
    if options.write:
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(gaps(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
