from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.agents.policy.action_parts import SKIPPED, ActionPart
from tutelage.agents.policy.action_sampling import SamplingSettings
from tutelage.agents.policy.decoder import Decoder
from tutelage.agents.policy.encoding import IOSpec
from tutelage.agents.policy.pointer import TokenPool

INTERFACES = (
    IOSpec((), (ActionPart("choice", 4, 3.0),)),
    IOSpec((), (ActionPart("bins", 41, -2.0, 2.0), ActionPart("choice", 2, 0.0))),
)


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(INTERFACES, 16)


def test_every_part_owns_its_own_rows_of_the_option_table(decoder: Decoder) -> None:
    assert decoder.offsets == [[0], [4, 45]]
    assert decoder.options.num_embeddings == 47


@settings(max_examples=40, deadline=None)
@given(
    favoured=st.integers(0, 3),
    legal=st.lists(st.booleans(), min_size=4, max_size=4).filter(any),
    greedy=st.booleans(),
    seed=st.integers(0, 99),
)
def test_not_even_an_overwhelming_favourite_is_chosen_when_illegal(
    favoured: int, legal: list[bool], greedy: bool, seed: int
) -> None:
    decoder = Decoder(INTERFACES, 16)
    with torch.no_grad():
        decoder.bias[favoured] = 1e6
    draw = None if greedy else SamplingSettings(torch.Generator().manual_seed(seed))
    mask = torch.tensor([legal])
    rows = decoder.choose(torch.randn(1, 16), INTERFACES[0], 0, draw, mask)
    assert legal[int(rows[0, 0]) - 3]
    if legal[favoured]:
        assert rows[0, 0] == favoured + 3


def test_a_mask_that_forbids_everything_says_nothing(decoder: Decoder) -> None:
    x = torch.randn(3, 16)
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    free = decoder.choose(x, INTERFACES[0], 0, None, None)
    assert np.array_equal(decoder.choose(x, INTERFACES[0], 0, None, nothing), free)


@given(st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_a_number_that_was_learned_comes_back(number: float) -> None:
    decoder = Decoder(INTERFACES, 16)
    place = (number + 2) / 4 * 40
    below = min(int(place), 39)
    with torch.no_grad():
        decoder.options.weight.zero_()
        decoder.bias[4:45] = -1e9
        decoder.bias[4 + below] = float(np.log(max(1 - (place - below), 1e-12)))
        decoder.bias[5 + below] = float(np.log(max(place - below, 1e-12)))
    rows = decoder.choose(torch.zeros(1, 16), INTERFACES[1], 1, None, None)
    assert rows[0, 0] == pytest.approx(number, abs=1e-4)


def test_sampling_follows_the_probabilities(decoder: Decoder) -> None:
    with torch.no_grad():
        decoder.options.weight.zero_()
        decoder.bias[:4] = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    for temperature in (1.0, 2.0):
        draw = SamplingSettings(torch.Generator().manual_seed(0), temperature)
        rows = decoder.choose(torch.zeros(20_000, 16), INTERFACES[0], 0, draw, None)
        shares = np.bincount(rows[:, 0].astype(int) - 3, minlength=4) / len(rows)
        expected = np.array([0.1, 0.2, 0.3, 0.4]) ** (1 / temperature)
        assert shares == pytest.approx(expected / expected.sum(), abs=0.02)


def test_the_loss_of_a_lone_choice_is_its_cross_entropy(decoder: Decoder) -> None:
    with torch.no_grad():
        decoder.options.weight.zero_()
        decoder.bias[:4] = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
        loss = decoder.loss(torch.zeros(4, 16), INTERFACES[0], 0, np.array([[3.0], [4.0], [5.0], [6.0]]))
    assert loss == pytest.approx(-torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), rel=1e-5)


PAGE = IOSpec(
    (),
    (ActionPart("choice", 2, 0.0), ActionPart("element", 0, -1.0), ActionPart("choice", 3, 0.0, verbs=(1,))),
)


@settings(max_examples=40, deadline=None)
@given(
    verb=st.integers(0, 1),
    barred=st.sets(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)), max_size=6),
    seed=st.integers(0, 99),
)
def test_what_is_not_wanted_is_not_chosen_while_there_is_anything_else(
    verb: int, barred: set[tuple[int, int, int]], seed: int
) -> None:
    torch.manual_seed(seed)
    # the first choice points, the second is told something besides
    barred = {(one, element, third if one else int(SKIPPED)) for one, element, third in barred}
    decoder = Decoder([PAGE], 16)
    with torch.no_grad():
        decoder.bias[verb] = 1e6
    pools = {"element": TokenPool(torch.randn(3, 16), np.array([3]))}
    chosen = decoder.choose(torch.randn(1, 16), PAGE, 0, None, None, pools, [barred])[0].astype(int).tolist()
    assert chosen[0] == verb
    assert (chosen[2] == SKIPPED) == (verb == 0)
    left = {0, 1, 2} - {third for one, element, third in barred if [one, element] == chosen[:2]}
    assert tuple(chosen) not in barred or not left
