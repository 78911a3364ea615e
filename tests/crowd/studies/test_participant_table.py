"""The table of a participant's transitions: its names exist, its stages are connected, and it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tutelage.crowd.seats.protocol import COMMANDS
from tutelage.crowd.storage.study_records import answers, devices
from tutelage.crowd.storage.study_tables import STAGES, Stage, claims, conduct, consents, events, people
from tutelage.crowd.studies.participant import Participant
from tutelage.crowd.studies.participant_table import CLOCK, TRANSITIONS, Event
from tutelage.tests.support.toy_study import Walker, journalled, rows, run, serving, walk_in

EDGES = {(stage, target) for row in TRANSITIONS for stage in row.stages for target in row.to}
CONTENT: Mapping[Event, tuple[Any, ...]] = {
    Event.PAGE_HIDDEN: (5,),
    Event.DEVICE: ({"device": "phone", "browser": "Edge", "width": 300, "height": 800, "language": "en"},),
    Event.LANGUAGE: ("en",),
    Event.ANSWERS: ((0,),),
    Event.WITHDRAW: (False,),
    Event.ENVIRONMENT_FAILED: ("it fell over",),
}
"""What the events carry that carry anything."""


def reachable(edges: set[tuple[Stage, Stage]], start: Stage) -> set[Stage]:
    stages = {start}
    while new := {target for stage, target in edges if stage in stages} - stages:
        stages |= new
    return stages


def test_the_stages_are_those_that_are_stored() -> None:
    assert STAGES == ("consent", "instructions", "practice", "check", "play", "rest", "done")
    assert all(type(stage) is str for stage in STAGES)


def test_every_stage_is_reachable_from_consent() -> None:
    assert reachable(EDGES, Stage.CONSENT) == set(Stage)


def test_every_stage_has_a_way_to_the_end() -> None:
    backward = {(target, stage) for stage, target in EDGES}
    assert reachable(backward, Stage.DONE) == set(Stage)


def test_every_guard_and_action_is_a_method_and_every_event_has_a_row() -> None:
    names = {row.do[0] for row in TRANSITIONS if row.do}
    names |= {guard for row in TRANSITIONS for guard in row.when}
    names |= {condition for _, conditions in CLOCK for condition in conditions}
    assert [name for name in names if not callable(getattr(Participant, name, None))] == []
    assert {row.event for row in TRANSITIONS} == set(Event)


def test_every_row_applies_at_some_time() -> None:
    """A row without guards is the last of its stage and event; a row without action leads to one stage."""
    for stage in Stage:
        for event in Event:
            applicable = [row for row in TRANSITIONS if stage in row.stages and row.event is event]
            assert all(row.when for row in applicable[:-1]), (stage, event)
            assert len({row.when for row in applicable}) == len(applicable), (stage, event)
    assert all(len(row.to) == 1 for row in TRANSITIONS if not row.do)


@pytest.mark.slow
@pytest.mark.parametrize("stage", Stage)
def test_an_event_or_a_command_that_is_not_in_the_table_changes_nothing(tmp_path: Path, stage: Stage) -> None:
    async def story() -> None:
        async with serving(tmp_path, breaks={"every": 1, "text": "Stretch."}) as server:
            ann = await walk_in(server)
            await walk_to(ann, stage)
            assert ann.stage == stage
            present = {row.event for row in TRANSITIONS if stage in row.stages}
            for event in set(Event) - present:
                before = everything(ann)
                async with ann.participant.changing():
                    await ann.participant._handle(event, *CONTENT.get(event, ()))
                assert everything(ann) == before, event
            for command in set(COMMANDS) - {"ready", "next", "discard"}:
                before = everything(ann)
                await ann.send(command)
                assert everything(ann) == before, command

    run(story())


def everything(walker: Walker) -> dict[str, Any]:
    """Return what is on disk, what the page is told, and what the participant holds."""
    participant, server = walker.participant, walker.server
    tables = (people, consents, claims, conduct, events, answers, devices)
    held = (participant.session.phase, participant.session.episode, participant.claim, participant.hidden_ms)
    on_disk = {stored.name: rows(server, stored) for stored in tables}
    return {"disk": on_disk, "journal": journalled(server), "page": participant.tell(), "held": held}


async def walk_to(walker: Walker, stage: Stage) -> None:
    """Go on until a stage is reached."""
    if stage is Stage.DONE:
        await walker.send("consent", given=False)
        return
    steps = {
        Stage.CONSENT: lambda: walker.send("consent", given=True),
        Stage.INSTRUCTIONS: lambda: walker.send("ready"),
        Stage.CHECK: lambda: walker.send("answers", chosen=[0]),
    }
    while walker.stage != stage:
        if walker.stage in steps:
            await steps[Stage(walker.stage)]()
        else:
            await walker.play()
            await walker.send("next")
