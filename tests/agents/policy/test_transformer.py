from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.agents.policy.transformer import TransformerBlock, attend, pack, rotate


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_packing_keeps_every_sequence_once_shortest_first(lengths: list[int]) -> None:
    packing, order = pack(np.array(lengths))
    assert sorted(order.tolist()) == list(range(len(lengths)))
    laid = np.array(lengths)[order]
    assert (np.diff(laid) >= 0).all()
    assert [count for length, count in packing.runs for _ in [length]] == [
        lengths.count(length) for length in sorted(set(lengths))
    ]
    assert packing.starts.tolist() == (np.cumsum(laid) - laid).tolist()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.booleans())
def test_packed_attention_is_the_textbook_formula_for_each_sequence(lengths: list[int], causal: bool) -> None:
    torch.manual_seed(0)
    packing, order = pack(np.array(lengths))
    q, k, v = torch.randn(3, sum(lengths), 8, dtype=torch.float64)
    out, row = attend(torch.cat([q, k, v], -1), packing, 2, causal), 0
    for length in np.array(lengths)[order].tolist():
        for head in (slice(0, 4), slice(4, 8)):
            mine = slice(row, row + length)
            scores = q[mine, head] @ k[mine, head].T / 2
            if causal:
                scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
            assert torch.allclose(out[mine, head], scores.softmax(-1) @ v[mine, head], atol=1e-12)
        row += length


def test_a_summary_is_the_first_row_of_the_whole_block() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(16, 2, 0.0).double()
    with torch.no_grad():
        for weight in block.parameters():
            weight.normal_()
    packing, _ = pack(np.array([1, 3, 3, 5]))
    x = torch.randn(12, 16, dtype=torch.float64)
    first = torch.from_numpy(packing.starts)
    assert torch.allclose(block.summarize(x, packing, first), block(x, packing)[first], atol=1e-9)


def test_only_differences_of_positions_reach_the_scores() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 5, 16, dtype=torch.float64)
    positions = torch.arange(5)

    def scores(shift: int) -> torch.Tensor:
        return rotate(q, positions + shift, 2) @ rotate(k, positions + shift, 2).T

    assert torch.allclose(scores(0), scores(777), atol=1e-9)
    assert not torch.allclose(scores(0), q @ k.T, atol=1e-3)


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(6, 8)
    assert rotate(x, torch.arange(6), 2).norm(dim=1) == pytest.approx(x.norm(dim=1), abs=1e-5)


def test_a_fresh_block_changes_nothing() -> None:
    packing, _ = pack(np.array([2, 3]))
    x = torch.randn(5, 16)
    assert torch.equal(TransformerBlock(16, 2, 0.1)(x, packing), x)
