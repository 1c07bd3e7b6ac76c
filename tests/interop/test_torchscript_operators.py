"""Rules of TorchScript's operators against PyTorch itself: groups of expressions, each group one program."""

from __future__ import annotations

import numpy as np
import pytest
from torchscript_judge import assert_close, defined, flat, sample, torch

from zkynet.framework.errors import GraphError
from zkynet.interop import torchscript

X, Y = sample(2, 3, 4), sample(2, 3, 4, seed=1)
INTS = np.array([[0, 2, 1], [1, 1, 0]])
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])

# A name, the inputs, and the expressions.
GROUPS: list[tuple[str, dict[str, np.ndarray], list[str]]] = [
    ("arithmetic", {"x": X, "y": Y}, [
        "x + y", "x - y", "x * 2", "2.5 - x", "x / y", "x // 0.3", "x % 0.7", "torch.fmod(x, 0.3)", "x ** 2", "-x",
        "torch.add(x, y, alpha=3)", "torch.sub(x, y, alpha=2)", "torch.rsub(x, y)", "torch.pow(2.0, x)", "1 / (x + 3)",
        "torch.div(x, y, rounding_mode='floor')", "torch.div(x, y, rounding_mode='trunc')", "abs(x)",
        "torch.lerp(x, y, 0.3)", "torch.addcmul(x, x, y, value=0.5)", "torch.addcdiv(x, x, y + 2, value=0.5)",
        "torch.maximum(x, y)", "torch.max(x, y)", "torch.minimum(x, y)", "torch.atan2(x, y)", "torch.hypot(x, y)",
        "torch.logaddexp(x, y)", "torch.where(x > y, x, y)", "torch.where(x > 0, x, 0.0)", "torch.clamp(x, -0.2, 0.3)",
        "x.clamp(min=0.1)", "torch.clamp(x, max=y)", "x.masked_fill(x > 0.2, -1.0)", "torch.nan_to_num(x / 0.0)"]),
    ("functions", {"x": np.abs(X) + 0.1, "y": X * 0.9}, [
        *(f"torch.{name}(x)" for name in ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh",
                                          "log2", "log10", "log1p", "expm1", "erf", "erfc", "exp2", "reciprocal",
                                          "square", "sigmoid", "relu", "atan", "asinh", "isnan", "isfinite")),
        *(f"torch.{name}(y)" for name in ("asin", "acos", "atanh", "erfinv", "sign", "floor", "ceil", "round", "trunc",
                                          "frac", "abs", "neg")),
        "torch.acosh(x + 1)", "torch.logit(x * 0.5)", "torch.round(y, decimals=1)"]),
    ("activations", {"x": X * 3, "w": np.array([0.1, 0.2, 0.3], np.float32)}, [
        *(f"F.{name}(x)" for name in ("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
                                      "hardsigmoid", "hardtanh", "softplus", "softsign", "tanhshrink", "hardshrink",
                                      "softshrink", "logsigmoid", "leaky_relu", "sigmoid", "tanh", "glu")),
        "F.gelu(x, approximate='tanh')", "F.leaky_relu(x, 0.2)", "F.elu(x, 0.5)", "F.hardtanh(x, -0.5, 0.2)",
        "F.softplus(x, 2.0, 1.0)", "F.threshold(x, 0.1, 20.0)", "F.prelu(x, w)", "F.rrelu(x)", "F.softmax(x, dim=1)",
        "F.log_softmax(x, dim=-1)", "F.softmin(x, dim=0)", "x.softmax(-1)", "F.normalize(x, dim=1)",
        "torch.softmax(x, 1, dtype=torch.float32)"]),
    ("shapes", {"x": X, "y": Y}, [
        "x.view(6, 4)", "x.reshape(2, -1)", "x.permute(2, 0, 1)", "x.transpose(1, 2)", "x.flatten(1)", "x.flatten()",
        "x.unsqueeze(1)", "x.unsqueeze(-1).squeeze(-1)", "x.squeeze(0)", "x[:, :1].squeeze()", "x[0].t()", "x.mT",
        "torch.unflatten(x, 2, (2, -1))", "torch.movedim(x, 0, 2)", "x.contiguous().view(-1)", "x.view_as(y)",
        "x[:1].expand(2, 3, 4)", "x[:, :1].expand(-1, 3, -1)", "x[:1].expand_as(y)", "x.repeat(2, 1, 1)",
        "x.repeat(2, 1, 1, 2)", "torch.repeat_interleave(x, 2, dim=1)", "torch.cat([x, y], 1)",
        "torch.stack([x, y], dim=-1)", "torch.flip(x, [0, 2])", "torch.roll(x, 1, 2)", "torch.roll(x, [1, 2], [0, 1])",
        "torch.tril(x)", "torch.triu(x, 1)", "torch.diagonal(x, 0, 1, 2)", "torch.diag(x[0, 0])", "F.pad(x, (1, 2))",
        "F.pad(x, (1, 1, 2, 0), value=3.0)", "F.pad(x, (1, 1), mode='reflect')", "F.pad(x, (2, 1), mode='replicate')",
        "F.pad(x, (1, 2), mode='circular')", "F.pixel_shuffle(x.view(1, 4, 2, 3), 2)", "x.clone()", "x.detach()",
        "torch.broadcast_tensors(x, y[:1])[1]", "x.swapaxes(0, 2)"]),
    ("parts", {"x": X, "i": INTS}, [
        "x[0]", "x[:, 1]", "x[..., -1]", "x[:, 1:]", "x[:, ::2]", "x[..., :-1]", "x[None].shape[0] + x", "x[:, None]",
        "x.select(1, 2)", "x.narrow(2, 1, 2)", "torch.chunk(x, 2, 2)[1]", "torch.chunk(x, 2, dim=1)[0]",
        "x.split(3, dim=2)[1]", "x.split([1, 3], dim=2)[1]", "x.unbind(1)[2]", "x[i[0, 0]]", "x[:, i[0]]",
        "x[[1, 0]]", "x[i[:, 0], i[:, 1]]", "torch.index_select(x, 1, i[0])", "torch.gather(x[:, :, 0], 1, i)",
        "x[0].take(i)", "torch.take_along_dim(x[:, :, 0], i, 1)", "x[x > 0]", "x.masked_select(x > 0.3)",
        "torch.scatter_add(torch.zeros(2, 3), 1, i, x[:, :, 0])", "torch.scatter(x[:, :, 0], 1, i[:, :1], 5.0)",
        "torch.scatter(x[:, :, 0], 1, i[:, :1], x[:, :1, 1])", "torch.index_add(x[0], 0, i[0, :1], x[1, :1])",
        "F.one_hot(i, 4)", "F.one_hot(i)", "torch.nonzero(x[0] > 0)", "F.embedding(i, x[0])",
        "torch.where(x[0] > 0)[1]", "len(x) + i", "i.float() / x.size(0)", "i / 2", "i // 2", "i * 2.5", "i.sum()"]),
    ("reductions", {"x": X, "i": INTS}, [
        "x.sum()", "x.sum(1)", "x.sum([0, 2], keepdim=True)", "x.mean()", "x.mean(-1)", "x.mean([1, 2])", "x.prod()",
        "x.prod(1)", "x.var()", "x.var(1)", "x.var(-1, unbiased=False)", "x.std(dim=[0, 1], keepdim=True)",
        "torch.var(x, dim=1, correction=0)", "torch.var_mean(x, dim=1)[0]", "torch.std(x, 1)", "x.max()", "x.min()",
        "x.max(1)[0]", "x.max(1)[1]", "x.min(dim=2, keepdim=True)[0]", "x.amax(1)", "x.amin([0, 1])", "x.argmax()",
        "x.argmax(1)", "x.argmin(dim=-1, keepdim=True)", "x.norm()", "x.norm(p=1.0, dim=1)",
        "torch.linalg.vector_norm(x, 3.0, [1])", "torch.linalg.vector_norm(x.half(), 3.0, dtype=torch.float32)",
        "torch.linalg.norm(x)", "torch.linalg.norm(x[0], 'fro')", "torch.linalg.norm(x, 1.0, [2])",
        "torch.logsumexp(x, 1)", "(x > 0).any()", "(x > 0).all(1)",
        "(x > 0).sum()", "torch.count_nonzero(x > 0)", "x.cumsum(1)", "x.cumprod(2)", "x.topk(2)[0]",
        "x.topk(2, dim=1, largest=False)[1]", "x.sort(1)[0]", "x.sort(-1, descending=True)[1]", "x.argsort(1)",
        "torch.trace(x[0])", "i.sum(1)", "i.float().mean()"]),
    ("products", {"x": X, "y": Y, "w": sample(5, 4), "b": sample(5), "z": sample(3, 3, 2)}, [
        "x @ w.t()", "torch.matmul(x, y.transpose(1, 2))", "torch.mm(x[0], w.t())", "torch.bmm(x, y.mT)",
        "torch.mv(w, x[0, 0])", "torch.dot(x[0, 0], y[0, 0])", "F.linear(x, w, b)", "F.linear(x[0, 0], w, b)",
        "torch.addmm(b, x[0], w.t(), beta=0.5, alpha=2)", "torch.baddbmm(x[:, :, :3], x, y.mT)",
        "torch.einsum('bij,bkj->bik', x, y)", "torch.einsum('bij->ij', x)", "torch.outer(b, b)",
        "torch.tensordot(x, w, [[2], [1]])", "F.bilinear(x[0, :, :3], y[0, :, :2], z, b[:3])",
        "torch.inner(x, w)", "torch.cosine_similarity(x, y, dim=1)"]),
    ("constructors", {"x": X, "i": INTS}, [
        "torch.zeros(2, 3)", "torch.ones([2], dtype=torch.int64)", "torch.full([2], 3)", "torch.full([2], 1.5)",
        "torch.arange(5)", "torch.arange(1, 7, 2)", "torch.arange(0.0, 1.0, 0.25)", "torch.linspace(0, 1, 5)",
        "torch.eye(3)", "torch.zeros_like(x)", "torch.ones_like(i)", "torch.full_like(x, 2.5)", "x.new_zeros([2])",
        "i.new_full([2], 4)", "torch.tensor([1.0, 2.0])", "torch.tensor([[1, 2], [3, 4]])", "torch.tensor(2.5)",
        "torch.zeros(2, x.size(1), device=x.device, dtype=x.dtype)", "torch.tensor([x.size(0), x.size(1)])",
        "torch.tril(torch.ones(3, 3)).view(1, 3, 3) + x[:, :, :3]", "i.type_as(x)",
        "torch.meshgrid(x[0, 0], x[0, 1], indexing='ij')[0]", "torch.scalar_tensor(2.0)", "x.to(torch.int64)",
        "i.float()", "i.to(x.dtype)", "x.to(torch.bool)", "x.to('cpu')",
        "x.half().float()", "torch.zeros(3, dtype=torch.bool)", "i.to(torch.bool)", "(x > 0).float()"]),
    ("comparisons", {"x": X, "y": Y, "b": MASK, "i": INTS}, [
        "x > y", "x >= 0", "x < y", "x <= 0.5", "x == x", "x != y", "i == 1", "torch.logical_and(x > 0, b)",
        "(x > 0) & b", "b | (y > 0)", "b ^ b", "~b", "torch.logical_not(b)", "torch.isinf(x / 0)",
        "torch.where(b, x, y)", "x.masked_fill(~b, float('-inf'))", "torch.eq(i, 2)", "torch.ne(i, i)"]),
    ("convolutions", {"x": sample(2, 4, 6, 6), "w": sample(4, 2, 3, 3), "b": sample(4), "v": sample(4, 2, 3)}, [
        "F.conv2d(x, w, b, groups=2)", "F.conv2d(x, w, b, stride=2, padding=1, groups=2)",
        "F.conv2d(x, w, None, padding='same', groups=2)", "F.conv2d(x, w, padding=(1, 2), dilation=2, groups=2)",
        "F.conv1d(x[:, :, 0], v, None, groups=2)", "F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)",
        "F.conv_transpose1d(x[:, :, 0], v, stride=2)", "F.max_pool2d(x, 2)", "F.max_pool2d(x, 3, 2, 1)",
        "F.max_pool2d(x, 3, stride=2, ceil_mode=True)", "F.max_pool2d(x, 2, return_indices=True)[1]",
        "F.avg_pool2d(x, 2)", "F.avg_pool2d(x, 3, 2, 1, False, False)", "F.max_pool1d(x[0], 2)",
        "F.avg_pool1d(x[0], 2)", "F.adaptive_avg_pool2d(x, 1)", "F.adaptive_avg_pool2d(x, [4, 3])",
        "F.adaptive_max_pool2d(x, [2, 2])", "F.adaptive_avg_pool1d(x[0], 4)",
        "F.interpolate(x, scale_factor=2.0, mode='nearest')", "F.interpolate(x, size=[4, 9], mode='bilinear')",
        "F.interpolate(x, size=[4, 9], mode='bilinear', align_corners=True)",
        "F.batch_norm(x, b, b * b + 1, b, b)", "F.group_norm(x, 2, b, b)", "F.instance_norm(x, weight=b, bias=b)",
        "F.layer_norm(x, [6, 6])", "F.layer_norm(x, [6], x[0, 0, 0], x[0, 0, 1])",
        "F.dropout(x, 0.5, False)", "F.dropout2d(x, 0.5, False)", "F.lp_pool2d(x.abs(), 2.0, 2)"]),
    ("losses", {"x": X, "y": Y, "c": np.array([1, 0]), "cc": np.array([[1, 2, 0, 1], [0, 0, -100, 2]]),
                "p": (X + 1) / 2, "w": np.array([0.5, 1.0, 2.0], np.float32)}, [
        "F.mse_loss(x, y)", "F.mse_loss(x, y, reduction='sum')", "F.l1_loss(x, y)", "F.smooth_l1_loss(x, y, beta=0.5)",
        "F.huber_loss(x, y)", "F.cross_entropy(x[:, :, 0], c)", "F.cross_entropy(x, cc)",
        "F.cross_entropy(x, cc, w, label_smoothing=0.1)", "F.cross_entropy(x, cc, reduction='none')",
        "F.cross_entropy(x[:, :, 0], p[:, :, 0])", "F.nll_loss(x[:, :, 0], c)", "F.nll_loss(x, cc, w)",
        "F.binary_cross_entropy(p, (y > 0).float())", "F.binary_cross_entropy_with_logits(x, p)",
        "F.binary_cross_entropy_with_logits(x, p, pos_weight=p[0, 0])", "F.kl_div(x, p, reduction='batchmean')",
        "F.poisson_nll_loss(x, p)", "F.soft_margin_loss(x, torch.sign(y))",
        "F.cosine_embedding_loss(x[0], y[0], torch.sign(w - 0.7))",
        "F.margin_ranking_loss(x, y, torch.sign(p))", "F.hinge_embedding_loss(x, torch.sign(y))"]),
    ("attention", {"q": sample(2, 2, 5, 4), "k": sample(2, 2, 5, 4, seed=1),
                   "m": MASK[:1, :1] | np.eye(5, dtype=bool)}, [
        "F.scaled_dot_product_attention(q, k, k)", "F.scaled_dot_product_attention(q, k, q, is_causal=True)",
        "F.scaled_dot_product_attention(q, k, k, attn_mask=m)",
        "F.scaled_dot_product_attention(q, k, k, attn_mask=m.float(), scale=0.3)",
        "F.softmax((q @ k.mT).masked_fill(~torch.tril(torch.ones(5, 5)).to(torch.bool), -1e9), -1) @ k"]),
]


