"""The fused chains are the textbook formulas, and their hand-written gradients are the numerical ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from tutelage.agents.policy import fused_ops
from tutelage.agents.policy.fused_ops import add_dropped, feed_forward, normalize_rms, normed_linear


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut rows into slices of 3, so that eight rows cross two borders."""
    monkeypatch.setattr(fused_ops, "ROWS", 3)


def rows(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def seeded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Drop the same numbers at every call, as a numerical gradient needs."""

    def run(*given: Tensor) -> Tensor:
        torch.manual_seed(5)
        return function(*given)

    return run


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_the_numerical_ones(dropout: float) -> None:
    assert torch.autograd.gradcheck(normed_linear, (rows(8, 4), rows(6, 4)))
    chain = seeded(lambda x, up, down: feed_forward(x, up, down, dropout))
    assert torch.autograd.gradcheck(chain, (rows(8, 4), rows(12, 4), rows(4, 12)))
    add = seeded(lambda x, y: add_dropped(x, y, dropout))
    assert torch.autograd.gradcheck(add, (rows(8, 4), rows(8, 4)))


def test_the_chains_are_the_textbook_formulas() -> None:
    x, up, down = rows(8, 4), rows(12, 4), rows(4, 12)
    normed = F.rms_norm(x, (4,), eps=1e-8)
    assert torch.allclose(normed_linear(x, up), normed @ up.T)
    assert torch.allclose(feed_forward(x, up, down), x + F.relu(normed @ up.T).square() @ down.T)


def test_normed_rows_have_mean_square_one_whatever_their_scale() -> None:
    x = torch.randn(4, 32)
    for scale in (0.01, 1.0, 100.0):
        assert normalize_rms(x * scale).square().mean(1) == pytest.approx(torch.ones(4), rel=1e-2)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = add_dropped(torch.zeros(500, 400), torch.ones(500, 400), 0.25)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)
    assert len(dropped.unique()) == 2


def test_autocast_computes_in_bfloat16_and_learns_in_float32() -> None:
    x, up, down = (one.detach().float().requires_grad_() for one in (rows(8, 16), rows(64, 16), rows(16, 64)))
    feed_forward(x, up, down).square().sum().backward()
    exact = [one.grad for one in (x, up, down)]
    for one in (x, up, down):
        one.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        assert normed_linear(x, up).dtype == torch.bfloat16
        out = feed_forward(x, up, down)
    assert out.dtype == torch.float32
    out.square().sum().backward()
    for one, wanted in zip((x, up, down), exact, strict=True):
        assert one.grad is not None
        assert wanted is not None
        assert one.grad.dtype == torch.float32
        assert float((one.grad - wanted).norm() / wanted.norm()) < 0.05


def test_the_strongest_dropout_still_keeps_something() -> None:
    torch.manual_seed(0)
    dropped = add_dropped(torch.zeros(100, 100), torch.ones(100, 100), 0.999)
    assert torch.isfinite(dropped).all()
    assert 0 < int((dropped != 0).sum()) < 100
