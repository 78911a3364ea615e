from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tutelage.agents.training.optimizer import Optimizer, orthogonalize


class Toy(nn.Module):
    """One hidden matrix (Muon) and one row of gains (AdamW)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.matrix = nn.Linear(6, 4, bias=False)
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.matrix(x) * self.gain
        return out


@given(rows=st.integers(4, 40), columns=st.integers(4, 40), seed=st.integers(0, 1000))
def test_orthogonalize_brings_singular_values_near_one(rows: int, columns: int, seed: int) -> None:
    torch.manual_seed(seed)
    # the iteration needs a spread that five rounds can mend: built from given singular values
    u, _, v = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
    values = torch.linspace(0.2, 1.0, min(rows, columns))
    after = torch.linalg.svdvals(orthogonalize((u @ torch.diag(values) @ v)[None])[0])
    assert after.min() > 0.5
    assert after.max() < 1.3


def test_orthogonalize_keeps_directions() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(8, 5)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalize(matrix[None])[0] @ v.T
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-4
    assert inner.diagonal().min() > 0


def test_a_zero_gradient_changes_nothing() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def _steps(count: int, decay: float = 0.0) -> tuple[Toy, Optimizer]:
    toy = Toy()
    optimizer = Optimizer(toy, 0.02, 0.01, decay)
    torch.manual_seed(2)
    for _ in range(count):
        toy.zero_grad()
        toy(torch.randn(16, 6)).square().mean().backward()
        optimizer.step(1.0)
    return toy, optimizer


def test_small_weights_follow_torch_adam() -> None:
    ours, theirs = Toy(), Toy()
    ours.matrix.requires_grad_(False)
    theirs.matrix.requires_grad_(False)
    optimizer = Optimizer(ours, 0.02, 0.01, 0.0)
    adam = torch.optim.Adam([theirs.gain], lr=0.01, betas=(0.9, 0.95), eps=1e-10)
    torch.manual_seed(3)
    for _ in range(20):
        x = torch.randn(16, 6)
        for toy in (ours, theirs):
            toy.zero_grad()
            toy(x).square().mean().backward()
        optimizer.step(1.0)
        adam.step()
    assert torch.allclose(ours.gain, theirs.gain, atol=1e-6)


def test_both_kinds_of_weights_learn() -> None:
    before, (after, _) = Toy(), _steps(60)
    x = torch.randn(64, 6)
    assert after(x).square().mean() < 0.2 * before(x).square().mean()


def test_a_scale_of_zero_moves_nothing() -> None:
    toy = Toy()
    before = [one.clone() for one in toy.parameters()]
    toy(torch.randn(4, 6)).sum().backward()
    Optimizer(toy, 0.02, 0.01, 0.1).step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, toy.parameters(), strict=True))


def test_the_same_gradients_give_the_same_weights_and_state() -> None:
    (one, first), (other, second) = _steps(7, 0.1), _steps(7, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def test_the_flops_are_those_that_torch_counts() -> None:
    toy = Toy()
    optimizer = Optimizer(toy, 0.02, 0.01, 0.0)
    toy(torch.randn(4, 6)).sum().backward()
    with FlopCounterMode(display=False) as counter:
        optimizer.step(1.0)
    assert counter.get_total_flops() == optimizer.count_flops()
