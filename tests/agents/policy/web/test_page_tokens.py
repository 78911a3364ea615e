"""Words in disguise: while training, some words read as others do, wherever they stand."""

from __future__ import annotations

import torch
from tutelage.agents.policy.web.page_features import NAMES, extract_features
from tutelage.agents.policy.web.page_tokens import DISGUISED, PageEmbedding
from tutelage.agents.policy.word_embedding import BUCKETS
from tutelage.tests.support.toy_page import page

SAID = "find zorblax now"
PAGE = page(("BUTTON", "Zorblax", None), ("BUTTON", "now", None), ("INPUT_text", "", "zorblax"))


def tokens(training: bool) -> PageEmbedding:
    torch.manual_seed(1)
    return PageEmbedding(16).train(training)


def test_a_word_in_disguise_still_meets_itself() -> None:
    rows = extract_features(SAID, PAGE)
    assert rows.instruction.names is not None
    assert rows.text.names is not None
    assert rows.value.names is not None
    hidden_names = set(
        rows.instruction.names[rows.instruction.begins[1] : rows.instruction.begins[2]].tolist()
    )
    assert set(rows.text.names[rows.text.begins[1] : rows.text.begins[2]].tolist()) == hidden_names
    assert set(rows.value.names[rows.value.begins[3] :].tolist()) == hidden_names
    assert len(hidden_names) == 1
    assert set(rows.instruction.names[: rows.instruction.begins[1]].tolist()) != hidden_names


def test_only_a_policy_in_training_meets_words_in_disguise() -> None:
    acting, taught = tokens(False), tokens(True)
    first, again = (acting([SAID], [PAGE])[0] for _ in range(2))
    assert torch.equal(first, again)
    seen = {tuple(taught([SAID], [PAGE])[0][1].tolist()) for _ in range(60)}
    assert tuple(first[1].tolist()) in seen
    assert 2 <= len(seen) <= 40  # about one in seven is disguised, each time as another word


def test_as_many_words_are_disguised_as_is_said() -> None:
    from tutelage.agents.policy.web.page_tokens import _draw_row_shifts

    torch.manual_seed(2)
    shift = _draw_row_shifts()
    assert shift.shape == (NAMES,)
    assert abs((shift != 0).mean() - DISGUISED) < 0.03
    assert (shift < BUCKETS).all()
