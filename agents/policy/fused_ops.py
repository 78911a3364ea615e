"""The chains of arithmetic between two attentions, with their gradients by hand.

At the widths used here a training step waits for memory as much as for arithmetic: autograd writes every
link of norm, product, squared ReLU, product, dropout, sum to memory and reads it back, twice. Here rows go
through the whole chain a slice at a time, which stays in the processor's cache, and only what the way back
needs is kept. The gradients are checked against numerical ones (tests/agents/policy/test_fused_ops.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

ROWS = 1024  # of a slice: measured no slower than any other from 512 to 2,048 (docs/log.md, 2026-11-24)
_EPSILON = 1e-8


def normalize_rms(x: Tensor) -> Tensor:
    """Divide each row `[N, d]` by its root mean square (Zhang and Sennrich, 2019); no gain to learn."""
    return x * _scale(x)


def normed_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return `normalise(x) @ weight.T`, `[N, d]` → `[N, outputs]`; bfloat16 under autocast."""
    out: Tensor = _NormedLinear.apply(x, weight)
    return out


def feed_forward(x: Tensor, up: Tensor, down: Tensor, dropout: float = 0.0) -> Tensor:
    """Return `x + dropped(relu(normalise(x) @ up.T)² @ down.T)`, rows `[N, d]`.

    Squared ReLU after So et al., "Primer" (2021).
    """
    out: Tensor = _FeedForward.apply(x, up, down, dropout)
    return out


def add_dropped(x: Tensor, y: Tensor, dropout: float) -> Tensor:
    """Return `x + dropped(y)`: each number of `y` is 0 with probability `dropout`, the others grow for it."""
    return (
        torch.addcmul(x, y.to(x.dtype), _kept(x, dropout).to(x.dtype), value=_growth(dropout))
        if dropout
        else x + y
    )


class _NormedLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        work, scale = _working(weight), _scale(x)
        out = work.new_empty(len(x), len(work))
        for rows in _slices(x):
            torch.mm((x[rows] * scale[rows]).to(work.dtype), work.T, out=out[rows])
        ctx.save_for_backward(x, scale, work)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, scale, work = ctx.saved_tensors
        x_grad, weight_grad = torch.empty_like(x), x.new_zeros(work.shape)
        for rows in _slices(x):
            normed = x[rows] * scale[rows]
            _add_product(weight_grad, grad[rows].T, normed)
            x_grad[rows] = _through_norm((grad[rows] @ work).to(x.dtype), normed, scale[rows])
        return x_grad, weight_grad


class _FeedForward(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, dropout: float) -> Tensor:
        up, down, scale = _working(up), _working(down), _scale(x)
        kept = _kept(x, dropout) if dropout else None
        out, risen = torch.empty_like(x), up.new_empty(len(x), len(up))
        for rows in _slices(x):
            half = torch.mm((x[rows] * scale[rows]).to(up.dtype), up.T, out=risen[rows]).relu_()
            whole = (half * half) @ down.T
            if kept is not None:
                whole.mul_(kept[rows])
            torch.add(x[rows], whole, alpha=_growth(dropout), out=out[rows])
        ctx.save_for_backward(x, scale, up, down, risen, *([] if kept is None else [kept]))
        ctx.growth = _growth(dropout)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        x, scale, up, down, risen, *kept = ctx.saved_tensors
        x_grad = torch.empty_like(x)
        up_grad, down_grad = x.new_zeros(up.shape), x.new_zeros(down.shape)
        for rows in _slices(x):
            normed, half = x[rows] * scale[rows], risen[rows]
            inner = (grad[rows] * ctx.growth).to(up.dtype)
            if kept:
                inner.mul_(kept[0][rows])
            _add_product(down_grad, inner.T, half * half)
            inner = (inner.mul_(2) @ down).mul_(half)
            _add_product(up_grad, inner.T, normed)
            x_grad[rows] = grad[rows] + _through_norm((inner @ up).to(x.dtype), normed, scale[rows])
        return x_grad, up_grad, down_grad, None


def _slices(x: Tensor) -> Iterator[slice]:
    return (slice(row, row + ROWS) for row in range(0, len(x), ROWS))


def _scale(x: Tensor) -> Tensor:
    """Return one over the root mean square of each row, `[N, 1]`."""
    return x.square().mean(-1, keepdim=True).add(_EPSILON).rsqrt()


def _through_norm(grad: Tensor, normed: Tensor, scale: Tensor) -> Tensor:
    """Take the gradient of normed rows to that of the rows themselves."""
    along = torch.linalg.vecdot(grad, normed)[:, None] / -grad.shape[1]
    return torch.addcmul(grad, normed, along).mul_(scale)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left @ right` to `total`, whose numbers may be wider."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right.to(left.dtype)


def _working(weight: Tensor) -> Tensor:
    return weight.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else weight


def _kept(x: Tensor, dropout: float) -> Tensor:
    """Draw which numbers stay, bool like `x`: a random byte each, so `dropout` is met to 1 in 256."""
    random = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return (random.view(torch.uint8)[: x.numel()] >= _threshold(dropout)).view(x.shape)


def _growth(dropout: float) -> float:
    return 256 / (256 - _threshold(dropout))


def _threshold(dropout: float) -> int:
    """Return the random byte from which on a number stays; some always do."""
    return min(round(256 * dropout), 255)
