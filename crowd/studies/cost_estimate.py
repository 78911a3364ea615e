"""Rough estimate of a study's size before it starts: people, episodes, hours and pay."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ...console.wording import counted
from ...envs.experts import make_expert
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..recruiting.money import shown
from .study import Study

_SECONDS_A_KEY = 0.7  # time per key of an unhurried person in a turn-based task
_SECONDS_BETWEEN = 3.0
_READING_SECONDS = 180.0
_SAMPLED = 5


def estimate_cost(study: Study) -> dict[str, str]:
    """Return the estimate as topic → text. Hours are rough: see `guess_minutes`."""
    minutes = guess_minutes(study)
    tasks = [
        task.id + (f" ({study.quotas[task.id].quota})" if _quota(study, task) else "") for task in study.tasks
    ]
    rows = {
        "study": f"{study.name}, {'a human baseline' if study.is_baseline else 'demonstrations'}",
        "tasks": ", ".join(tasks),
        "people": f"{study.people}, {counted(study.episodes, 'episode')} each: "
        f"{study.people * study.episodes} in all",
        "time": f"at a guess {minutes:.0f} minutes a person, {study.people * minutes / 60:.0f} hours in all",
        "languages": ", ".join(study.languages),
        "consent": ", ".join(
            f"{language} {study.consent_version(language)[:12]}" for language in study.languages
        ),
    }
    if study.gold:
        rows["gold"] = f"{study.gold_episodes} of each person's episodes"
    if study.pay:
        base, currency = study.pay.base_units, study.pay.currency
        maximum = study.people * (base + study.pay.most(study.episodes))
        rows["pay"] = (
            f"{shown(study.people * base, currency)}, with every bonus {shown(maximum, currency)}; "
            f"{shown(int(60 * base / minutes), currency)} an hour at the least"
        )
        rows["bonus"] = _bonus(study)
    return rows


def _bonus(study: Study) -> str:
    """Return the bonus rule as participants read it, in the study's first language."""
    pay = study.pay
    if pay is None or pay.bonus is None:
        return "none"
    rule = pay.bonus.paragraphs(study.texts(study.languages[0]), pay.currency, study.episodes)
    return " ".join(" ".join(rule).split())


def cost_table(study: Study) -> Table:
    """Make the table of the estimate."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in estimate_cost(study).items():
        table.add_row(Text(name, style="bold"), text)
    return table


def guess_minutes(study: Study) -> float:
    """Estimate a person's minutes: reading, and episodes as long as the expert's, or half their limit."""
    seconds = [_episode_seconds(task) for task in study.tasks]
    limit = study.limits.episode_seconds or float("inf")
    mean = sum(min(episode_seconds, limit) for episode_seconds in seconds) / len(seconds)
    practice = study.practice.episodes * len(study.practice_tasks) if study.practice else 0
    return (_READING_SECONDS + (study.episodes + practice) * (mean + _SECONDS_BETWEEN)) / 60


def _episode_seconds(task: Task) -> float:
    environment = TaskEnv(task)
    try:
        steps = [_steps(task, environment, seed) for seed in range(_SAMPLED)]
    finally:
        environment.close()
    return sum(steps) / len(steps) / (task.fps or 1 / _SECONDS_A_KEY)


def _steps(task: Task, environment: TaskEnv, seed: int) -> float:
    step, steps = environment.reset(seed), 0
    if task.expert is None:
        return environment.limit / 2
    expert = make_expert(task, environment)
    expert.reset()
    while not step.done and (action := expert.act()) is not None:
        step, steps = environment.step(action), steps + 1
    return steps


def _quota(study: Study, task: Task) -> bool:
    return task.id in study.quotas and study.quotas[task.id].quota is not None
