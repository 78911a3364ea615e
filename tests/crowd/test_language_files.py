"""Languages that a study brings along: whatever stands in their files, they are texts or one line says so."""

from __future__ import annotations

import copy
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from tutelage.crowd.translations import load_texts
from tutelage.errors import TutelageError

CHINESE = yaml.safe_load(
    resources.files("tutelage.crowd").joinpath("languages", "zh.yaml").read_text("utf-8")
)


def load(folder: Path, code: str = "xx", **changes: Any) -> Any:
    """Load a language whose file is the Chinese one but for some keys."""
    (folder / "languages").mkdir(exist_ok=True)
    document = copy.deepcopy(CHINESE) | changes
    (folder / "languages" / f"{code}.yaml").write_text(yaml.safe_dump(document, allow_unicode=True))
    return load_texts(code, folder)


def test_the_languages_that_come_along_are_read_as_they_were(tmp_path: Path) -> None:
    texts = load(tmp_path)
    assert texts.phrase("go to the red ball on your left") == "走到在您左边的红色球旁边"
    assert texts.page == load_texts("zh").page
    assert load_texts("en").knows("go to the red ball")


@pytest.mark.parametrize(
    "changes",
    [
        *({"sentences": value} for value in ({"go (.*)": "x"}, "x", 5, ["x"], [["a"]], [["a", 5]])),
        {"sentences": [["a", "b"]] * 201},
        *({"words": value} for value in (["x"], "x", {"a": 5}, {5: "a"}, {"a": ["b"]})),
        *({"page": value} for value in (None, [], "x")),
        {"language": ["x"]},
    ],
)
def test_other_types_are_named_in_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(TutelageError, match=r"xx\.yaml: expected") as caught:
        load(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, [], {}, {"one": 5}, {5: "x"}, ["{why}"]])
def test_a_text_is_a_text_or_its_plural_forms(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TutelageError, match="expected a text at 'brand'"):
        load(tmp_path, page={**CHINESE["page"], "brand": value})


@pytest.mark.parametrize(
    "template",
    ["{why:>9999999999}", "{why.__class__}", "{why[0]}", "{why!r}", "{why", "why}", "{}", "{{why}}"],
)
def test_a_template_names_what_is_filled_in_and_no_more(tmp_path: Path, template: str) -> None:
    with pytest.raises(TutelageError, match="expected names alone in braces"):
        load(tmp_path, page={**CHINESE["page"], "saving.failing": template})
    with pytest.raises(TutelageError, match="expected names alone in braces"):
        load(tmp_path, sentences=[["go (.+)", template.replace("why", "1")]])


@pytest.mark.parametrize(
    "pattern",
    [
        *("((a+)+)b", "(a|a)*b", "(?:a|a){30}", r"(.)\1", "(?=a)b", "(?P<x>a)", "(?i)a", "((((((a))))))"),
        *("a*a*a*a*b", "a?" * 30, "(?:a|a)" * 30, "(", "a)", "[", "*", "x" * 301, r"\d+", "a{1,9}"),
    ],
)
def test_a_pattern_that_may_take_long_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(TutelageError, match="expected a pattern of words"):
        load(tmp_path, sentences=[[pattern, "x"]])


def test_a_sentence_has_no_groups_but_its_patterns(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected groups of"):
        load(tmp_path, sentences=[["go (.+)", "{2}"]])


def test_patterns_that_lead_to_one_another_without_end_are_given_up(tmp_path: Path) -> None:
    texts = load(tmp_path, words={}, sentences=[["(.+)", "{1}"]] * 100)
    began = time.process_time()
    assert texts.phrase("go somewhere") == "go somewhere"
    assert texts.phrase("x" * 100_000) == "x" * 100_000
    assert time.process_time() - began < 5


def test_an_english_of_the_studys_own_has_every_text(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected every text of the pages"):
        load(tmp_path, "en", page={"brand": "x"})
