"""What the page of a study is told: messages that draw a participant's present stage, in their language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...envs.keys.controls import Controls
from ...envs.task import Task
from ..recruiting.agreed_pay import AgreedPay, agreed_pay
from ..recruiting.money import shown
from ..seats.session import OPEN_PHASES, Phase
from ..storage.study_tables import PersonRecord, Stage
from ..translations import Translations, language_names
from .study import Study

Json = dict[str, Any]


@dataclass(frozen=True)
class ParticipantView:
    """The state of a participant that their page depends on."""

    study: Study
    person: PersonRecord
    texts: Translations
    progress: Mapping[str, Any]
    """As in `Participant`."""
    phase: Phase
    """The phase of the session."""
    controls: Mapping[str, Controls]
    """Task id → its keys."""
    waiting: str | None
    """The reason of the pause that the participant waits for; None when they do not wait."""
    episodes_done: int
    earned: int
    """The bonus so far, in minor units."""
    practice_task: str | None
    """The task to be practiced now; None once the practice is over."""
    seconds_left: float | None
    """Seconds that the open episode may still be played; None without a limit."""
    is_idle: bool
    back: str
    """The address that the participant came from; "" for none."""

    @property
    def agreed(self) -> AgreedPay:
        """The pay that the participant has agreed to."""
        return agreed_pay(self.progress, self.study)


def page_messages(view: ParticipantView) -> list[Json]:
    """Return the fields that a study adds to the `state` message, and the `way` message."""
    title = view.study.say(view.study.title, view.texts.code) or view.study.name
    choices = ["discard"] if view.phase in OPEN_PHASES else []
    return [
        {"type": "state", "suite": title, "study": True, "choices": choices, "outcome": None},
        _stage_message(view, title),
    ]


def _stage_message(view: ParticipantView, title: str) -> Json:
    person, study = view.person, view.study
    names = language_names(study.folder)
    message: Json = {
        "type": "way",
        "stage": person.stage,
        "title": title,
        "person": person.person,
        "language": view.texts.code,
        "languages": {code: names[code] for code in study.languages},
        "stages": ["consent", "instructions", *_optional_stages(study), "play"],
        "waiting": view.waiting,
    }
    return message | _FIELDS[Stage(person.stage)](view)


def _optional_stages(study: Study) -> list[str]:
    sections = {"practice": study.practice, "check": study.check}
    return [name for name, section in sections.items() if section is not None]


def _consent(view: ParticipantView) -> Json:
    study, language = view.study, view.texts.code
    return {"text": study.agreement(language), "pay": study.pay_text(language)}


def _instructions(view: ParticipantView) -> Json:
    tasks = [_task(view, task, view.controls[task.id]) for task in view.study.tasks]
    return {"text": view.study.say(view.study.instructions, view.texts.code), "tasks": tasks}


def _task(view: ParticipantView, task: Task, controls: Controls) -> Json:
    keys = [
        {"codes": list(binding.codes), "label": view.texts.phrase(binding.label)}
        for binding in controls.bindings
    ]
    return {"id": task.id, "name": view.texts.phrase(task.id), "fps": task.fps, "keys": keys}


def _practice(view: ParticipantView) -> Json:
    practice = view.study.practice
    assert practice is not None
    outcome, tasks = view.progress.get("shown"), view.study.practice_tasks
    total = practice.episodes * len(tasks)
    practiced = view.progress.get("practised_tasks", {})
    count = sum(min(int(practiced.get(task, 0)), practice.episodes) for task in tasks)
    counts = outcome and "steps" in outcome and (outcome["success"] or practice.until == "finished")
    task = (outcome or {}).get("task") or view.practice_task
    return {
        "number": min(count + (0 if counts else 1), total),
        "of": total,
        "task": view.texts.phrase(task) if task and len(tasks) > 1 else "",
        "passed": not outcome or task != view.practice_task,
        "until": practice.until,
        "enough": view.practice_task is None,
        "outcome": _outcome(view),
        **_pace(view),
    }


def _check(view: ParticipantView) -> Json:
    study, language = view.study, view.texts.code
    assert study.check is not None
    questions = [
        {
            "ask": study.say(question.ask, language),
            "answers": [study.say(answer, language) for answer in question.answers],
        }
        for question in study.check.questions
    ]
    return {
        "questions": questions,
        "wrong": view.progress.get("wrong"),
        "left": study.check.attempts - int(view.progress.get("attempts", 0)),
        "instructions": _instructions(view),
    }


def _play(view: ParticipantView) -> Json:
    outcome = _outcome(view)
    number = view.episodes_done + (0 if outcome and outcome["reason"] != "broken" else 1)
    return {"number": number, "of": view.study.episodes, "outcome": outcome, **_bonus(view), **_pace(view)}


def _rest(view: ParticipantView) -> Json:
    breaks = view.study.breaks
    text = view.study.say(breaks.text, view.texts.code) if breaks else ""
    return {"number": view.episodes_done, "of": view.study.episodes, "text": text, **_bonus(view)}


def _done(view: ParticipantView) -> Json:
    return {
        "outcome": view.person.outcome,
        "code": view.person.code,
        "back": view.back,
        "number": view.episodes_done,
        "keeps": bool(view.progress.get("keeps")),
        **_pay(view),
    }


def _outcome(view: ParticipantView) -> Json | None:
    """Return the outcome of the last episode; in a baseline without the result."""
    outcome = view.progress.get("shown")
    if not outcome:
        return None
    message = {"instruction": view.texts.phrase(outcome.get("instruction", "")), "reason": outcome["reason"]}
    if view.study.is_baseline and view.person.stage == Stage.PLAY:
        return message
    if outcome.get("points") is not None:
        message["points"] = f"{Decimal(outcome['points']).scaleb(-2):f}"
    return outcome | message


def _pace(view: ParticipantView) -> Json:
    runs = view.phase is Phase.PLAYING
    is_idle = view.is_idle and view.phase is Phase.PAUSED
    return {"secondsLeft": view.seconds_left, "runs": runs, "idle": is_idle}


def _bonus(view: ParticipantView) -> Json:
    """Return the bonus so far; none in a baseline, which tells no results before the end."""
    agreed = view.agreed
    pay = agreed.pay
    if pay is None or pay.bonus is None or view.study.is_baseline:
        return {"bonus": None}
    most = pay.most(agreed.episodes)
    return {"bonus": {"bonus": shown(view.earned, pay.currency), "most": shown(most, pay.currency)}}


def _pay(view: ParticipantView) -> Json:
    """Return the pay of a participant who has completed the study."""
    pay = view.agreed.pay
    if pay is None or view.person.outcome != "completed":
        return {"pay": None}
    sums = {"base": pay.base_units, "total": pay.base_units + view.earned}
    sums |= {"bonus": view.earned} if pay.bonus else {}
    return {"pay": {name: shown(units, pay.currency) for name, units in sums.items()}}


_FIELDS: dict[Stage, Callable[[ParticipantView], Json]] = {
    Stage.CONSENT: _consent,
    Stage.INSTRUCTIONS: _instructions,
    Stage.PRACTICE: _practice,
    Stage.CHECK: _check,
    Stage.PLAY: _play,
    Stage.REST: _rest,
    Stage.DONE: _done,
}
"""Stage → the function that returns its own fields of the `way` message."""
