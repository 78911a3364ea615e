"""What a page is told of a session: one message from which it can draw itself, whatever it showed before."""

from __future__ import annotations

from typing import Any

from ...envs.controls import Controls
from ...envs.task import Task
from .pace import measured_rate
from .session import Phase, Session
from .settings import Settings


def state_message(session: Session, settings: Settings, controls: Controls, saved: int) -> dict[str, Any]:
    """Build the `state` message: suite, tasks with progress, and the episode at hand if there is one."""
    return {
        "type": "state",
        "phase": session.phase.value,
        "suite": settings.suite.name,
        "demonstrator": session.seat.demonstrator,
        "baseline": settings.is_baseline,
        "pages": [{"path": path, "title": page_title(path)} for path in settings.extra_pages],
        "tasks": [_task(one, session, settings) for one in settings.suite],
        "choices": list(session.choices),
        "episode": _episode(session, settings, controls, saved),
    }


def page_title(path: str) -> str:
    """Name a page after its path: `/report` is "Report"."""
    return path.strip("/").replace("-", " ").replace("/", " ").capitalize() or "Page"


def _task(task: Task, session: Session, settings: Settings) -> dict[str, Any]:
    return {
        "id": task.id,
        "instruction": task.instruction,
        "fps": task.fps,
        "kept": session.kept[task.id],
        "givenUp": session.given_up[task.id],
        "target": settings.episodes,
    }


def _episode(session: Session, settings: Settings, controls: Controls, saved: int) -> dict[str, Any] | None:
    episode, task = session.episode, session.task
    if episode is None or task is None:
        return None
    return {
        "id": episode.record.episode,
        "task": task.id,
        "number": session.kept[task.id] + session.given_up[task.id] + 1,
        "target": settings.episodes,
        "attempt": episode.record.attempt,
        "step": len(episode.steps),
        "limit": session.environment.limit,
        "saved": saved,
        "instruction": session.environment.instruction or task.id,
        "fps": task.fps,
        "controls": [{"codes": list(one.codes), "label": one.label} for one in controls.bindings],
        "outcome": _outcome(session) if session.phase is Phase.FINISHED else None,
    }


def _outcome(session: Session) -> dict[str, Any] | None:
    episode, task = session.episode, session.task
    if episode is None or task is None:
        return None
    times = [step.time_ms for step in episode.steps]
    return {
        "success": bool(episode.now.success),
        "return": episode.total,
        "steps": len(times),
        "seconds": times[-1] / 1000,
        "rate": measured_rate(times) if task.fps else None,
    }
