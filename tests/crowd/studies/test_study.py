"""A study file becomes a study, or a list of everything that is to be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tutelage.crowd.studies.cost_estimate import estimate_cost, guess_minutes
from tutelage.crowd.studies.study import Study
from tutelage.crowd.studies.study_file import examine, load_study, problems, study_names
from tutelage.errors import TutelageError
from tutelage.tests.support.command_line import run
from tutelage.tests.support.toy_study import document, study_in, write

PROLIFIC = {
    "codes": {"completed": "C1C1", "declined": "D1D1"},
    "prolific": {"study": "65f0", "audience": "https://play.example.org"},
}


PAY = {"currency": "GBP", "base": 1}
QUESTION = {"ask": "Where to?", "answers": ["across", "home"], "correct": 0}


def complaints(folder: Path, **changes: Any) -> list[str]:
    return problems(write(folder, **changes))


def test_a_sound_study_is_read_whole(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, gold={"share": 0.3}, tasks={"cab": {"quota": 9}}))
    assert (study.name, study.people, study.episodes) == ("pilot", 4, 3)
    assert [task.id for task in study.tasks] == ["cab"]
    assert study.quotas["cab"].quota == 9
    assert study.gold_episodes == 1
    assert study.say(study.consent, "en") == "You agree to be recorded."
    assert (study.limits.claim_minutes, study.limits.episode_seconds) == (30, None)


def test_the_studies_that_come_along_are_sound() -> None:
    assert study_names() == ["example"]
    study, controls, wrong = examine("example")
    assert not wrong
    assert study is not None
    assert set(controls) == {"goto-red-ball-grey", "goto-local"}


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        people=0,
        episods=3,
        suite="small.yml",
        consent="",
        practice={"tasks": ["lake"], "untill": "success"},
        check={"questions": [{"ask": "?", "answers": ["a"], "correct": 3}]},
        pay=PAY | {"bonus": 2},
        languages=["en", "xx"],
    )
    assert len(found) >= 9
    text = "\n".join(found)
    for part in (
        "at 'people': input should be greater than or equal to 1, got 0",
        "unknown key 'episods'; allowed: study, suite",
        "did you mean 'episodes'?",
        "at 'suite': expected a suite file at",
        "unknown key 'practice.untill'; allowed: tasks, episodes, until; did you mean 'until'?",
        "at 'consent': expected a text, got none",
        "at 'check.questions.0.correct': expected 0 to 0, the number of an answer, got 3",
        "at 'check.questions.0.answers': expected at least two answers, got 1",
        "at 'pay.bonus': expected a rule that participants can compute",
        "at 'languages': expected languages that the pages speak (en, zh), got 'xx'",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"tasks": {"lak": {}}},
            r"at 'tasks.lak': expected a task of suite 'small' .* got 'lak'; did you mean 'lake'",
        ),
        ({"practice": {"tasks": ["cabs"]}}, r"at 'practice.tasks': .* did you mean 'cab'"),
        ({"practice": {"tasks": []}}, r"at 'practice.tasks': tuple should have at least 1 item"),
        ({"pay": PAY | {"bonus": 2}}, r"at 'pay.bonus': expected a rule that participants can .* got 2"),
        ({"pay": PAY | {"bonus": {"each": 1}}}, r"missing key 'pay.bonus.by'; add it"),
        (
            {"pay": PAY | {"bonus": {"by": "quality"}}},
            r"at 'pay.bonus.by': input should be 'solved', 'threshold' or 'score', got 'quality'",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "solved"}}},
            r"at 'pay.bonus': expected each with by: solved, got no each",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "score", "each": 0.01}}},
            r"at 'pay.bonus': expected each and at_most with by: score, got no at_most",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "threshold", "amounts": {2: 1}, "each": 1}}},
            r"at 'pay.bonus': expected amounts alone with by: threshold, got each",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "threshold", "amounts": {1: 1.5, 3: 0.5}}}},
            r"at 'pay.bonus.amounts': expected amounts that rise with the solved tasks, got 1: 1.5, 3: 0.5",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "threshold", "amounts": {9: 1}}}},
            r"at 'pay.bonus.amounts': expected numbers of solved tasks up to the 3 episodes .* got 9",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "solved", "each": 0.055}}},
            r"at 'pay': expected bonus.each in the 2 decimals of GBP, got 0.055",
        ),
        (
            {"pay": {"currency": "JPY", "base": 0.5}},
            r"at 'pay': expected base in the 0 decimals of JPY, got 0.5",
        ),
        (
            {"pay": PAY | {"bonus": {"by": "solved", "each": -1}}},
            r"at 'pay.bonus.each': expected an amount such as 1.50, from 0 to .*, got -1",
        ),
        (
            {"pay": PAY | {"base": float("nan")}},
            r"at 'pay.base': expected an amount such as 1.50, from 0 to .*, got nan",
        ),
        (
            {"pay": PAY | {"currency": "GPB"}},
            r"at 'pay.currency': expected the code of a currency as in ISO 4217, such as GBP, got 'GPB'",
        ),
        (
            {"pay": {"currency": "JPY", "base": 100}, "check": None, "recruiting": PROLIFIC},
            r"at 'pay.currency': expected a currency of two decimals, which Prolific pays in, got JPY",
        ),
        (
            {"check": {"questions": [QUESTION | {"id": "way"}, QUESTION | {"id": "way"}]}},
            r"at 'check.questions': expected another id for each question, got 'way' twice",
        ),
        ({"tasks": {"lake": {"quota": 11}}}, r"at 'tasks': expected quotas of 12 in all .* got 11"),
        ({"gold": {"share": 0.3}}, r"at 'gold': expected an expert for every task, .* got none for 'lake'"),
        ({"gold": {"share": 1.5}}, r"at 'gold.share': input should be less than or equal to 1, got 1.5"),
        ({"gold": {"share": 0.9}, "tasks": ["cab"]}, r"at 'gold.share': expected at most half"),
        (
            {"repeats": {"share": 0.1, "people": 9}},
            r"at 'repeats.people': expected at most the study's 4 people",
        ),
        ({"repeats": {"share": 0}}, r"at 'repeats.share': input should be greater than 0"),
        (
            {"people": 200_000_000},
            r"at 'people': expected people x episodes to be at most the 400,000,000 seeds",
        ),
        ({"quality": {"after": 9, "success": 0.5}}, r"at 'quality.after': expected at most the 3 episodes"),
        ({"quality": {"after": 2, "gold": 0.5}}, r"at 'quality.gold': expected a gold section"),
        ({"quality": {"after": 2}}, r"at 'quality': expected success, gold or both"),
        (
            {"limits": {"episode_seconds": 100, "claim_minutes": 1}},
            r"at 'limits.episode_seconds': expected at most 60",
        ),
        (
            {"mode": "baseline", "tasks": None, "gold": {"share": 0.3}},
            r"at 'gold': expected none in a baseline",
        ),
        (
            {"mode": "baseline", "tasks": {"lake": {"quota": 20}}},
            r"at 'tasks': expected no quotas in a baseline",
        ),
        ({"mode": "baseline", "episodes": 5}, r"at 'episodes': expected at most 4 in a baseline"),
        (
            {"mode": "baseline", "quality": {"after": 1, "success": 0.1}},
            r"at 'quality.ends': expected false in a baseline",
        ),
        ({"languages": ["en", "zh"]}, r"at 'consent': expected it in en, zh, got one sentence; add en, zh"),
        (
            {"languages": ["en", "zh"], "consent": {"en": "Yes."}},
            r"at 'consent': expected it in en, zh, got en; add zh",
        ),
        (
            {"consent": {"en": "Yes.", "fr": "Oui."}},
            r"at 'consent.fr': expected a language of the study \(en\)",
        ),
        ({"consent": 3}, r"at 'consent': expected a sentence, or a sentence for each language, got 3"),
        ({"consent": None}, r"missing key 'consent'; add it"),
        ({"instructions": None}, r"at 'instructions': expected a text, got none; write what is to be done"),
        ({"check": {"questions": []}}, r"at 'check.questions': expected at least one question"),
        (
            {"check": {"questions": [{"ask": "", "answers": ["a", "b"], "correct": 0}]}},
            r"at 'check.questions.0.ask'",
        ),
        ({"words": {"zh": {}}}, r"at 'words.zh': expected a language of the study"),
        ({"languages": ["en", "en"]}, r"at 'languages': expected each once"),
        (
            {"recruiting": {"codes": {"compleated": "ABCD"}}},
            r"at 'recruiting.codes': .* did you mean 'completed'",
        ),
        (
            {"recruiting": PROLIFIC},
            r"at 'recruiting.codes': expected a code of Prolific's .* none for failed-check",
        ),
        ({"study": "a/b"}, r"at 'study': string should match"),
        ({"mode": "recrod"}, r"at 'mode': input should be 'record' or 'baseline', got 'recrod'"),
    ],
)
def test_each_mistake_has_its_place_and_its_remedy(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    import re

    found = complaints(tmp_path, **changes)
    assert [one for one in found if re.search(complaint, one)], found
    assert all("\n" not in one for one in found)


@pytest.mark.parametrize("text", ["[", "- a\n- b", "3", "", "a: b: c", "study: {en: Ready?, zh: x}"])
def test_what_is_no_study_is_said_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert len(problems(path)) == 1
    with pytest.raises(TutelageError):
        load_study(path)


def test_a_name_that_is_no_study_has_a_nearest(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="did you mean 'example'"):
        load_study("exampel")
    with pytest.raises(TutelageError, match="check the path"):
        load_study(tmp_path / "none.yaml")


def test_several_mistakes_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"pilot.yaml: 2 things to mend:\n  at"):
        load_study(write(tmp_path, people=0, episodes=0))


def test_tasks_are_tried_before_anybody_comes(tmp_path: Path) -> None:
    path = write(tmp_path, tasks=None, languages=["zh"], practice=None)
    suite = yaml.safe_load((tmp_path / "small.yaml").read_text("utf-8"))
    suite["tasks"][0]["controls"] = {"ArrowLeft": {"action": 0, "label": "hop"}}
    suite["tasks"][2]["pace"] = {"fps": 30, "idle": 9}
    suite["tasks"].append({"id": "gone", "env": "NoSuch-v0"})
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(suite, sort_keys=False), "utf-8")
    _, controls, wrong = examine(path)
    assert set(controls) == {"lake", "cab"}
    text = "\n".join(wrong)
    assert "at 'tasks.pole': expected the idle action to be an action" in text
    assert "at 'tasks.gone'" in text
    assert "at 'words.zh': expected 'hop' of task lake in this language; add it" in text


def test_the_version_of_a_consent_is_the_hash_of_the_very_text(tmp_path: Path) -> None:
    both = {"en": "I agree.", "zh": "我同意。"}
    options = {"languages": ["en", "zh"], "consent": both, "instructions": both, "check": None}
    one = study_in(tmp_path, **options)
    assert one.consent_version("en") != one.consent_version("zh")
    assert len(one.consent_version("en")) == 32
    paid = study_in(tmp_path, **options, pay={"currency": "EUR", "base": 1, "text": both})
    assert paid.consent_version("en") != one.consent_version("en")
    assert study_in(tmp_path, **options, people=9).consent_version("en") == one.consent_version("en")


def test_a_study_does_not_change(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        study.people = 9  # type: ignore[misc]


def test_the_outlook_tells_people_time_and_pay(tmp_path: Path) -> None:
    pay = {"currency": "GBP", "base": 3.0, "bonus": {"by": "solved", "each": 0.5}, "text": "Three pounds."}
    study = study_in(tmp_path, tasks=["cab"], gold={"share": 0.3}, pay=pay)
    told = estimate_cost(study)
    assert told["people"] == "4, 3 episodes each: 12 in all"
    assert told["pay"].startswith("12.00 GBP, with every bonus 18.00 GBP; ")
    assert "a bonus: 0.50 GBP for each task that you solve, at most 1.50 GBP in all" in told["bonus"]
    assert told["gold"] == "1 of each person's episodes"
    assert 3 < guess_minutes(study) < 10


@pytest.mark.slow
def test_check_says_everything_and_ends_with_status_2(tmp_path: Path) -> None:
    good = run("serve", "--check", "example")
    assert (good.returncode, good.stderr) == (0, "")
    assert "20, 12 episodes each: 240 in all" in good.stdout
    path = write(tmp_path, people=0, practice={"tasks": ["moon"]})
    bad = run("serve", "--check", path)
    assert bad.returncode == 2
    lines = bad.stderr.splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("found 2 things to mend")
    assert "Traceback" not in bad.stderr


def test_every_section_of_the_document_is_a_field(tmp_path: Path) -> None:
    names = {field.alias or name for name, field in Study.model_fields.items()}
    assert set(document()) <= names
