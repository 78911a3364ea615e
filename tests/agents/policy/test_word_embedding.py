from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.word_embedding import BUCKETS, WordEmbedding, buckets_of, split


@given(st.text(max_size=30))
def test_any_text_is_words_and_any_word_has_rows(sentence: str) -> None:
    words = split(sentence)
    assert words
    assert all(0 <= row < BUCKETS for word in words for row in buckets_of(word))


def test_punctuation_stands_alone_and_case_is_dropped() -> None:
    assert split('Click "OK", now!') == ("click", '"', "ok", '"', ",", "now", "!")


def test_words_spelled_alike_share_rows() -> None:
    assert set(buckets_of("checkbox")) & set(buckets_of("checkboxes"))
    assert len(set(buckets_of("red")) & set(buckets_of("key"))) == 0


def test_a_sentence_means_the_same_in_any_company() -> None:
    torch.manual_seed(0)
    words = WordEmbedding(16)
    together, counts = words(["go to the red ball", "", "stop"])
    alone, _ = words(["go to the red ball"])
    assert counts.tolist() == [5, 1, 1]
    assert torch.equal(together[:5], alone)


def test_the_order_of_words_matters() -> None:
    words = WordEmbedding(16)
    one, _ = words(["put ball box"])
    other, _ = words(["put box ball"])
    assert not torch.allclose(one[1], other[2])


def test_a_very_long_text_is_read_to_its_end() -> None:
    tokens, counts = WordEmbedding(8)(["word " * 400])
    assert counts.tolist() == [400]
    assert torch.isfinite(tokens).all()
