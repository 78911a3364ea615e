from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.hosting.pace import Deadlines, Stopwatch, measured_rate
from tutelage.crowd.seats.keyboard import HeldKeys
from tutelage.envs.keys.controls import Controls, KeyBinding


@given(
    fps=st.floats(1, 240),
    delays=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_deadlines_never_drift_and_never_bunch(fps: float, delays: list[float]) -> None:
    deadlines = Deadlines(fps, 100.0)
    now, seen = 100.0, []
    for delay in delays:
        deadline = deadlines.next(now)
        seen.append(deadline)
        assert now - deadline < 1 / fps + 1e-6  # never asked to make up for more than one
        assert round((deadline - 100) * fps, 6) == round((deadline - 100) * fps)
        now = max(now, deadline) + delay / fps
    assert all(later > earlier for earlier, later in itertools.pairwise(seen))
    assert deadlines.missed == round((seen[-1] - 100) * fps) - len(seen)


def test_a_stopwatch_stands_still_while_it_is_stopped() -> None:
    now = 10.0
    watch = Stopwatch(500, clock=lambda: now)
    watch.start()
    now = 12.0
    watch.stop()
    now = 50.0
    assert watch.read() == 2500
    watch.start()
    now = 50.25
    assert watch.read() == 2750


def test_the_measured_rate_is_that_of_the_steps() -> None:
    assert measured_rate([66, 133, 200, 266]) == pytest.approx(15)
    assert measured_rate([66]) is None


def test_held_keys_decide_and_a_short_tap_is_not_lost() -> None:
    controls = Controls((KeyBinding(("A",), (1.0,), "a"), KeyBinding(("B",), (2.0,), "b")), idle=(0.0,))
    keys = HeldKeys()
    assert keys.decide(controls) == 0
    keys.down("A")
    keys.up("A")
    assert keys.decide(controls) == 1
    assert keys.decide(controls) == 0
    keys.down("A")
    keys.down("B")
    assert keys.decide(controls) == 2
    keys.up("B")
    assert keys.decide(controls) == 1
    keys.clear()
    assert keys.decide(controls) == 0


def test_a_turn_takes_the_key_that_was_pressed_whatever_else_is_held() -> None:
    both = KeyBinding(("A", "B"), (3.0,), "both")
    controls = Controls((KeyBinding(("A",), (1.0,), "a"), KeyBinding(("C",), (2.0,), "c"), both), idle=(0.0,))
    keys = HeldKeys()
    keys.down("A")
    assert keys.turn(controls, "A") == 1
    keys.down("B")
    assert keys.turn(controls, "B") == 3
    keys.down("C")
    assert keys.turn(controls, "C") == 2
    assert keys.turn(controls, "Z") is None
