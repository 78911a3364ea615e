from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tutelage.datasets.crowd.assignment import Assignment
from tutelage.datasets.crowd.session import Kept, Phase, Session, play
from tutelage.datasets.crowd.settings import Settings
from tutelage.datasets.crowd.view import state_message
from tutelage.datasets.journal import Journal, SeatRecord
from tutelage.datasets.replay import replay
from tutelage.envs.controls import Binding, Controls
from tutelage.envs.errors import TutelageError
from tutelage.envs.gymnasium_task import TaskEnvironment
from tutelage.envs.suite import suite_from
from tutelage.envs.task import RECORD, TEST

Opener = Callable[..., Session]
LEFT, RIGHT = np.array([0.0]), np.array([1.0])


def finish(session: Session) -> None:
    rng = np.random.default_rng(0)
    while session.phase is Phase.PLAYING:
        session.act(np.array([float(rng.integers(session.environment.action_space.n))]))  # type: ignore[attr-defined]


def seed(session: Session) -> int:
    assert session.episode is not None
    return session.episode.record.seed


def test_any_function_of_the_observation_plays_an_episode(opened: Opener) -> None:
    kept = play(opened(), "lake", lambda seen: np.array([float(seen[""] % 4)]), controller="expert")
    environment = TaskEnvironment(opened()._settings.suite["lake"])
    again = replay(kept.trajectory, environment)
    assert again.digest == kept.trajectory.digest
    assert np.array_equal(again.observations[""], kept.observations[""])
    assert set(kept.trajectory.controllers) == {2}
    assert kept.trajectory.kind == "simulated"


def test_a_wrong_transition_says_what_was_expected_and_what_came(opened: Opener) -> None:
    session = opened()
    with pytest.raises(TutelageError, match="expected to be playing for act, got it while choosing"):
        session.act(LEFT)
    session.choose("lake")
    with pytest.raises(TutelageError, match="expected to be finished for keep, got it while playing"):
        session.keep()
    with pytest.raises(TutelageError, match="expected to be choosing for choose"):
        session.choose("lake")
    with pytest.raises(TutelageError, match="did you mean 'pole'"):
        opened("b").choose("pol")


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
    with Journal(folder / "journal.sqlite") as journal:
        settings = Settings(suite, folder)
        session = Session(
            settings, journal, Assignment(RECORD, False, journal), SeatRecord("a", "ada"), "expert"
        )
        for name in names:
            arguments = {"choose": ("pole",), "act": (LEFT,)}.get(name, ())
            before = session.phase
            try:
                getattr(session, name)(*arguments)
            except TutelageError:
                assert session.phase is before
            assert (session.episode is None) == (session.phase is Phase.CHOOSING)
        underway = [one for one in journal.episodes() if one.state == "open"]
        for one in underway:
            steps = journal.steps(one.episode)
            assert [step.step for step in steps] == list(range(1, len(steps) + 1))


def test_a_task_that_waits_is_played_at_once_and_real_time_waits_for_a_start(opened: Opener) -> None:
    session = opened()
    session.choose("lake")
    assert session.phase is Phase.PLAYING
    session.leave()
    session.choose("pole")
    assert session.phase is Phase.READY
    session.start()
    session.pause()
    with pytest.raises(TutelageError, match="while paused"):
        session.act(LEFT)


def test_discard_goes_on_and_undo_brings_it_back(opened: Opener) -> None:
    session = opened()
    session.choose("lake")
    finish(session)
    first = seed(session)
    session.discard()
    assert seed(session) != first
    assert "undo" in session.choices
    session.undo()
    assert (session.phase, seed(session)) == (Phase.FINISHED, first)
    session.keep()
    assert session.kept["lake"] == 1
    # the seed that was left before its first action is free again
    assert seed(session) == first + 1


def test_undo_lets_an_episode_underway_wait(opened: Opener) -> None:
    session = opened()
    session.choose("lake")
    finish(session)
    session.discard()
    session.act(RIGHT)
    underway = seed(session)
    session.undo()
    session.keep()
    assert session.episode is not None
    assert (seed(session), len(session.episode.steps)) == (underway, 1)


def test_redo_plays_the_same_seed_again_and_says_so(opened: Opener) -> None:
    session = opened()
    session.choose("lake")
    finish(session)
    first = seed(session)
    session.redo()
    assert seed(session) == first
    finish(session)
    assert session.keep().trajectory.notes == "attempt 2"


def test_people_record_different_seeds_and_share_those_of_a_baseline(opened: Opener) -> None:
    ada, bob = opened("a", "ada"), opened("b", "bob", seeds=RECORD)
    bob._assignment = ada._assignment
    ada.choose("lake")
    bob.choose("lake")
    assert seed(ada) != seed(bob)
    ada, bob = opened("c", "cleo", seeds=TEST), opened("d", "dan", seeds=TEST)
    bob._assignment = ada._assignment
    ada.choose("lake")
    bob.choose("lake")
    assert seed(ada) == seed(bob) == TEST.start


