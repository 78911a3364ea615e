"""A success rule is one expression over how an episode ended, and never Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.success import SuccessRule
from tutelage.errors import TutelageError

ENDED: dict[str, Any] = {"reward": 1.0, "total": 480.0, "terminated": True, "truncated": False, "steps": 40}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("reward > 0", True),
        ("reward >= 1.5", False),
        ("return >= 475", True),
        ("return < 475", False),
        ("steps == 40", True),
        ("steps != 40", False),
        ("steps <= 40", True),
        ("terminated", True),
        ("truncated", False),
        ("not truncated", True),
        ("reward > -1", True),
        ("-reward < 0", True),
        ("terminated and steps < 100", True),
        ("terminated and steps < 10", False),
        ("truncated or return > 400", True),
        ("truncated or return > 500", False),
        ("0 < steps < 41", True),
        ("0 < steps < 40", False),
        ("not (terminated and truncated)", True),
        ("reward > 0 and (truncated or not truncated)", True),
    ],
)
def test_a_rule_reads_the_end_of_an_episode(text: str, verdict: bool) -> None:
    assert SuccessRule(text)(**ENDED) is verdict


def test_the_rule_without_a_text_is_a_positive_last_reward() -> None:
    assert SuccessRule()(**ENDED) is True
    assert SuccessRule()(**{**ENDED, "reward": 0.0}) is False


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it does not parse"),
        ("reward > 0\0", "it does not parse"),
        ("reward >", "it does not parse"),
        ("reward = 1", "it does not parse"),
        ("rewrad > 0", "unknown name 'rewrad'; did you mean 'reward'?"),
        ("score > 0", "unknown name 'score'"),
        ("reward > 'a'", "'a' is not a number"),
        ("reward > None", "None is not a number"),
        ("reward + 1 > 0", "BinOp is not allowed"),
        ("reward in (1, 2)", "is not allowed"),
        ("reward is 1", "Is is not allowed"),
        ("abs(reward) > 0", "Call is not allowed"),
        ("reward.real > 0", "Attribute is not allowed"),
        ("[reward][0]", "not allowed"),
        ("lambda: 1", "Lambda is not allowed"),
        ("~steps > 0", "Invert is not allowed"),
        ("1 if terminated else 0", "IfExp is not allowed"),
        ("reward if", "it does not parse"),
        ("'\ud800'", "it does not parse"),
        ("not " * 5000 + "reward", "it nests too deeply"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_reason(text: str, complaint: str) -> None:
    with pytest.raises(TutelageError) as caught:
        SuccessRule(text)
    assert str(caught.value).startswith("expected a success rule like 'reward > 0' or 'return >= 475' over")
    assert repr(text) in str(caught.value)
    assert complaint in str(caught.value)


def test_nothing_is_ever_evaluated_as_python(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for text in (
        f"open({str(made)!r}, 'w')",
        f"__import__('pathlib').Path({str(made)!r}).touch()",
        f"(lambda: open({str(made)!r}, 'w'))()",
        "reward.__class__.__mro__",
        "(reward := 1) > 0",
        "f'{reward}'",
    ):
        with pytest.raises(TutelageError):
            SuccessRule(text)
    assert not made.exists()


@given(text=st.text(max_size=30))
def test_any_text_is_a_rule_or_a_clear_error(text: str) -> None:
    try:
        rule = SuccessRule(text)
    except TutelageError:
        return
    assert isinstance(rule(**ENDED), bool)


@given(
    reward=st.floats(-10, 10),
    total=st.floats(-1000, 1000),
    terminated=st.booleans(),
    steps=st.integers(1, 1000),
)
def test_a_rule_agrees_with_python(reward: float, total: float, terminated: bool, steps: int) -> None:
    rule = SuccessRule("terminated and reward > 0 or return >= 475 and not steps < 100")
    expected = (terminated and reward > 0) or (total >= 475 and not steps < 100)
    got = rule(reward=reward, total=total, terminated=terminated, truncated=not terminated, steps=steps)
    assert got is expected
