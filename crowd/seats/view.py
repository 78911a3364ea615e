"""What a page is told: one message from which it can draw itself, whatever it showed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...envs.task import Task
from ..hosting.pace import measured_rate
from ..settings import Settings
from ..translations import Translations, language_names
from .session import Phase, Session

Told = dict[str, Any]


def messages(session: Session, told: Sequence[Told], texts: Translations) -> list[Told]:
    """Return what draws a page: the session's `state`, the guide's additions in it, then its others.

    What the tasks themselves say is said in the language of the page.
    """
    state = session_message(session)
    for one in told:
        if one["type"] == "state":
            state |= one
    state["tasks"] = [_translated(one, texts) for one in state["tasks"]]
    if state["episode"] is not None:
        state["episode"] = _translated(state["episode"], texts)
    return [state, *(one for one in told if one["type"] != "state")]


def texts_message(texts: Translations) -> Told:
    """Build the `texts` message: every text of the pages in one language, and what languages there are."""
    return {
        "type": "texts",
        "language": texts.code,
        "languages": language_names(),
        "page": dict(texts.page),
    }


def session_message(session: Session) -> Told:
    """Build the `state` message: the phase, and the episode at hand if there is one."""
    return {
        "type": "state",
        "phase": session.phase.value,
        "suite": session.suite.name,
        "demonstrator": session.seat.demonstrator,
        "baseline": False,
        "pages": [],
        "tasks": [],
        "choices": [],
        "episode": _episode(session),
    }


def choice_message(
    settings: Settings, choices: Sequence[str], kept: Mapping[str, int], given_up: Mapping[str, int]
) -> Told:
    """Build what free choice adds to the `state` message: tasks with progress, and what can be chosen."""
    return {
        "type": "state",
        "baseline": settings.is_baseline,
        "pages": [{"path": path, "title": page_title(path)} for path in settings.extra_pages],
        "tasks": [
            _task(task, kept.get(task.id, 0), given_up.get(task.id, 0), settings) for task in settings.tasks
        ],
        "choices": list(choices),
    }


def page_title(path: str) -> str:
    """Name a page after its path: `/report` is "Report"."""
    return path.strip("/").replace("-", " ").replace("/", " ").capitalize() or "Page"


def _task(task: Task, kept: int, given_up: int, settings: Settings) -> Told:
    return {
        "id": task.id,
        "instruction": task.instruction,
        "fps": task.fps,
        "kept": kept,
        "givenUp": given_up,
        "target": settings.episodes,
    }


def _translated(one: Told, texts: Translations) -> Told:
    """Say a task's or an episode's own words in a language; `name` is a task's id in words."""
    name = str(one.get("task", one["id"]))
    words: Told = {"name": texts.phrase(name), "instruction": texts.phrase(one["instruction"])}
    if "controls" in one:
        words["controls"] = [key | {"label": texts.phrase(key["label"])} for key in one["controls"]]
    return one | words


def _episode(session: Session) -> Told | None:
    episode = session.episode
    if episode is None:
        return None
    return {
        "id": episode.record.episode,
        "task": episode.task.id,
        "number": session.number,
        "target": session.target,
        "attempt": episode.record.attempt,
        "step": len(episode.steps),
        "limit": episode.limit,
        "saved": episode.saved,
        "atlas": atlas_message(episode.atlas),
        "instruction": episode.instruction,
        "fps": episode.task.fps,
        "hands": episode.controls.hands,
        "mixes": episode.controls.mixer is not None,
        "controls": [{"codes": list(one.codes), "label": one.label} for one in episode.controls.bindings],
        "outcome": _outcome(session) if session.phase is Phase.FINISHED else None,
    }


def _outcome(session: Session) -> Told | None:
    episode = session.episode
    if episode is None:
        return None
    times = [step.time_ms for step in episode.steps]
    return {
        "success": episode.success,
        "return": episode.total,
        "steps": len(times),
        "seconds": times[-1] / 1000,
        "rate": measured_rate(times) if episode.task.fps else None,
    }


def atlas_message(atlas: tuple[str, int] | None) -> Told | None:
    """Say where a page finds the picture that tiles are drawn from; None where there are none."""
    return atlas and {"url": f"/atlas/{atlas[0]}", "tile": atlas[1]}
