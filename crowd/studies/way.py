"""What the page of a study is told: everything that draws the present stage, in the person's language."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...envs.keys.controls import Controls
from ...envs.task import Task
from ..recruiting.money import shown
from ..seats.session import OPEN_PHASES, Phase
from ..translations import language_names

if TYPE_CHECKING:
    from .visit import Visit

Told = dict[str, Any]


def way_messages(visit: Visit) -> list[Told]:
    """Return what a visit adds to the `state` message, and its `way` message."""
    title = visit.study.say(visit.study.title, visit.texts.code) or visit.study.name
    choices = ["discard"] if visit.session.phase in OPEN_PHASES else []
    return [
        {"type": "state", "suite": title, "study": True, "choices": choices, "outcome": None},
        _way(visit, title),
    ]


def _way(visit: Visit, title: str) -> Told:
    person, study = visit.person, visit.study
    names = language_names(study.folder)
    told: Told = {
        "type": "way",
        "stage": person.stage,
        "title": title,
        "person": person.person,
        "language": visit.texts.code,
        "languages": {code: names[code] for code in study.languages},
        "stages": ["consent", "instructions", *_present(visit), "play"],
        "waiting": (visit.must_wait or "") if visit.is_waiting and visit.must_wait is not None else None,
    }
    draw = {
        "consent": _consent,
        "instructions": _instructions,
        "practice": _practice,
        "check": _check,
        "play": _play,
        "rest": _rest,
        "done": _done,
    }[person.stage]
    return told | draw(visit)


def _present(visit: Visit) -> list[str]:
    wanted = {"practice": visit.study.practice, "check": visit.study.check}
    return [name for name, section in wanted.items() if section is not None]


def _consent(visit: Visit) -> Told:
    study, language = visit.study, visit.texts.code
    return {"text": study.agreement(language), "pay": study.pay_text(language)}


def _instructions(visit: Visit) -> Told:
    tasks = [_task(visit, one, visit.house.controls[one.id]) for one in visit.study.tasks]
    return {"text": visit.study.say(visit.study.instructions, visit.texts.code), "tasks": tasks}


def _task(visit: Visit, task: Task, controls: Controls) -> Told:
    keys = [
        {"codes": list(one.codes), "label": visit.texts.phrase(one.label)} for one in controls.bindings
    ]  # fmt: skip
    return {"id": task.id, "name": visit.texts.phrase(task.id), "fps": task.fps, "keys": keys}


def _outcome(visit: Visit) -> Told | None:
    """Return the outcome that is shown; in a baseline nobody is told how they did."""
    outcome = visit.progress.get("shown")
    if not outcome:
        return None
    told = {"instruction": visit.texts.phrase(outcome.get("instruction", "")), "reason": outcome["reason"]}
    if visit.study.is_baseline and visit.person.stage == "play":
        return told
    if outcome.get("points") is not None:
        told["points"] = f"{Decimal(outcome['points']).scaleb(-2):f}"
    return outcome | told


def _practice(visit: Visit) -> Told:
    practice = visit.study.practice
    assert practice is not None
    outcome, tasks, playing = visit.progress.get("shown"), visit.study.practice_tasks, visit.playing
    total = practice.episodes * len(tasks)
    done = sum(min(playing.practised(task), practice.episodes) for task in tasks)
    counts = outcome and "steps" in outcome and (outcome["success"] or practice.until == "finished")
    task = (outcome or {}).get("task") or playing.practice_task
    return {
        "number": min(done + (0 if counts else 1), total),
        "of": total,
        "task": visit.texts.phrase(task) if task and len(tasks) > 1 else "",
        "passed": not outcome or task != playing.practice_task,
        "until": practice.until,
        "enough": playing.has_practised,
        "outcome": _outcome(visit),
        **_pace(visit),
    }


def _check(visit: Visit) -> Told:
    study, language = visit.study, visit.texts.code
    assert study.check is not None
    questions = [
        {
            "ask": study.say(one.ask, language),
            "answers": [study.say(answer, language) for answer in one.answers],
        }
        for one in study.check.questions
    ]
    return {
        "questions": questions,
        "wrong": visit.progress.get("wrong"),
        "left": study.check.attempts - int(visit.progress.get("attempts", 0)),
        "instructions": _instructions(visit),
    }


def _play(visit: Visit) -> Told:
    outcome = _outcome(visit)
    number = visit.playing.done + (0 if outcome and outcome["reason"] != "broken" else 1)
    return {"number": number, "of": visit.study.episodes, "outcome": outcome, **_bonus(visit), **_pace(visit)}


def _bonus(visit: Visit) -> Told:
    """Return the bonus so far; nothing in a baseline, where nobody is told how they did before the end."""
    agreed = visit.agreed
    pay = agreed.pay
    if pay is None or pay.bonus is None or visit.study.is_baseline:
        return {"bonus": None}
    most = pay.most(agreed.episodes)
    return {"bonus": {"bonus": shown(visit.playing.earned, pay.currency), "most": shown(most, pay.currency)}}


def _pay(visit: Visit) -> Told:
    """Return what a participant is paid who has completed the study."""
    pay = visit.agreed.pay
    if pay is None or visit.person.outcome != "completed":
        return {"pay": None}
    sums = {"base": pay.base_units, "total": pay.base_units + visit.playing.earned}
    sums |= {"bonus": visit.playing.earned} if pay.bonus else {}
    return {"pay": {name: shown(units, pay.currency) for name, units in sums.items()}}


def _pace(visit: Visit) -> Told:
    runs = visit.session.phase is Phase.PLAYING
    is_idle = visit.watch.is_idle and visit.session.phase is Phase.PAUSED
    return {"secondsLeft": visit.watch.seconds_left, "runs": runs, "idle": is_idle}


def _rest(visit: Visit) -> Told:
    breaks = visit.study.breaks
    text = visit.study.say(breaks.text, visit.texts.code) if breaks else ""
    return {"number": visit.playing.done, "of": visit.study.episodes, "text": text, **_bonus(visit)}


def _done(visit: Visit) -> Told:
    return {
        "outcome": visit.person.outcome,
        "code": visit.person.code,
        "back": visit.back,
        "number": visit.playing.done,
        "keeps": bool(visit.progress.get("keeps")),
        **_pay(visit),
    }