@pytest.mark.parametrize(("inputs", "expressions"), [group[1:] for group in GROUPS], ids=[g[0] for g in GROUPS])
def test_expressions_are_pytorchs(inputs: dict[str, np.ndarray], expressions: list[str]):
    body = "return (" + ",\n".join(expressions) + ",)"
    theirs = defined(body.replace("\n", "\n  "), list(inputs)).eval()
    wanted = theirs(*map(torch.tensor, inputs.values()))
    found = torchscript.load(theirs)(*inputs.values()).value
    for text, a, b in zip(expressions, found, wanted, strict=True):
        assert len(flat(b)) == 1
        a = np.asarray(a)
        if text.startswith(("x.half", "x.norm(")):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, err_msg=text)
        else:
            assert_close(a, b, text)


@pytest.mark.parametrize("order", ["2.0", "float('inf')", "'nuc'"])
def test_norms_of_matrices_that_are_not_supported_say_so(order: str):
    with pytest.raises(GraphError, match="use torch.linalg.vector_norm"):
        torchscript.load(defined(f"return torch.linalg.norm(x, {order})"))(X[0])


RANDOM = ["torch.bernoulli(x)", "torch.bernoulli(x, 0.1)", "torch.empty_like(x).bernoulli_(0.9)",
          "torch.empty_like(x).bernoulli_()", "torch.empty_like(x).bernoulli_(x[0] * 0.4)", "torch.normal(x, 2 * x)",
          "torch.normal(x, 0.1)", "torch.normal(1.0, x)", "torch.normal(2.0, 0.5, [64, 64])",
          "torch.empty_like(x).normal_(1.0, 0.3)", "torch.empty_like(x).uniform_(1.0, 3.0)",
          "torch.randint(4, [64, 64])", "torch.randint(1, 4, [64, 64], dtype=torch.float32)"]


def test_random_numbers_are_distributed_as_pytorchs():
    torch.manual_seed(0)
    x = np.full((64, 64), 0.5, np.float32)
    theirs = defined(f"return ({', '.join(RANDOM)},)")
    for text, a, b in zip(RANDOM, torchscript.load(theirs, seed=0)(x).value, theirs(torch.tensor(x)), strict=True):
        a, b = np.asarray(a), b.numpy()
        assert a.shape == b.shape and a.dtype.kind == b.dtype.kind, text
        np.testing.assert_allclose([a.mean(), a.std()], [b.mean(), b.std()], atol=0.1, err_msg=text)
