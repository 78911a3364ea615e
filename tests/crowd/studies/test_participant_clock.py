"""What time and whoever runs a study do to a person's way: limits, idleness, pauses, bans, lost claims."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from tutelage.crowd.seats.outbox import Outbox
from tutelage.crowd.seats.session import Phase
from tutelage.crowd.storage.study_tables import conduct, consents
from tutelage.crowd.studies import study_server
from tutelage.crowd.studies.moderation import decide
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.tests.support import toy_moods
from tutelage.tests.support.toy_study import ACROSS, journalled, rows, run, serving, until, walk_in

pytestmark = pytest.mark.alone  # servers and clocks: needs steady time


def leap(server: StudyServer, seconds: float) -> None:
    """Let the server believe that it is so much later."""
    context = server.context
    clock, steady = context.clock, context.steady
    context.clock, context.steady = lambda: clock() + seconds, lambda: steady() + seconds


@pytest.mark.slow
def test_an_episode_whose_time_is_up_is_a_failure_and_said_so(tmp_path: Path) -> None:
    limits = {"episode_seconds": 2}

    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None, limits=limits) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play(ACROSS[:2])
            await until(lambda: ann.participant.seconds_left in (0, None))
            await ann.participant.tick()
            assert ann.way["outcome"]["reason"] == "time"
            assert [row["success"] for row in rows(server, conduct)] == [False]

    run(story())


def test_nobody_comes_between_a_failing_environment_and_the_end_of_its_episode(tmp_path: Path) -> None:
    controls = {"ArrowLeft": toy_moods.FINE, "ArrowRight": toy_moods.RAISES}
    moody = {"id": "moody", "env": "toys/Moody-v0", "controls": controls, "max_steps": 6}
    moody |= {"success": "reward > 0", "blank_first_frame": True}
    (tmp_path / "moody.yaml").write_text(yaml.safe_dump({"suite": "moody", "tasks": [moody]}), "utf-8")
    changes = {"suite": "moody.yaml", "tasks": {"moody": {}}, "practice": None, "check": None}

    async def story() -> None:
        async with serving(tmp_path, **changes) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            seat = await server.seat_for_page(ann.person.seat)
            assert seat is not None
            session, page = seat.session, Outbox(cast(Any, None))
            for code in ("ArrowLeft", "ArrowRight"):
                press = json.dumps({"type": "down", "code": code, "frame": 0})
                playing = asyncio.create_task(seat._answer(press, page))
                while session.episode is not None and not session.episode.steps:
                    await asyncio.sleep(0)
            while session.episode is not None:
                await asyncio.sleep(0)
            looking = asyncio.create_task(ann.participant.tick())  # while nothing is played
            await asyncio.gather(playing, looking)
            assert (session.phase, ann.way["number"]) == (Phase.CHOOSING, 1)
            assert ann.way["outcome"]["reason"] == "broken"

    run(story())


def test_who_does_nothing_is_asked_whether_they_are_there(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None, limits={"idle_seconds": 600}) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.participant.tick()
            assert ann.participant.session.phase is Phase.PLAYING
            leap(server, 601)
            await ann.participant.tick()
            assert (ann.participant.session.phase, ann.way["idle"]) == (Phase.PAUSED, True)
            await ann.play(ACROSS[:1])
            await ann.participant.tick()
            assert (ann.participant.session.phase, ann.way["idle"]) == (Phase.PLAYING, False)

    run(story())


def test_a_session_ends_when_its_time_is_over_and_keeps_what_was_done(tmp_path: Path) -> None:
    limits = {"session_minutes": 60}

    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None, limits=limits) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play()
            leap(server, 3601)
            await ann.send("next")
            assert ann.way["outcome"] == "timed-out"
            assert [row["success"] for row in rows(server, conduct)] == [True]
            bob = await walk_in(server, "person-bob")
            await bob.send("consent", given=True)
            leap(server, 3601)
            await bob.participant.tick()
            assert bob.way["outcome"] == "timed-out"

    run(story())


def test_people_find_a_study_full_and_a_place_free_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, people=1) as server:
            ann, dora = await walk_in(server), await walk_in(server, "person-dora")
            assert (ann.stage, dora.stage) == ("consent", "consent")  # who only reads it takes no place
            await ann.send("consent", given=True)
            await dora.send("consent", given=True)
            bob = await walk_in(server, "person-bob")
            for late in (bob, dora):
                assert (late.stage, late.way["outcome"]) == ("done", "full")
            assert [row["person"] for row in rows(server, consents)] == ["person-ann"]
            await ann.send("withdraw")
            bob, cleo = await walk_in(server, "person-bob"), await walk_in(server, "person-cleo")
            await bob.send("consent", given=True)
            assert bob.stage == "instructions"
            await cleo.send("consent", given=True)
            assert cleo.way["outcome"] == "full"

    run(story())


def test_a_paused_study_lets_people_finish_and_wait_and_goes_on_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            decide(server.database, "pilot", "pause", reason="lunch")
            await until(lambda: server.context.moderation.paused)
            await ann.play()
            await ann.send("next")
            assert (ann.way["waiting"], ann.participant.session.episode) == ("lunch", None)
            decide(server.database, "pilot", "resume", reason="fed")
            await until(lambda: ann.participant.session.episode is not None)
            assert ann.way["waiting"] is None

    run(story())


def test_a_banned_person_is_out_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, practice=None, check=None) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            decide(server.database, "pilot", "ban", "person-ann", "a robot")
            await until(lambda: ann.way["stage"] == "done")
            assert ann.way["outcome"] == "banned"
            assert ("demonstration", "lake", "abandoned") in journalled(server)

    run(story())


def test_a_claim_that_ran_out_and_went_to_another_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the server's own tick would renew what has run out and nobody has taken yet
    monkeypatch.setattr(study_server, "TICK_SECONDS", 3600.0)

    async def story() -> None:
        options = {"practice": None, "check": None, "limits": {"claim_minutes": 60}}
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play(ACROSS[:1])
            leap(server, 3601)
            bob = await walk_in(server, "person-bob")
            await bob.to_the_tasks()
            assert bob.participant.claim is not None
            assert bob.participant.claim.seed == 0
            await ann.play(ACROSS[1:2])
            await ann.participant.tick()
            episode = ann.participant.session.episode
            assert episode is not None
            assert episode.record.seed == 1
            assert ("demonstration", "lake", "abandoned") in journalled(server)

    run(story())
