"""What a study tells of pay beforehand, shows as it grows, and keeps of each participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tutelage.cli.main import app
from tutelage.crowd.recruiting.pay_notes import pay_notes
from tutelage.crowd.recruiting.payment_table import entries
from tutelage.crowd.storage.study_records import answers, devices, payments, points
from tutelage.crowd.storage.study_tables import conduct, people
from tutelage.crowd.translations import language_names, load_texts
from tutelage.tests.support.toy_study import (
    ACROSS,
    INTO_A_HOLE,
    Walker,
    journalled,
    rows,
    run,
    serving,
    study_in,
    walk_in,
    write,
)
from typer.testing import CliRunner

PAY = {"currency": "GBP", "base": 1, "bonus": {"by": "solved", "each": 0.25}}
QUESTION = {"ask": "Where to?", "answers": ["across", "home"], "correct": 0}
DEVICE = {"device": "phone", "browser": "Firefox", "width": 400, "height": 800, "language": "de"}


async def finish(person: Walker, *ways: tuple[int, ...]) -> None:
    for actions in ways:
        await person.play(actions)
        await person.send("next")


@pytest.mark.slow
def test_pay_is_shown_with_the_consent_as_it_grows_and_at_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, pay=PAY, practice=None, check=None) as server:
            ann = await walk_in(server)
            assert ann.way["pay"].split("\n\n")[:2] == [
                "You are paid 1.00 GBP once you have completed the study.",
                "You earn a bonus: 0.25 GBP for each task that you solve, at most 0.75 GBP in all.",
            ]
            await ann.to_the_tasks()
            assert ann.way["bonus"] == {"bonus": "0.00 GBP", "most": "0.75 GBP"}
            await ann.play(ACROSS)
            assert ann.way["bonus"]["bonus"] == "0.25 GBP"
            await ann.send("next")
            await ann.play(INTO_A_HOLE)
            assert ann.way["bonus"]["bonus"] == "0.25 GBP"
            await ann.send("next")
            await finish(ann, ACROSS)
            assert ann.stage == "done"
            assert ann.way["pay"] == {"base": "1.00 GBP", "bonus": "0.50 GBP", "total": "1.50 GBP"}
            owed = entries(server.database, "pilot", "person-ann")
            assert [(row["kind"], row["state"], row["amount"], row["reason"]) for row in owed] == [
                ("base", "owed", "1.00", "completed"),
                ("bonus", "owed", "0.50", "2 of 3 tasks solved"),
            ]

    run(story())


@pytest.mark.slow
def test_two_of_two_solved_are_paid_the_whole_bonus_whoever_came_before(tmp_path: Path) -> None:
    pay = {"currency": "GBP", "base": 0, "bonus": {"by": "solved", "each": 0.5}}

    async def story() -> None:
        async with serving(tmp_path, pay=pay, practice=None, check=None, episodes=2) as server:
            for name, way in (("bob", INTO_A_HOLE), ("ann", ACROSS), ("eve", INTO_A_HOLE)):
                person = await walk_in(server, f"person-{name}")
                await person.to_the_tasks()
                await finish(person, way, way)
            owed = entries(server.database, "pilot")
            assert [(row["person"], row["kind"], row["amount"]) for row in owed] == [
                ("person-ann", "bonus", "1.00")
            ]

    run(story())


@pytest.mark.slow
def test_points_are_shown_where_they_are_paid(tmp_path: Path) -> None:
    pay = {"currency": "EUR", "base": 0, "bonus": {"by": "score", "each": 0.1, "at_most": 1}}

    async def story() -> None:
        async with serving(tmp_path, pay=pay, practice=None, check=None, episodes=1) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play(ACROSS)
            assert ann.way["outcome"]["points"] == "1.00"
            assert ann.way["bonus"] == {"bonus": "0.10 EUR", "most": "1.00 EUR"}
            await ann.send("next")
            assert [row["points"] for row in rows(server, points)] == [100]

    run(story())


def test_a_baseline_tells_of_the_bonus_at_the_end_only(tmp_path: Path) -> None:
    options = {"mode": "baseline", "pay": PAY, "practice": None, "check": None, "episodes": 1}

    async def story() -> None:
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            assert ann.way["bonus"] is None
            await ann.play(ACROSS)
            assert ann.way["bonus"] is None
            await ann.send("next")
            assert ann.way["pay"]["bonus"] == "0.25 GBP"

    run(story())


def test_who_does_not_complete_is_owed_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, pay=PAY, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play(ACROSS)
            await ann.send("withdraw", keep=True)
            assert ann.way["pay"] is None
            assert rows(server, payments) == []

    run(story())


@pytest.mark.parametrize("language", sorted(language_names()))
@pytest.mark.parametrize(
    "bonus",
    [
        {"by": "solved", "each": 0.25},
        {"by": "threshold", "amounts": {2: 0.5, 3: 0.75}},
        {"by": "score", "each": 0.01, "at_most": 0.75},
    ],
    ids=["solved", "threshold", "score"],
)
def test_the_consent_has_base_and_rule_in_every_language(
    tmp_path: Path, language: str, bonus: dict[str, Any]
) -> None:
    study = study_in(tmp_path, languages=[language], pay={**PAY, "bonus": bonus})
    text = study.consent_text(language)
    assert study.pay_text(language) in text
    assert load_texts(language).say("pay.own") in text
    for amount in ("1.00 GBP", "0.75 GBP"):
        assert amount in text
    other = study_in(tmp_path, languages=[language], pay={**PAY, "base": 2, "bonus": bonus})
    assert other.consent_version(language) != study.consent_version(language)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("You get £3.00.", "3.00 GBP, and the settings pay 1.00 GBP and a bonus of at most 0.75 GBP"),
        ("You get 2,50 GBP.", "2.50 GBP, and"),
        ("You get $1.", "1 USD, and"),
        ("You get 99p.", "0.99 GBP, and"),
        ("1,000 pounds!", "1000 GBP, and"),
        ("You get £1 and up to 75 pence, so £1.75; £0.25 a task.", ""),
        ("It takes 10 minutes.", ""),
    ],
)
def test_sums_in_the_texts_are_compared_with_the_settings(tmp_path: Path, text: str, note: str) -> None:
    notes = pay_notes(study_in(tmp_path, consent=text, pay=PAY))
    assert len(notes) == bool(note)
    assert not note or notes[0].startswith(f"at 'consent': the text says {note}")


def test_check_prints_base_rule_and_the_sums_that_differ(tmp_path: Path) -> None:
    path = write(tmp_path, consent="You get £3.", pay=PAY)
    done = CliRunner().invoke(app, ["serve", str(path), "--check"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "4.00 GBP, with every bonus 7.00 GBP" in done.output
    assert "You earn a bonus: 0.25 GBP for each task that you solve, at most 0.75 GBP in all." in done.output
    assert "note: at 'consent': the text says 3 GBP, and the settings pay 1.00 GBP" in done.output


def test_a_sum_without_any_pay_in_the_settings_is_noted(tmp_path: Path) -> None:
    notes = pay_notes(study_in(tmp_path, consent="You get 3 EUR."))
    assert notes == ["at 'consent': the text says 3 EUR, and the settings have no pay; change one of them"]


def test_every_answer_to_the_questions_is_kept_with_its_attempt(tmp_path: Path) -> None:
    check = {"attempts": 2, "questions": [QUESTION | {"id": "way"}, QUESTION]}

    async def story() -> None:
        async with serving(tmp_path, practice=None, check=check) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=True)
            await ann.send("ready")
            await ann.send("answers", chosen=[0, 1])
            await ann.send("answers", chosen=[0, 0])
            assert ann.stage == "play"
            kept = [
                (row["question"], row["attempt"], row["answer"], row["correct"])
                for row in rows(server, answers)
            ]
            assert kept == [
                ("way", 1, 0, True),
                ("question-2", 1, 1, False),
                ("way", 2, 0, True),
                ("question-2", 2, 0, True),
            ]
            bob = await walk_in(server, "person-bob")
            await bob.send("consent", given=True)
            await bob.send("ready")
            for _ in range(2):
                await bob.send("answers", chosen=[1, 1])
            assert bob.way["outcome"] == "failed-check"
            assert [row["attempt"] for row in rows(server, answers) if row["person"] == "person-bob"] == [
                1,
                1,
                2,
                2,
            ]

    run(story())


def test_the_device_is_kept_coarsely_and_only_after_consent(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert "the kind of device, the browser" in ann.way["text"]
            await ann.send("device", **DEVICE)
            assert rows(server, devices) == []
            await ann.send("consent", given=True)
            for _ in range(2):  # as after a reload
                await ann.send("device", **DEVICE)
            await ann.send("device", **DEVICE | {"device": "desktop", "width": 1200})
            kept = [
                (row["device"], row["browser"], row["width"], row["language"])
                for row in rows(server, devices)
            ]
            assert kept == [("phone", "Firefox", 400, "de"), ("desktop", "Firefox", 1200, "de")]

    run(story())


@pytest.mark.slow
def test_who_wants_what_they_did_removed_leaves_no_answer_points_or_device(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.send("device", **DEVICE)
            await ann.play(ACROSS)
            assert all(rows(server, table) for table in (answers, devices, points))
            await ann.send("withdraw", keep=False)
            assert not any(rows(server, table) for table in (answers, devices, points, conduct))

    run(story())


def test_every_task_of_the_study_is_practiced_before_anything_counts(tmp_path: Path) -> None:
    options = {"tasks": None, "practice": {"until": "finished"}, "check": None}

    async def story() -> None:
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=True)
            await ann.send("ready")
            for number, task in enumerate(("lake", "cab", "pole"), 1):
                assert ann.participant.session.episode is not None
                assert ann.participant.session.episode.record.task == task
                assert (ann.stage, ann.way["number"], ann.way["of"]) == ("practice", number, 3)
                assert ann.way["task"]
                await ann.send("discard")
                assert (ann.way["number"], ann.way["passed"], ann.way["enough"]) == (
                    number,
                    True,
                    number == 3,
                )
                await ann.send("next")
            assert ann.stage == "play"
            practiced = [task for role, task, _ in journalled(server) if role == "practice"]
            assert practiced == ["lake", "cab", "pole"]

    run(story())


def test_a_restart_goes_on_with_the_practice_that_is_left(tmp_path: Path) -> None:
    options = {"tasks": None, "practice": {"tasks": ["pole", "lake"], "until": "success"}, "check": None}

    async def story() -> None:
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=True)
            await ann.send("ready")
            await ann.play(INTO_A_HOLE)
            assert (ann.way["passed"], ann.way["number"]) == (False, 1)
            await ann.send("next")
            await ann.play(ACROSS)
            await ann.send("next")
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            assert ann.participant.session.episode is not None
            assert (ann.participant.session.episode.record.task, ann.way["number"]) == ("pole", 2)

    run(story())


@pytest.mark.parametrize("language", sorted(language_names()))
def test_the_page_after_declining_says_what_is_kept(tmp_path: Path, language: str) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            await ann.send("device", **DEVICE)
            await ann.send("consent", given=False)
            assert ann.way["outcome"] == "declined"
            assert [row["person"] for row in rows(server, people)] == ["person-ann"]
            assert not any(rows(server, table) for table in (answers, devices, points, payments, conduct))

    run(story())
    text = load_texts(language).say("done.declined-text")
    for kept in {
        "en": ("pseudonym", "language", "when you", "browser", "link"),
        "zh": ("代号", "语言", "时间", "浏览器", "链接"),
    }[language]:
        assert kept in text
