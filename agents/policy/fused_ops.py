"""Fused operations between two attention layers, with hand-written gradients.

At the widths used here a training step is limited by memory as much as by arithmetic: autograd writes every
intermediate of norm, product, squared ReLU, product, dropout and sum to memory and reads it back, twice.
On a processor, rows pass through the whole chain in slices that stay in its cache, and only what the
backward pass needs is stored. On an accelerator the chains are torch's own operations. Tests compare the
gradients with numerical ones (tests/agents/policy/test_fused_ops.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function

ROWS = 1024  # rows of a slice; measured no slower than any other from 512 to 2,048 (docs/log.md, 2026-11-24)
_EPSILON = 1e-8


def normalize_rms(x: Tensor) -> Tensor:
    """Divide each row `[N, d]` by its root mean square (Zhang and Sennrich, 2019); no learned gain."""
    return x * _inverse_rms(x)


def normed_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return `normalize_rms(x) @ weight.T`, `[N, d]` → `[N, outputs]`; bfloat16 under autocast."""
    if x.device.type != "cpu":
        return F.linear(normalize_rms(x), weight)
    out: Tensor = _NormedLinear.apply(x, weight)
    return out


def feed_forward(x: Tensor, up: Tensor, down: Tensor, dropout: float = 0.0) -> Tensor:
    """Return `x + drop(relu(normalize_rms(x) @ up.T)² @ down.T)`, rows `[N, d]`.

    Squared ReLU after So et al., "Primer" (2021).
    """
    if x.device.type != "cpu":
        update = F.linear(F.linear(normalize_rms(x), up).relu().square(), down)
        return add_dropped(x, update, dropout)
    out: Tensor = _FeedForward.apply(x, up, down, dropout)
    return out


def add_dropped(x: Tensor, y: Tensor, dropout: float) -> Tensor:
    """Return `x + drop(y)`: numbers of `y` become 0 with probability `dropout`; the others are scaled up."""
    if x.device.type != "cpu":
        return x + F.dropout(y, dropout).to(x.dtype)
    return (
        torch.addcmul(x, y.to(x.dtype), _dropout_mask(x, dropout).to(x.dtype), value=_dropout_scale(dropout))
        if dropout
        else x + y
    )


class _NormedLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        work, scale = _to_compute_dtype(weight), _inverse_rms(x)
        out = work.new_empty(len(x), len(work))
        for rows in _slices(x):
            torch.mm((x[rows] * scale[rows]).to(work.dtype), work.T, out=out[rows])
        # the normed rows are recomputed in backward: cheaper than a second `[N, d]` in memory
        ctx.save_for_backward(x, scale, work)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, scale, work = ctx.saved_tensors
        # weight gradients add up in the type of x (float32), products run in bfloat16 under autocast
        x_grad, weight_grad = torch.empty_like(x), x.new_zeros(work.shape)
        for rows in _slices(x):
            normed = x[rows] * scale[rows]
            _add_product(weight_grad, grad[rows].T, normed)
            x_grad[rows] = _norm_backward((grad[rows] @ work).to(x.dtype), normed, scale[rows])
        return x_grad, weight_grad


class _FeedForward(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, dropout: float) -> Tensor:
        up, down, scale = _to_compute_dtype(up), _to_compute_dtype(down), _inverse_rms(x)
        mask = _dropout_mask(x, dropout) if dropout else None
        # `[N, d]` and `[N, 4d]`; the activations after ReLU also tell where its gradient is 0
        out, activations = torch.empty_like(x), up.new_empty(len(x), len(up))
        for rows in _slices(x):
            hidden = torch.mm((x[rows] * scale[rows]).to(up.dtype), up.T, out=activations[rows]).relu_()
            update = (hidden * hidden) @ down.T
            if mask is not None:
                update.mul_(mask[rows])
            torch.add(x[rows], update, alpha=_dropout_scale(dropout), out=out[rows])
        ctx.save_for_backward(x, scale, up, down, activations, *([] if mask is None else [mask]))
        ctx.growth = _dropout_scale(dropout)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        x, scale, up, down, activations, *masks = ctx.saved_tensors
        x_grad = torch.empty_like(x)
        up_grad, down_grad = x.new_zeros(up.shape), x.new_zeros(down.shape)
        for rows in _slices(x):
            normed, hidden = x[rows] * scale[rows], activations[rows]
            inner = (grad[rows] * ctx.growth).to(up.dtype)
            if masks:
                inner.mul_(masks[0][rows])
            _add_product(down_grad, inner.T, hidden * hidden)
            # d(h²) = 2 h dh, and h is 0 wherever ReLU is
            inner = (inner.mul_(2) @ down).mul_(hidden)
            _add_product(up_grad, inner.T, normed)
            x_grad[rows] = grad[rows] + _norm_backward((inner @ up).to(x.dtype), normed, scale[rows])
        return x_grad, up_grad, down_grad, None


def _slices(x: Tensor) -> Iterator[slice]:
    return (slice(row, row + ROWS) for row in range(0, len(x), ROWS))


def _inverse_rms(x: Tensor) -> Tensor:
    """Return the inverse root mean square of each row, `[N, 1]`."""
    return x.square().mean(-1, keepdim=True).add(_EPSILON).rsqrt()


def _norm_backward(grad: Tensor, normed: Tensor, scale: Tensor) -> Tensor:
    """Turn the gradient of normed rows `[N, d]` into that of the rows themselves."""
    # the norm removes the component along the row: subtract the gradient's part in it
    along = torch.linalg.vecdot(grad, normed)[:, None] / -grad.shape[1]
    return torch.addcmul(grad, normed, along).mul_(scale)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add `a @ b` to `total`, whose type may be wider."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b.to(a.dtype)


def _to_compute_dtype(weight: Tensor) -> Tensor:
    return weight.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else weight


def _dropout_mask(x: Tensor, dropout: float) -> Tensor:
    """Draw the numbers that stay, bool like `x`: one random byte each, so `dropout` is exact to 1 in 256."""
    # int64 draws give 8 random bytes each: faster than drawing bytes
    random = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return (random.view(torch.uint8)[: x.numel()] >= _threshold(dropout)).view(x.shape)


def _dropout_scale(dropout: float) -> float:
    return 256 / (256 - _threshold(dropout))


def _threshold(dropout: float) -> int:
    """Return the least random byte that lets a number stay; at most 255, so that some always do."""
    return min(round(256 * dropout), 255)
