from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.action_sampling import SamplingSettings
from tutelage.agents.policy.pointer import Pointer, TokenPool

WIDTH = 64
COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def made(counts: list[int], none: bool) -> tuple[Pointer, torch.Tensor, TokenPool]:
    torch.manual_seed(sum(counts))
    pointer = Pointer(WIDTH, none).double()
    for weight in pointer.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x = torch.randn(len(counts), WIDTH, dtype=torch.float64)
    return pointer, x, TokenPool(torch.randn(sum(counts), WIDTH, dtype=torch.float64), np.array(counts))


def rows_of(pointer: Pointer, x: torch.Tensor, pool: TokenPool) -> list[torch.Tensor]:
    """Return each step's logits as if it were alone."""
    return [
        pointer._logits(x[at : at + 1], pool.of(np.array([at])))[0].double() for at in range(len(pool.counts))
    ]


@given(COUNTS, st.booleans(), st.integers(0, 1000))
def test_the_loss_is_the_cross_entropy_of_each_step_by_itself(
    counts: list[int], none: bool, seed: int
) -> None:
    pointer, x, pool = made(counts, none)
    random = np.random.default_rng(seed)
    wanted = random.integers(-1 if none else 0, np.array(counts))
    loss = pointer.loss(x, pool, wanted)
    for own, row, place in zip(loss, rows_of(pointer, x, pool), wanted, strict=True):
        expected = F.cross_entropy(row[None], torch.tensor([int(place) + none]))
        torch.testing.assert_close(own.double(), expected, atol=1e-4, rtol=1e-4)


@given(COUNTS, st.booleans())
def test_the_likeliest_is_chosen_and_never_one_of_another_step(counts: list[int], none: bool) -> None:
    pointer, x, pool = made(counts, none)
    least = np.full(len(counts), -1 if none else 0)
    chosen = pointer.choose(x, pool, None, least)
    expected = [int(row.argmax()) - none for row in rows_of(pointer, x, pool)]
    assert chosen.tolist() == expected
    draw = SamplingSettings(torch.Generator().manual_seed(1), 2.0)
    drawn = pointer.choose(x, pool, draw, least)
    assert (drawn >= least).all()
    assert (drawn < counts).all()


@given(COUNTS)
def test_a_last_word_is_never_before_the_first(counts: list[int]) -> None:
    pointer, x, pool = made(counts, none=False)
    least = np.array(counts) - 1
    assert pointer.choose(x, pool, None, least).tolist() == least.tolist()


def test_nothing_adds_nothing() -> None:
    pointer, _, pool = made([2, 3], none=True)
    added = pointer.chosen(pool, np.array([-1, 2]))
    assert not added[0].any()
    assert added[1].any()


@given(COUNTS, st.integers(0, 1000))
def test_what_is_not_wanted_is_not_chosen_unless_it_is_all_there_is(counts: list[int], seed: int) -> None:
    pointer, x, pool = made(counts, none=False)
    random = np.random.default_rng(seed)
    never = [random.permutation(count)[: random.integers(count + 1)].tolist() for count in counts]
    least = np.zeros(len(counts), np.int64)
    for draw in (None, SamplingSettings(torch.Generator().manual_seed(seed), 3.0)):
        chosen = pointer.choose(x, pool, draw, least, never)
        for place, unwanted, count in zip(chosen.tolist(), never, counts, strict=True):
            assert place not in unwanted or len(unwanted) == count
