from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tutelage.crowd.hosting.host import FinishedEpisode
from tutelage.crowd.seats.free_choice import FreeChoice, play
from tutelage.crowd.seats.protocol import parse
from tutelage.crowd.seats.seed_assignment import SeedAssignment
from tutelage.crowd.seats.session import Phase, Session
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import SeatRecord
from tutelage.datasets.replay import replay
from tutelage.envs.suite import suite_from
from tutelage.envs.task import RECORD, TEST
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

Opener = Callable[..., Awaitable[FreeChoice]]
LEFT, RIGHT = np.array([0.0]), np.array([1.0])
pytestmark = pytest.mark.anyio


async def finish(choice: FreeChoice) -> None:
    rng = np.random.default_rng(0)
    while choice.session.phase is Phase.PLAYING:
        await choice.session.act(np.array([float(rng.integers(4))]))


def seed(choice: FreeChoice) -> int:
    assert choice.session.episode is not None
    return choice.session.episode.record.seed


async def test_any_function_of_the_observation_plays_an_episode(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened()
    await play(choice, "lake", lambda seen: np.array([float(seen[""] % 4)]), controller="expert")
    environment = TaskEnv(choice.settings.suite["lake"])
    (kept,) = delivered
    again = replay(kept.trajectory, environment)
    assert again.digest == kept.trajectory.digest
    assert np.array_equal(again.observations[""], (await kept.observations())[""])
    assert set(kept.trajectory.controllers) == {2}
    assert kept.trajectory.kind == "simulated"


async def test_a_wrong_choice_says_what_was_expected_and_what_came(opened: Opener) -> None:
    choice = await opened()
    await choice.choose("lake")
    with pytest.raises(TutelageError, match="expected to be finished for keep, got it while playing"):
        await choice.keep()
    with pytest.raises(TutelageError, match="expected to be choosing for choose"):
        await choice.choose("pole")
    await choice.choose("lake")  # a second press of what is open already
    with pytest.raises(TutelageError, match="did you mean 'pole'"):
        await (await opened("b")).choose("pol")


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    names=st.lists(
        st.sampled_from(["choose", "start", "pause", "act", "keep", "discard", "redo", "undo", "leave"]),
        max_size=30,
    )
)
def test_no_order_of_transitions_breaks_a_session(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    suite = suite_from(
        {"suite": "s", "tasks": [{"id": "pole", "env": "CartPole-v1", "pace": {"fps": 50, "idle": 0}}]}
    )
    folder = tmp_path_factory.mktemp("session")

    async def story(journal: Journal) -> None:
        session = Session(SeatRecord("a", "ada"), suite, journal, kind="expert")
        choice = FreeChoice(session, Settings(suite, folder), journal, SeedAssignment(RECORD, False, journal))
        for name in names:
            arguments = {"choose": ("pole",), "act": (LEFT,)}.get(name, ())
            before = session.phase
            try:
                done = getattr(session if name in ("start", "pause", "act") else choice, name)(*arguments)
                if done is not None:
                    await done
            except TutelageError:
                assert session.phase is before
            assert (session.episode is None) == (session.phase is Phase.CHOOSING)

    with Journal(folder / "journal.sqlite") as journal:
        asyncio.run(story(journal))
        journal.flush()
        for one in journal.episodes(state="open"):
            steps = journal.steps(one.episode)
            assert [step.step for step in steps] == list(range(1, len(steps) + 1))


async def test_discard_goes_on_and_undo_brings_it_back(opened: Opener) -> None:
    choice = await opened()
    await choice.choose("lake")
    await finish(choice)
    first = seed(choice)
    await choice.discard()
    assert seed(choice) != first
    assert "undo" in choice.choices
    await choice.undo()
    assert (choice.session.phase, seed(choice)) == (Phase.FINISHED, first)
    await choice.keep()
    assert choice.kept["lake"] == 1
    # the seed that was left before its first action is free again
    assert seed(choice) == first + 1


async def test_undo_lets_an_episode_underway_wait(opened: Opener) -> None:
    choice = await opened()
    await choice.choose("lake")
    await finish(choice)
    await choice.discard()
    await choice.session.act(RIGHT)
    underway = seed(choice)
    await choice.undo()
    await choice.keep()
    assert choice.session.episode is not None
    assert (seed(choice), len(choice.session.episode.steps)) == (underway, 1)


async def test_redo_plays_the_same_seed_again_and_says_so(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened()
    await choice.choose("lake")
    await finish(choice)
    first = seed(choice)
    await choice.redo()
    assert seed(choice) == first
    await finish(choice)
    await choice.keep()
    assert delivered[0].trajectory.notes == "attempt 2"


async def test_people_record_different_seeds_and_share_those_of_a_baseline(opened: Opener) -> None:
    ada, bob = await opened("a", "ada"), await opened("b", "bob", seeds=RECORD)
    bob._assignment = ada._assignment
    await ada.choose("lake")
    await bob.choose("lake")
    assert seed(ada) != seed(bob)
    ada, bob = await opened("c", "cleo", seeds=TEST), await opened("d", "dan", seeds=TEST)
    bob._assignment = ada._assignment
    await ada.choose("lake")
    await bob.choose("lake")
    assert seed(ada) == seed(bob) == TEST.start


async def test_on_test_seeds_the_first_try_counts(opened: Opener) -> None:
    choice = await opened(seeds=TEST)
    await choice.choose("lake")
    assert choice.choices == ("discard", "leave")
    with pytest.raises(TutelageError, match="expected the first try to count"):
        await choice.redo()
    await finish(choice)
    assert choice.choices == ("keep", "leave")
    with pytest.raises(TutelageError):
        await choice.discard()
    await choice.keep()
    assert seed(choice) == TEST.start + 1
    await choice.discard()
    assert choice.given_up["lake"] == 1
    assert seed(choice) == TEST.start + 2
    assert [one.state for one in choice._journal.episodes(seed=TEST.start + 1)] == ["abandoned"]


async def test_giving_up_a_test_seed_after_its_first_step_is_a_failure_that_is_kept(
    opened: Opener, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened(seeds=TEST)
    await choice.choose("lake")
    await choice.session.act(RIGHT)
    await choice.discard()
    assert (choice.kept["lake"], choice.given_up["lake"]) == (0, 1)
    (one,) = delivered
    assert len(one.trajectory) == 1
    assert not one.trajectory.success
    assert not one.trajectory.terminated
    assert one.trajectory.notes == "given up"
    (record,) = choice._journal.episodes(seed=TEST.start)
    assert (record.state, record.given_up) == ("kept", True)
    again = await opened(seeds=TEST)
    assert (again.kept["lake"], again.given_up["lake"]) == (0, 1)


async def test_a_task_ends_with_its_last_wanted_demonstration(opened: Opener) -> None:
    choice = await opened(episodes=1)
    await choice.choose("lake")
    await finish(choice)
    await choice.keep()
    assert choice.session.phase is Phase.CHOOSING
    with pytest.raises(TutelageError, match="all done"):
        await choice.choose("lake")
    assert (await opened(episodes=1)).kept["lake"] == 1


async def test_a_seat_that_comes_back_is_at_its_task_and_its_episode_again(opened: Opener) -> None:
    first = await opened()
    await first.choose("lake")
    for action in (2.0, 1.0, 2.0):
        await first.session.act(np.array([action]))
    second = await opened()
    second._counted = False  # as nobody has asked it before
    await second.arrive()
    assert second.session.seat.task == "lake"
    assert second.session.episode is not None
    assert first.session.episode is not None
    assert second.session.episode.record == first.session.episode.record
    assert len(second.session.episode.steps) == 3
    await second.arrive()
    assert len(second.session.episode.steps) == 3


async def test_an_undecided_episode_is_shown_again_after_a_restart(opened: Opener) -> None:
    first = await opened()
    await first.choose("lake")
    await finish(first)
    second = await opened()
    await second.choose("lake")
    assert second.session.phase is Phase.FINISHED
    assert seed(second) == seed(first)


async def test_an_episode_that_cannot_begin_again_makes_room_for_the_next(opened: Opener) -> None:
    first = await opened()
    await first.choose("unrepeatable")
    await first.session.act(np.array([1.0, 1.0]))
    second = await opened()
    await second.choose("unrepeatable")
    assert "could not be taken up again" in second.session.notices[0]
    assert seed(second) != seed(first)


async def test_it_answers_its_own_messages_and_no_others(opened: Opener) -> None:
    choice = await opened()
    assert await choice.answer(parse('{"type":"choose","task":"lake"}'))
    assert choice.session.phase is Phase.PLAYING
    assert await choice.answer(parse('{"type":"leave"}'))
    assert not await choice.answer(parse('{"type":"consent","given":true}'))
    assert not await choice.answer(parse('{"type":"next"}'))
