from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import sqlalchemy as sql
from tutelage.crowd.hosting.host import FinishedEpisode, InlineHost
from tutelage.crowd.seats.free_choice import FreeChoice
from tutelage.crowd.seats.session import EpisodeAborted, Phase, Session
from tutelage.crowd.seats.view import messages
from tutelage.crowd.storage.journal import Journal
from tutelage.errors import TutelageError

Opener = Callable[..., Awaitable[FreeChoice]]
RIGHT = np.array([2.0])
pytestmark = pytest.mark.anyio


async def finish(session: Session) -> None:
    while session.phase is Phase.PLAYING:
        await session.act(RIGHT)


def journal_of(session: Session) -> Journal:
    return session._journal


async def test_a_wrong_transition_says_what_was_expected_and_what_came(opened: Opener) -> None:
    session = (await opened()).session
    with pytest.raises(TutelageError, match="expected to be playing for act, got it while choosing"):
        await session.act(RIGHT)
    await session.enter("lake", 3)
    with pytest.raises(TutelageError, match="expected to be finished for keep, got it while playing"):
        await session.keep()
    with pytest.raises(TutelageError, match="expected to be choosing for enter"):
        await session.enter("lake", 4)
    assert session.episode is not None
    assert session.episode.record.seed == 3
    with pytest.raises(TutelageError, match="did you mean 'pole'"):
        await (await opened("b")).session.enter("pol", 0)


async def test_a_task_that_waits_is_played_at_once_and_real_time_waits_for_a_start(opened: Opener) -> None:
    session = (await opened()).session
    await session.enter("lake", 0)
    assert session.phase is Phase.PLAYING
    await session.leave()
    await session.enter("pole", 0)
    assert session.phase is Phase.READY
    session.start()
    session.pause()
    with pytest.raises(TutelageError, match="while paused"):
        await session.act(np.array([0.0]))


async def test_what_a_study_says_of_an_episode_goes_with_it(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    session = (await opened()).session
    await session.enter("lake", 7, role="gold", study="pilot", consent="c0ffee")
    await finish(session)
    await session.keep()
    assert session.phase is Phase.CHOOSING
    (record,) = journal_of(session).episodes(role="gold", study="pilot", consent="c0ffee")
    assert (record.seed, record.state) == (7, "kept")
    (kept,) = delivered
    assert (kept.trajectory.study, kept.trajectory.consent) == ("pilot", "c0ffee")


async def test_practice_is_journalled_and_is_no_demonstration(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    session = (await opened()).session
    await session.enter("lake", 0, role="practice")
    await finish(session)
    await session.keep()
    await session.enter("lake", 1, role="practice")
    await session.act(RIGHT)
    await session.give_up()
    records = journal_of(session).episodes(role="practice")
    assert [one.state for one in records] == ["discarded", "abandoned"]
    assert all(journal_of(session).steps(one.episode) for one in records)
    assert not delivered


async def test_giving_up_is_a_failure_that_is_kept(opened: Opener, delivered: list[FinishedEpisode]) -> None:
    session = (await opened()).session
    await session.enter("lake", 0)
    await session.give_up()
    await session.enter("lake", 1)
    await session.act(RIGHT)
    await session.give_up()
    assert [one.state for one in journal_of(session).episodes()] == ["abandoned", "kept"]
    (one,) = delivered
    assert (len(one.trajectory), one.trajectory.success, one.trajectory.terminated) == (1, False, False)
    assert one.trajectory.notes == "given up"


async def test_an_episode_goes_on_at_the_same_step_in_a_new_session(opened: Opener) -> None:
    first, second = (await opened()).session, (await opened()).session
    await first.enter("lake", 0)
    for action in (2.0, 1.0, 2.0):
        await first.act(np.array([action]))
    assert first.episode is not None
    assert await second.take_up(first.episode.record)
    assert second.episode is not None
    assert second.episode.record == first.episode.record
    assert second.episode.steps == [*second.episode.steps[:2], first.episode.steps[-1]]
    assert second.episode.milliseconds == first.episode.milliseconds
    assert second.episode.saved == 3
    assert (await first.act(RIGHT)).observation == (await second.act(RIGHT)).observation


async def test_a_torn_tail_is_dropped_and_said_so(opened: Opener) -> None:
    first, second = (await opened()).session, (await opened()).session
    await first.enter("lake", 0)
    for action in (2.0, 0.0, 3.0):
        await first.act(np.array([action]))
    journal_of(first).flush()
    with journal_of(first).engine.begin() as connection:
        connection.execute(sql.text("update steps set digest = x'00' where step = 3"))
    assert first.episode is not None
    await second.take_up(first.episode.record)
    assert second.episode is not None
    assert len(second.episode.steps) == 2
    assert "steps after 2 were damaged" in second.notices[0]
    await second.act(np.array([3.0]))
    journal_of(second).flush()
    assert second.episode.steps[-1].digest == first.episode.steps[-1].digest


async def test_an_episode_that_cannot_begin_again_is_given_up_and_said_so(opened: Opener) -> None:
    first, second = (await opened()).session, (await opened()).session
    await first.enter("unrepeatable", 0)
    await first.act(np.array([1.0, 1.0]))
    assert first.episode is not None
    assert not await second.take_up(first.episode.record)
    assert "could not be taken up again" in second.notices[0]
    assert second.phase is Phase.CHOOSING
    (record,) = journal_of(first).episodes(state="abandoned")
    assert "deterministic" in record.notes


async def test_an_environment_that_fails_costs_its_own_episode_and_no_more(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    session = (await opened()).session
    await session.enter("unrepeatable", 0)
    with pytest.raises(EpisodeAborted, match="The task failed: ValueError"):
        await session.act(np.array([]))  # no environment takes this
    assert (session.phase, session.episode) == (Phase.CHOOSING, None)
    (record,) = journal_of(session).episodes(state="abandoned")
    assert "ValueError" in record.notes
    await session.enter("unrepeatable", 1)
    await session.act(np.array([0.0, 0.0]))


async def test_the_same_task_is_played_in_the_same_environment(opened: Opener) -> None:
    session = (await opened()).session
    await session.enter("lake", 0)
    world = session._host
    await session.put_aside()
    await session.enter("lake", 1)
    assert session._host is world
    await session.put_aside()
    await session.enter("pole", 1)
    assert session._host is not world
    assert isinstance(world, InlineHost)
    assert world._player._environment is None


async def test_the_state_tells_a_page_all_it_draws(opened: Opener) -> None:
    choice = await opened(episodes=5)
    await choice.choose("pole")
    told, way = messages(choice.session, [*choice.tell(), {"type": "way", "stage": "play"}], choice.texts)
    assert way == {"type": "way", "stage": "play"}
    assert (told["phase"], told["episode"]["fps"]) == ("ready", 50)
    assert (told["episode"]["number"], told["episode"]["target"]) == (1, 5)
    assert told["choices"] == ["discard", "redo", "leave"]
    assert [one["id"] for one in told["tasks"]] == ["lake", "pole", "unrepeatable"]
