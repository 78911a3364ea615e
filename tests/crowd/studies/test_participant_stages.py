"""A person's way through a study, without a browser: every stage, every return, every end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tutelage.crowd.seats.session import Phase
from tutelage.crowd.storage.study_tables import claims, conduct, consents, events
from tutelage.datasets.store import Store
from tutelage.envs.task import TEST
from tutelage.tests.support.toy_study import ACROSS, INTO_A_HOLE, journalled, rows, run, serving, walk_in


@pytest.mark.slow
def test_the_whole_way_from_consent_to_thanks(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, languages=["en"]) as server:
            ann = await walk_in(server)
            assert ann.way["text"].startswith("You agree to be recorded.\n\nWith what you do, ")
            assert ann.way["stages"] == ["consent", "instructions", "practice", "check", "play"]
            await ann.send("consent", given=True)
            assert ann.stage == "instructions"
            assert ann.way["tasks"][0]["keys"][0]["codes"] == ["ArrowLeft"]
            await ann.send("ready")
            assert (ann.stage, ann.participant.session.phase) == ("practice", Phase.PLAYING)
            await ann.play()
            assert ann.way["outcome"]["success"]
            assert ann.way["enough"]
            await ann.send("next")
            assert ann.stage == "check"
            await ann.send("answers", chosen=[0])
            for number in (1, 2, 3):
                assert (ann.stage, ann.way["number"], ann.way["of"]) == ("play", number, 3)
                await ann.play()
                outcome = ann.way["outcome"]
                assert (outcome["success"], outcome["steps"], outcome["reason"]) == (True, 6, "")
                assert outcome["better"] is None
                await ann.send("next")
            assert (ann.stage, ann.way["outcome"]) == ("done", "completed")
            assert len(ann.way["code"]) == 10
            assert {row["role"] for row in rows(server, conduct)} == {"demonstration"}
            assert [row["state"] for row in rows(server, claims)] == ["done"] * 3
            [agreed] = rows(server, consents)
            assert agreed["consent"] == server.study.consent_version("en")
        stored = list(Store.open(tmp_path / "out").trajectories())
        assert [trajectory.seed for trajectory in stored] == [0, 1, 2]
        assert {(trajectory.study, trajectory.consent) for trajectory in stored} == {
            ("pilot", agreed["consent"])
        }
        assert (
            tmp_path / "out" / "consents" / f"{agreed['consent']}.txt"
        ).read_text() == ann.server.study.consent_text("en")

    run(story())


@pytest.mark.slow
def test_a_restart_leads_back_to_the_same_step_at_every_stage(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert ann.stage == "consent"
            await ann.send("consent", given=True)
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert ann.stage == "instructions"
            await ann.send("ready")
            await ann.play(ACROSS[:2])
            episode = ann.participant.session.episode
            assert episode is not None
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            again = ann.participant.session.episode
            assert again is not None
            assert (ann.stage, again.record.episode, len(again.steps)) == (
                "practice",
                episode.record.episode,
                2,
            )
            await ann.play(ACROSS[2:])
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert ann.way["outcome"]["success"]
            await ann.send("next")
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert ann.stage == "check"
            await ann.send("answers", chosen=[1])
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert (ann.way["wrong"], ann.way["left"]) == (1, 1)
            await ann.send("answers", chosen=[0])
            await ann.play(ACROSS[:4])
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            again = ann.participant.session.episode
            assert again is not None
            assert (ann.stage, len(again.steps), again.record.seed) == ("play", 4, 0)
            await ann.play(ACROSS[4:])
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            assert (ann.way["number"], ann.way["outcome"]["steps"]) == (1, 6)
            assert len(rows(server, conduct)) == 1

    run(story())


def test_a_server_that_dies_between_an_end_and_its_record_loses_neither(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            session = ann.participant.session
            for action in ACROSS:  # the last step is journalled, and then the server is gone
                await session.act(np.array([float(action)]))
                session._journal.flush()
            assert session.phase is Phase.FINISHED
            server.journal.flush()
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            [row] = rows(server, conduct)
            assert (row["success"], row["steps"]) == (True, 6)
            assert ann.participant.episodes_done == 1
            assert ann.way["number"] == 2
            assert sorted(row["state"] for row in rows(server, claims)) == ["done", "held"]
        [kept] = Store.open(tmp_path / "out").trajectories()
        assert kept.seed == 0

    run(story())


def test_who_declines_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, recruiting={"codes": {"declined": "NOCONSENT"}}) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=False)
            assert (ann.stage, ann.way["outcome"], ann.way["code"]) == ("done", "declined", "NOCONSENT")
            assert [row["decision"] for row in rows(server, consents)] == ["declined"]
            assert journalled(server) == []
            await ann.send("consent", given=True)  # too late, and passed over
            assert ann.stage == "done"

    run(story())


def test_questions_have_so_many_attempts(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=True)
            await ann.send("ready")
            await ann.play()
            await ann.send("next")
            await ann.send("answers", chosen=[1, 0])  # not as many as there are questions
            assert ann.way["left"] == 2
            await ann.send("answers", chosen=[1])
            assert ann.way["left"] == 1
            await ann.send("answers", chosen=[1])
            assert ann.way["outcome"] == "failed-check"

    run(story())


def test_practice_goes_on_until_it_is_solved_each_time_on_another_seed(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as server:
            ann = await walk_in(server)
            await ann.send("consent", given=True)
            await ann.send("ready")
            await ann.play(INTO_A_HOLE)
            assert not ann.way["outcome"]["success"]
            assert not ann.way["enough"]
            await ann.send("next")
            assert ann.stage == "practice"
            await ann.play()
            await ann.send("next")
            assert ann.stage == "check"
            seeds = {episode.seed for episode in server.journal.episodes(role="practice")}
            assert len(seeds) == 2
            assert all(400_000_000 <= seed < 500_000_000 for seed in seeds)
            assert rows(server, conduct) == []

    run(story())


@pytest.mark.slow
def test_a_second_next_does_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.send("next")
            assert ann.way["number"] == 1
            await ann.play()
            await ann.send("next")
            await ann.send("next")
            assert (ann.way["number"], ann.participant.session.phase) == (2, Phase.PLAYING)

    run(story())


def test_giving_up_is_a_failure_and_counts(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play(ACROSS[:3])
            await ann.send("discard")
            assert ann.way["outcome"]["reason"] == "given-up"
            [row] = rows(server, conduct)
            assert (row["success"], row["steps"]) == (False, 3)
        [kept] = Store.open(tmp_path / "out").trajectories()
        assert (kept.success, kept.notes) == (False, "given up")

    run(story())


@pytest.mark.slow
def test_rests_come_after_so_many_episodes(tmp_path: Path) -> None:
    async def story() -> None:
        breaks = {"every": 2, "text": "Stretch."}
        async with serving(tmp_path, practice=None, check=None, breaks=breaks) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            for _ in range(2):
                await ann.play()
                await ann.send("next")
            assert (ann.stage, ann.way["text"], ann.way["number"]) == ("rest", "Stretch.", 2)
            await ann.send("next")
            assert (ann.stage, ann.way["number"]) == ("play", 3)

    run(story())


@pytest.mark.slow
def test_a_baseline_is_on_test_seeds_and_tells_nobody_how_they_did(tmp_path: Path) -> None:
    async def story() -> None:
        options = {"mode": "baseline", "practice": None, "check": None, "episodes": 4, "tasks": None}
        async with serving(tmp_path, **options, quality=None) as server:
            walkers = [await walk_in(server, name) for name in ("person-ann", "person-bob")]
            for walker in walkers:
                await walker.to_the_tasks()
                assert server.study.seeds is TEST
                await walker.play()
                assert walker.way["outcome"] == {"reason": "", "instruction": "lake"}
                state = walker.participant.tell()[0]
                assert state.get("outcome") is None
                await walker.send("next")
                await walker.send("discard")
                assert walker.way["outcome"]["reason"] == "given-up"
                await walker.send("next")
            claimed = {(row["person"], row["task"], row["seed"]) for row in rows(server, claims)}
            tasks = [("lake", TEST.start), ("cab", TEST.start), ("pole", TEST.start)]
            assert claimed == {(person, *task) for person in ("person-ann", "person-bob") for task in tasks}

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_who_withdraws_decides_about_what_they_did(tmp_path: Path, keep: bool) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play()
            await ann.send("next")
            await ann.play(ACROSS[:2])
            await ann.send("withdraw", keep=keep)
            assert (ann.way["outcome"], ann.way["keeps"]) == ("withdrew", keep)
            assert ann.way["number"] == len(rows(server, conduct)) == (1 if keep else 0)
            assert [row["decision"] for row in rows(server, consents)] == ["given", "withdrawn"]
            assert all(row["until"] == 0 or row["state"] == "done" for row in rows(server, claims))
            assert {row["state"] for row in rows(server, claims)} == ({"done", "held"} if keep else {"held"})
        assert len(Store.open(tmp_path / "out")) == (1 if keep else 0)
        async with serving(tmp_path, practice=None, check=None) as server:
            assert [row["what"] for row in rows(server, events)] == ([] if keep else ["removed"])
            bob = await walk_in(server, "person-bob")
            await bob.to_the_tasks()
            [held] = [row for row in rows(server, claims) if row["person"] == "person-bob"]
            assert held["seed"] == (1 if keep else 0)  # the seed that was left is handed out again

    run(story())


def test_a_person_reads_in_their_language_and_the_version_is_of_what_they_read(tmp_path: Path) -> None:
    async def story() -> None:
        options = {
            "languages": ["en", "zh"],
            "consent": {"en": "You agree.", "zh": "您同意。"},
            "instructions": {"en": "Cross.", "zh": "过去。"},
            "check": None,
            "words": {"zh": {"LEFT": "左", "DOWN": "下", "RIGHT": "右", "UP": "上", "lake": "湖"}},
        }
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            assert ann.way["text"].startswith("You agree.\n\n")
            await ann.send("language", code="zh")
            assert (ann.way["text"].split("\n")[0], ann.participant.texts.code) == ("您同意。", "zh")
            await ann.send("language", code="fr")  # not one of the study's
            assert ann.participant.texts.code == "zh"
            await ann.send("consent", given=True)
            [row] = rows(server, consents)
            assert row["consent"] == server.study.consent_version("zh") != server.study.consent_version("en")
        async with serving(tmp_path, **options) as server:
            assert (await walk_in(server)).way["text"] == "过去。"

    run(story())


def test_an_environment_that_fails_costs_nobody_their_way(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None, episodes=2) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            session = ann.participant.session
            async with ann.participant.changing():  # as a seat does when its environment has raised
                episode = session.episode
                assert episode is not None
                await session.leave("abandoned")
                await ann.participant.finished()
            assert ann.way["outcome"]["reason"] == "broken"
            assert rows(server, conduct) == []
            await ann.send("next")
            again = session.episode
            assert again is not None
            assert again.record.seed == episode.record.seed + 1  # the broken one is nobody's any more
            assert ann.way["number"] == 1
            assert [row["what"] for row in rows(server, events)] == ["broken"]
            bob = await walk_in(server, "person-bob")
            await bob.to_the_tasks()
            assert bob.participant.claim is not None
            assert bob.participant.claim.seed == 2

    run(story())
