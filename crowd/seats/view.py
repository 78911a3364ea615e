"""The state message of a page: it contains everything that the page draws, whatever it showed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...envs.task import Task
from ..hosting.pace import measured_rate
from ..settings import Settings
from ..translations import Translations, language_names
from .session import Phase, Session

JsonMessage = dict[str, Any]


def messages(
    session: Session, stage_messages: Sequence[JsonMessage], texts: Translations
) -> list[JsonMessage]:
    """Return a page's messages: the session's `state` with the flow's additions, then the flow's others.

    Texts of tasks are translated to the page's language.
    """
    state = session_message(session)
    for message in stage_messages:
        if message["type"] == "state":
            state |= message
    state["tasks"] = [_translate(task, texts) for task in state["tasks"]]
    if state["episode"] is not None:
        state["episode"] = _translate(state["episode"], texts)
    return [state, *(message for message in stage_messages if message["type"] != "state")]


def texts_message(texts: Translations) -> JsonMessage:
    """Build the `texts` message: every page text in one language, and the available languages."""
    return {
        "type": "texts",
        "language": texts.code,
        "languages": language_names(),
        "page": dict(texts.page),
    }


def session_message(session: Session) -> JsonMessage:
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
    settings: Settings, choices: Sequence[str], kept_counts: Mapping[str, int], given_up: Mapping[str, int]
) -> JsonMessage:
    """Build the additions of free choice to the `state` message: tasks with progress, and commands."""
    return {
        "type": "state",
        "baseline": settings.is_baseline,
        "pages": [{"path": path, "title": page_title(path)} for path in settings.extra_pages],
        "tasks": [
            _task(task, kept_counts.get(task.id, 0), given_up.get(task.id, 0), settings)
            for task in settings.tasks
        ],
        "choices": list(choices),
    }


def page_title(path: str) -> str:
    """Name a page after its path: `/report` is "Report"."""
    return path.strip("/").replace("-", " ").replace("/", " ").capitalize() or "Page"


def _task(task: Task, kept_count: int, given_up: int, settings: Settings) -> JsonMessage:
    return {
        "id": task.id,
        "instruction": task.instruction,
        "fps": task.fps,
        "kept": kept_count,
        "givenUp": given_up,
        "target": settings.episodes,
    }


def _translate(entry: JsonMessage, texts: Translations) -> JsonMessage:
    """Translate the texts of a task or an episode; `name` is a task's id in words."""
    name = str(entry.get("task", entry["id"]))
    words: JsonMessage = {"name": texts.phrase(name), "instruction": texts.phrase(entry["instruction"])}
    if "controls" in entry:
        words["controls"] = [key | {"label": texts.phrase(key["label"])} for key in entry["controls"]]
    return entry | words


def _episode(session: Session) -> JsonMessage | None:
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
        "controls": [
            {"codes": list(binding.codes), "label": binding.label} for binding in episode.controls.bindings
        ],
        "outcome": _outcome(session) if session.phase is Phase.FINISHED else None,
    }


def _outcome(session: Session) -> JsonMessage | None:
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


def atlas_message(atlas: tuple[str, int] | None) -> JsonMessage | None:
    """Return the address and tile size of an atlas; None if there is none."""
    return atlas and {"url": f"/atlas/{atlas[0]}", "tile": atlas[1]}
