"""What TorchScript has beside operators on tensors: control flow, Python's values, in-place writes, state, methods."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from torchscript_judge import assert_close, defined, flat, judge, sample, scripted, torch
from torchscript_nets import CNN, Counter, Frozen, InPlace, Options, Writing

import zkynet
from zkynet.framework import op
from zkynet.framework.errors import GraphError, InputError, TracedValueError
from zkynet.interop import torchscript

X = sample(2, 3)

# Bodies of forward(x), x of the shape (2, 3).
BODIES = {
    "branch on a size": "if x.size(0) > 1:\n    y = x * 2\nelse:\n    y = x\nreturn y",
    "branch on a value": "if bool(x.sum() > 100.0):\n    return x\nreturn -x",
    "early return": "for i in range(5):\n    x = x + 1\n    if i == x.size(0):\n        return x * i\nreturn x",
    "while, break, continue": "n = 0\nwhile True:\n    n += 1\n    if n % 2 == 0:\n        continue\n"
                              "    if n > x.numel():\n        break\n    x = x + n\nreturn x",
    "loop over rows": "y = torch.zeros(3)\nfor row in x:\n    y = torch.tanh(y + row)\nreturn y",
    "list of tensors": "parts = []\nfor i in range(x.size(1)):\n    parts.append(x[:, i] * i)\n"
                       "parts[0] = x[:, 0]\nparts = parts + [parts.pop()]\nreturn torch.stack(parts, 1)",
    "lists of ints": "sizes = [1, 2]\nsizes.append(x.size(0))\nsizes.extend([3])\nsizes[0] = 3\nsizes.insert(1, 1)\n"
                     "return x.sum() * len(sizes) + sizes[0] - sizes[-1] + max(sizes) + min(2, sizes[1]) + sum(sizes)",
    "comprehension": "return torch.cat([x[i:i + 1] for i in range(len(x))] + [x])",
    "dict": "d = {'a': x, 'b': x * 2}\nd['c'] = d['a'] + d['b']\ny = x * 0\nfor k, v in d.items():\n    y = y + v\n"
            "return y * len(d) if 'c' in d else x",
    "tuple": "a, (b, c) = x, (x + 1, x.size(0))\nt = (a, b)\nreturn t[0] * t[1] * c",
    "strings": "mode = 'mean' if x.dim() == 2 else 'sum'\nif mode + '!' == 'mean!' and 'ea' in mode:\n"
               "    return x.mean()\nreturn x.sum()",
    "arithmetic of numbers": "n = x.size(1)\nreturn x * (n // 2 + n % 2 - n ** 2 + float(n) / 2 + int(2.7) + abs(-n))",
    "none": "y: Optional[torch.Tensor] = None\nif x.size(0) == 2:\n    y = x + 1\n"
            "if y is not None:\n    return y * 2\nreturn x",
    "a number of a tensor": "return x * x[0, 0].item() + float(x[0, 1]) * int(x.sum() * 0 + 2)",
    "shape as a list": "b, c = x.shape\nreturn x.view([c, b]) + torch.zeros([c, b])",
    "dtype and device": "y = torch.arange(x.size(1), dtype=x.dtype, device=x.device)\n"
                        "return x + y if x.dtype == torch.float32 else x",
    "copies and fills": "y = x.clone()\ny.relu_()\ny.add_(1).mul_(3)\nreturn y + x",
    "element": "y = x.clone()\ny[0, 1] = 5.0\ny[1] = x[0]\nreturn y",
    "slice": "y = x.clone()\ny[:, 1:] = x[:, :2] * 2\ny[:, ::2] += 1\nreturn y",
    "mask": "y = x.clone()\ny[x > 0] = 0.5\nreturn y",
    "positions": "y = x.clone()\ny[[0, 1], [2, 0]] = torch.tensor([7.0, 8.0])\nreturn y",
    "through views": "y = x.clone()\nz = y.view(-1)\nz[1:3] += 10.0\nw = y.t()\nw[0].zero_()\ny.add_(1)\n"
                     "return y, z, w, y.unsqueeze(0)",
    "view of a view": "y = x.clone()\na = y.permute(1, 0)[1:]\na.unsqueeze(0).select(0, 0).mul_(2)\nreturn y, a",
    "aliases in a list": "y = x.clone()\nparts = [y, x]\ny.add_(1)\nreturn parts[0] * 1, torch.cat(parts)",
    "one of two": "y = x.clone()\nz = y if x.size(0) > 1 else x * 1\nz.mul_(2)\nreturn y, z",
    "in a loop": "y = x.clone()\nfor i in range(y.size(0)):\n    y[i] = y[i - 1] * i + 1\nreturn y",
    "accumulating": "y = torch.zeros_like(x)\nfor i in range(3):\n    y += x * i\nreturn y",
    "parts made anew": "y = x.clone()\na, b = y.split([1, 2], 1)\ny += 1\nreturn a, b",
    "parts written to": "y = x.clone()\na, b = y.split([1, 2], 1)\na += 1\nb.chunk(2, 1)[1].mul_(3)\n"
                        "y.unbind(1)[2].add_(x[:, 0])\ny.split(2, 1)[1].sub_(1)\nreturn y, a, b",
    "functions in place": "y = F.relu(x * 1, inplace=True)\nz = F.dropout(y, 0.5, False, True)\nreturn z + y",
    "fill": "y = torch.empty(2, 2)\ny.fill_(2.5)\nz = torch.zeros(3)\nz.copy_(x[0])\nreturn y, z, x.clone().zero_()",
    "masked_fill_": "y = x.clone()\ny.masked_fill_(x > 0, -1.0).clamp_(min=-0.5)\nreturn y",
    "dtype stays": "y = torch.arange(3)\ny *= 2\nreturn y",
    "copies of what is in another order": "y = x.t().contiguous()\ny.add_(1)\nz = x.t().reshape(-1)\nz.mul_(2)\n"
                                          "w = x[:, :2].flatten()\nw.zero_()\nv = x[:1].expand(2, 3).reshape(6)\n"
                                          "v.sub_(1)\nreturn x, y, z, w, v",
    "no copies where strides allow a view": "y = x.clone()\ny.reshape(-1).add_(1)\ny[:, 0].reshape(2, 1).mul_(3)\n"
                                            "y[1:].contiguous().exp_()\ny.t()[1:2].flatten().sub_(1)\n"
                                            "y.unsqueeze(0).transpose(0, 1).contiguous().mul_(2)\n"
                                            "y[0][1].view(1).add_(5)\ny.split(2, 1)[0][1].contiguous().neg_()\n"
                                            "return y",
    "another dtype is another tensor": "i = torch.arange(3)\ny = i.type_as(x)\ny.mul_(0.5)\nz = x.type_as(y)\n"
                                       "z.add_(1)\nreturn i, y, x, z",
    "arguments of views stay": "y = x.clone()\nsizes = [3, 2]\nz = y.view(sizes)\nsizes[0] = 6\nsizes[1] = 1\n"
                               "y.add_(1)\nreturn z",
    "narrow from the end": "y = x.clone()\ny.narrow(1, -2, 2).add_(1)\nreturn y, x.narrow(0, -1, 1)",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_do_what_pytorch_does(body: str):
    theirs = defined(body)
    wanted = flat(theirs(torch.tensor(X)))
    for a, b in zip(flat(torchscript.load(theirs)(X).value), wanted, strict=True):
        assert_close(a, b)


def test_writing_differentiates_and_reaches_what_other_modules_hold():
    ours = judge(scripted(InPlace()), X)
    assert ours.writes


def test_writing_row_by_row_makes_nodes_for_each_row_once():
    ours = torchscript.load(defined("y = torch.zeros_like(x)\nfor i in range(x.size(0)):\n    y[i] = x[i] * 2.0\n"
                                    "return y"))

    def nodes_made(rows: int) -> int:
        first = op.identity(0.0).serial
        ours(np.ones((rows, 1), np.float32))
        return op.identity(0.0).serial - first
    assert nodes_made(80) < 2.5 * nodes_made(40)


def test_no_gradient_flows_where_pytorch_stops_it():
    judge(scripted(Frozen()), X)


@pytest.mark.parametrize(("body", "message"), [
    ("y = x.clone()\ntorch.diagonal(y).zero_()\nreturn y", "writes to a part that aten::diagonal made"),
    ("y = x.clone()\ny.unsqueeze_(0)\nreturn y", "gives the shape (1, 2, 3) for a tensor of the shape (2, 3)"),
])
def test_writes_that_are_not_supported_say_so(body: str, message: str):
    with pytest.raises(zkynet.ZkynetError) as caught:
        torchscript.load(defined(body))(X)
    assert message in str(caught.value)


def test_a_parameter_is_not_written_to():
    module = torch.nn.Linear(3, 3)
    with pytest.raises(GraphError, match="only buffers may change"):
        torchscript.load(scripted(Writing(module)))(X)


def test_the_users_array_stays():
    x = X.copy()
    np.testing.assert_array_equal(torchscript.load(defined("x.add_(1)\nreturn x"))(x).value, x + 1)
    np.testing.assert_array_equal(x, X)


# State and modes ------------------------------------------------------------------------------------------------


def test_buffers_tensors_and_numbers_that_calls_change():
    theirs = scripted(Counter())
    ours = torchscript.load(theirs)
    for _ in range(3):
        for a, b in zip(flat(ours(X).value), flat(theirs(torch.tensor(X))), strict=True):
            assert_close(a, b)
    assert ours.calls == theirs.calls == 3 and int(ours.seen.value) == 6
    again = torchscript.to_torch(ours)
    for a, b in zip(flat(again(torch.tensor(X))), flat(theirs(torch.tensor(X))), strict=True):
        assert_close(a, b)


def test_dropout_follows_the_mode_and_the_seed():
    theirs = scripted(torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout2d(0.5)))
    first, second = (torchscript.load(theirs, seed=3) for _ in range(2))
    ones = np.ones((8, 4, 3), np.float32)
    a = np.asarray(first(ones).value)
    np.testing.assert_array_equal(a, second(ones).value)
    assert set(np.unique(a)) == {0.0, 4.0} and not np.array_equal(a, first(ones).value)
    np.testing.assert_array_equal(first.eval()(ones).value, ones)
    assert "stream" in first.state_dict()


def test_the_mode_of_a_part_is_its_own():
    torch.manual_seed(0)
    theirs = scripted(CNN())
    dict(theirs.named_modules())["features.1"].eval()
    ours = torchscript.load(theirs)
    modes = {name: module.training for name, module in ours.named_modules()}
    assert modes["features.1"] is False and modes["features.5"] is True
    x = sample(4, 1, 8, 8)
    assert_close(ours(x).value, theirs(torch.tensor(x)))
    assert_close(ours.state_dict()["features.1.running_mean"], theirs.state_dict()["features.1.running_mean"])
    assert_close(ours.state_dict()["features.5.running_var"], theirs.state_dict()["features.5.running_var"])
    assert not dict(torchscript.to_torch(ours).named_modules())["features.1"].training


def test_a_copy_runs_on_its_own():
    ours = torchscript.load(scripted(torch.nn.Linear(3, 2)))
    other = copy.deepcopy(ours)
    other.weight.value, other.bias.value = np.zeros((2, 3)), np.ones(2)
    np.testing.assert_array_equal(other(X).value, np.ones((2, 2)))
    assert not np.array_equal(ours(X).value, np.ones((2, 2)))


# Arguments and methods ------------------------------------------------------------------------------------------


def call_both(ours: Any, theirs: Any, *args: Any, **kwargs: Any) -> None:
    as_theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
    wanted = theirs(*[torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args], **as_theirs)
    for a, b in zip(flat(ours(*args, **kwargs).value), flat(wanted), strict=True):
        assert_close(a, b)


def test_arguments_have_types_defaults_and_names():
    theirs = scripted(Options())
    ours = torchscript.load(theirs)
    assert [v.short_name for v in ours.inputs] == ["x", "times", "scale", "other", "flip", "shape"]
    call_both(ours, theirs, X)
    call_both(ours, theirs, X, 3)
    call_both(ours, theirs, X, times=1, scale=0.5, flip=True)
    call_both(ours, theirs, X, 2, other=X[::-1].copy())
    np.testing.assert_array_equal(ours(X, shape=[3, 2]).value, np.asarray(ours(X).value).reshape(3, 2))
    with pytest.raises(InputError, match=r"missing its input 'x': it takes \(x: Tensor, times: int, "):
        ours()


def test_other_methods_can_be_loaded():
    theirs = scripted(Options())
    double = torchscript.load(theirs, method="double")
    np.testing.assert_allclose(double(X).value, 2 * X)
    with pytest.raises(InputError, match="no method 'triple'; it has: .*forward"):
        torchscript.load(theirs, method="triple")
    with pytest.raises(InputError, match="pass what load"):
        torchscript.to_torch(torchscript.load(scripted(torch.nn.Sequential(torch.nn.Linear(3, 2)))).members["0"])


# Errors, and programs -------------------------------------------------------------------------------------------


def test_what_the_model_raises_is_said_with_its_place():
    ours = torchscript.load(scripted(Options()))
    with pytest.raises(InputError) as caught:
        ours(X[0])
    assert "two axes are needed, not 1" in str(caught.value)
    assert "torchscript_nets.py" in caught.value.__notes__[0]
    with pytest.raises(zkynet.ZkynetError) as caught:
        torchscript.load(defined("return x @ x"))(X)
    assert "return x @ x" in caught.value.__notes__[0]


def test_printing_and_warning(capsys: pytest.CaptureFixture):
    torchscript.load(defined("print('size', x.size(0), [1.5])\nreturn x"))(X)
    assert capsys.readouterr().out == "size 2 [1.5]\n"


def test_control_flow_on_values_inside_a_traced_function_is_refused():
    ours = torchscript.load(defined(BODIES["branch on a value"]))
    np.testing.assert_allclose(ours(X).value, -X)
    with pytest.raises(TracedValueError, match="the value of a tensor is needed here") as caught:
        zkynet.compile(lambda x: ours(x))(X)
    assert "if bool(x.sum() > 100.0)" in caught.value.__notes__[0]


def test_a_second_call_compiles_nothing_and_compile_works():
    torch.manual_seed(0)
    ours = torchscript.load(scripted(CNN(p=0.5)))
    x = sample(4, 1, 8, 8)
    first, second = np.asarray(ours(x).value), np.asarray(ours(x).value)
    assert not np.array_equal(first, second)  # another mask, and statistics that the first moved
    before = zkynet.compile_stats().compilations
    assert ours(x + 1).value.shape == (4, 3)
    assert zkynet.compile_stats().compilations == before
    ours.eval()
    assert_close(zkynet.compile(lambda x: ours(x))(x), ours(x).value)


def test_everything_without_a_rule_is_listed_with_its_place():
    body = "y = torch.fft.fft(x)\nif x.size(0) > 1:\n    y = torch.histc(x)\nreturn y + torch.special.digamma(x)"
    with pytest.raises(GraphError) as caught:
        torchscript.load(defined(body))
    lines = str(caught.value).splitlines()
    assert "uses what zkynet has no rule for" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["aten::fft_fft", "aten::histc", "aten::digamma"]
    assert "y = torch.fft.fft(x)" in lines[1] and "line" not in lines[1]