def test_on_test_seeds_the_first_try_counts(opened: Opener) -> None:
    session = opened(seeds=TEST)
    session.choose("lake")
    assert session.choices == ("discard", "leave")
    with pytest.raises(TutelageError, match="expected the first try to count"):
        session.redo()
    finish(session)
    assert session.choices == ("keep", "leave")
    with pytest.raises(TutelageError):
        session.discard()
    session.keep()
    assert seed(session) == TEST.start + 1
    session.discard()
    assert session.given_up["lake"] == 1
    assert seed(session) == TEST.start + 2
    assert [one.state for one in session._journal.episodes(seed=TEST.start + 1)] == ["abandoned"]


def test_giving_up_a_test_seed_after_its_first_step_is_a_failure_that_is_kept(opened: Opener) -> None:
    delivered: list[Kept] = []
    session = opened(seeds=TEST)
    session._deliver = delivered.append
    session.choose("lake")
    session.act(RIGHT)
    session.discard()
    assert (session.kept["lake"], session.given_up["lake"]) == (0, 1)
    (one,) = delivered
    assert len(one.trajectory) == 1
    assert not one.trajectory.success
    assert not one.trajectory.terminated
    assert one.trajectory.notes == "given up"
    (record,) = session._journal.episodes(seed=TEST.start)
    assert (record.state, record.given_up) == ("kept", True)
    again = opened(seeds=TEST)
    assert (again.kept["lake"], again.given_up["lake"]) == (0, 1)


def test_a_task_ends_with_its_last_wanted_demonstration(opened: Opener) -> None:
    session = opened(episodes=1)
    session.choose("lake")
    finish(session)
    session.keep()
    assert session.phase is Phase.CHOOSING
    with pytest.raises(TutelageError, match="all done"):
        session.choose("lake")
    assert opened(episodes=1).kept["lake"] == 1


def test_an_episode_goes_on_at_the_same_step_in_a_new_session(opened: Opener) -> None:
    first = opened()
    first.choose("lake")
    for action in (2.0, 1.0, 2.0):
        first.act(np.array([action])).saved.result()
    assert first.episode is not None
    second = opened()
    assert second.seat.task == "lake"
    second.choose("lake")
    assert second.episode is not None
    assert second.episode.record == first.episode.record
    assert second.episode.steps[-1].digest == first.episode.steps[-1].digest
    assert second.episode.milliseconds == first.episode.milliseconds
    assert first.act(RIGHT).step.observation == second.environment.step(RIGHT).observation


def test_an_undecided_episode_is_shown_again_after_a_restart(opened: Opener) -> None:
    first = opened()
    first.choose("lake")
    finish(first)
    second = opened()
    second.choose("lake")
    assert second.phase is Phase.FINISHED
    assert seed(second) == seed(first)


def test_a_torn_tail_is_dropped_and_said_so(opened: Opener) -> None:
    first = opened()
    first.choose("lake")
    for action in (2.0, 0.0, 3.0):
        first.act(np.array([action])).saved.result()
    with first._journal.engine.begin() as connection:
        connection.execute(sql.text("update steps set digest = x'00' where step = 3"))
    second = opened()
    second.choose("lake")
    assert second.episode is not None
    assert len(second.episode.steps) == 2
    assert "last 1 steps were damaged" in second.notices[0]
    second.act(np.array([3.0])).saved.result()
    assert second.episode.steps[-1].digest == first.episode.steps[-1].digest  # type: ignore[union-attr]


def test_an_episode_that_cannot_begin_again_is_given_up_and_said_so(opened: Opener) -> None:
    first = opened()
    first.choose("unrepeatable")
    first.act(np.array([1.0, 1.0])).saved.result()
    second = opened()
    second.choose("unrepeatable")
    assert "could not be taken up again" in second.notices[0]
    assert seed(second) != seed(first)


def test_the_state_tells_a_page_all_it_draws(opened: Opener) -> None:
    session = opened(episodes=5)
    session.choose("pole")
    controls = Controls((Binding(("ArrowLeft",), (0.0,), "push left"),))
    told = state_message(session, session._settings, controls, 0)
    assert told["episode"]["controls"] == [{"codes": ["ArrowLeft"], "label": "push left"}]
    assert (told["phase"], told["episode"]["fps"], told["episode"]["number"]) == ("ready", 50, 1)
    assert [one["id"] for one in told["tasks"]] == ["lake", "pole", "unrepeatable"]
