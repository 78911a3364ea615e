"""Checks of a study across its sections, each valid by itself: names, sums, translations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...console.wording import counted
from ...envs.keys.controls import Controls
from ...envs.preflight import info_notes, try_out
from ...envs.web.browser import close_shared
from ...errors import TutelageError, nearest
from ...foreign_code.trust import Untrusted
from ..recruiting.money import DECIMALS
from ..storage.study_tables import OUTCOMES
from ..translations import language_names, load_texts
from .study import Study
from .study_schema import PLAIN

Complaints = Iterator[str]


def mistakes(study: Study, broken: frozenset[str]) -> list[str]:
    """List the mistakes of a study; checks that need one of its `broken` sections are skipped."""
    problems: list[str] = []
    if "suite" not in broken:
        try:
            _ = study.suite
        except TutelageError as error:
            problems.append(f"at 'suite': {error}")
            broken = broken | {"suite"}
    for needs, check in _CHECKS:
        if not broken & set(needs):
            problems += check(study)
    return problems


def rehearse_study(study: Study) -> tuple[dict[str, Controls], list[str]]:
    """Begin an episode of every task; returns the keys by task, and why people could not play some."""
    controls: dict[str, Controls] = {}
    problems: list[str] = []
    for task in study.tasks:
        if not task.success.is_known:
            problems.append(
                f"at 'tasks.{task.id}': expected a success rule, since people are told and paid by it, got "
                f"none for {task.env}; give the task `success` in its suite"
            )
            continue
        try:
            controls[task.id] = try_out(task, people=True)
            info_notes(task)  # raises if a success rule's place in info is impossible
        except Untrusted:
            raise
        except TutelageError as error:
            message = str(error).removeprefix(f"task {task.id!r}: ")
            problems.append(f"at 'tasks.{task.id}': {message}")
            continue
        for language in study.languages:
            texts = load_texts(language, study.folder, study.words.get(language, {}))
            phrases = [*(binding.label for binding in controls[task.id].bindings), task.instruction]
            missing = sorted({phrase for phrase in phrases if phrase and not texts.knows(phrase)})
            problems += [
                f"at 'words.{language}': expected {phrase!r} of task {task.id} in this language; add it"
                for phrase in missing
            ]
    close_shared()  # other processes show people's pages
    return controls, list(dict.fromkeys(problems))


def _tasks(study: Study) -> Complaints:
    names = [task.id for task in study.suite]
    for name in study.quotas:
        if name not in names:
            yield _unknown(f"tasks.{name}", f"a task of suite {study.suite.name!r}", names, name)


def _quotas(study: Study) -> Complaints:
    quotas = [entry.quota for entry in study.quotas.values()]
    needed = study.people * (study.episodes - study.gold_episodes)
    room = sum(entry or 0 for entry in quotas)
    if quotas and None not in quotas and room < needed:
        yield (
            f"at 'tasks': expected quotas of {needed} in all (people x episodes, gold ones not counted), "
            f"got {room}; raise them, or ask for fewer people or episodes"
        )


def _practice(study: Study) -> Complaints:
    names = [task.id for task in study.suite]
    for name in (study.practice.tasks if study.practice else None) or ():
        if name not in names:
            yield _unknown("practice.tasks", f"tasks of suite {study.suite.name!r}", names, name)


def _gold(study: Study) -> Complaints:
    if study.gold is None:
        return
    for task in study.tasks:
        if task.expert is None:
            yield (
                f"at 'gold': expected an expert for every task, whose length is the best one, got none for "
                f"{task.id!r}; name one in the suite, or leave gold out"
            )
    if study.gold_episodes > study.episodes // 2:
        yield (
            f"at 'gold.share': expected at most half of the episodes, got {study.gold_episodes} of "
            f"{study.episodes}; what is gold is no new demonstration"
        )


def _repeats(study: Study) -> Complaints:
    if study.repeats and study.repeats.people > study.people:
        yield (
            f"at 'repeats.people': expected at most the study's {counted(study.people, 'person')}, "
            f"got {study.repeats.people}"
        )


def _baseline(study: Study) -> Complaints:
    if not study.is_baseline:
        return
    for name, section in (("gold", study.gold), ("repeats", study.repeats)):
        if section is not None:
            yield f"at {name!r}: expected none in a baseline, where all play the same seeds; leave it out"
    if any(entry.quota for entry in study.quotas.values()):
        yield "at 'tasks': expected no quotas in a baseline, where everybody plays the same; leave them out"
    if study.quality and study.quality.ends:
        yield "at 'quality.ends': expected false in a baseline: those who do badly belong to it too"


def _baseline_seeds(study: Study) -> Complaints:
    if study.is_baseline and study.episodes > (room := len(study.tasks) * study.suite.episodes):
        yield (
            f"at 'episodes': expected at most {room} in a baseline (tasks x evaluation.episodes of the "
            f"suite, which policies are measured on), got {study.episodes}"
        )


def _seeds(study: Study) -> Complaints:
    if not study.is_baseline and study.people * study.episodes > study.fresh_seeds:
        yield (
            "at 'people': expected people x episodes to be at most the "
            f"{counted(study.fresh_seeds, 'seed')} that there "
            f"are, got {study.people * study.episodes}"
        )


def _languages(study: Study) -> Complaints:
    spoken = language_names(study.folder)
    for code in study.languages:
        if code not in spoken:
            yield (
                f"at 'languages': expected languages that the pages speak ({', '.join(spoken)}), got {code!r}"
                f"{nearest(code, spoken)}; or translate en.yaml to languages/{code}.yaml beside this file"
            )
    if len(set(study.languages)) < len(study.languages):
        yield f"at 'languages': expected each once, got {', '.join(study.languages)}"
    for code in study.words:
        if code not in study.languages:
            yield _unknown(f"words.{code}", "a language of the study", study.languages, code)


def _consent(study: Study) -> Complaints:
    yield from _text(study, "consent", study.consent, "what people agree to")


def _other_texts(study: Study) -> Complaints:
    yield from _text(study, "title", study.title, plain_will_do=True)
    yield from _text(study, "instructions", study.instructions, "what is to be done")
    if study.breaks:
        yield from _text(study, "breaks.text", study.breaks.text)
    if study.pay:
        yield from _text(study, "pay.text", study.pay.text)


def _check(study: Study) -> Complaints:
    if study.check is None:
        return
    if not study.check.questions:
        yield "at 'check.questions': expected at least one question, got none; ask one, or ask no check"
    ids = study.question_ids
    if twice := [name for name in ids if ids.count(name) > 1]:
        yield f"at 'check.questions': expected another id for each question, got {twice[0]!r} twice"
    for number, question in enumerate(study.check.questions):
        place = f"check.questions.{number}"
        yield from _text(study, f"{place}.ask", question.ask, "what is asked")
        for answer_number, answer in enumerate(question.answers):
            yield from _text(
                study, f"{place}.answers.{answer_number}", answer, "an answer", plain_will_do=True
            )
        if len(question.answers) < 2:
            yield f"at '{place}.answers': expected at least two answers, got {len(question.answers)}"
        if question.correct >= len(question.answers):
            yield (
                f"at '{place}.correct': expected 0 to {len(question.answers) - 1}, the number of an answer, "
                f"got {question.correct}"
            )


def _limits(study: Study) -> Complaints:
    claim = 60 * study.limits.claim_minutes
    for name in ("episode_seconds", "idle_seconds"):
        if (seconds := getattr(study.limits, name)) and seconds > claim:
            yield (
                f"at 'limits.{name}': expected at most {claim:g}, the seconds that a seed is held for, "
                f"got {seconds:g}; raise limits.claim_minutes"
            )


def _pay(study: Study) -> Complaints:
    if study.pay is None:
        return
    if study.pay.bonus and study.pay.bonus.by == "threshold":
        for number in study.pay.bonus.amounts:
            if number > study.episodes:
                yield (
                    f"at 'pay.bonus.amounts': expected numbers of solved tasks up to the {study.episodes} "
                    f"episodes of a person, got {number}"
                )
    if study.recruiting.prolific and DECIMALS[study.pay.currency] != 2:
        yield (
            f"at 'pay.currency': expected a currency of two decimals, which Prolific pays in, "
            f"got {study.pay.currency}"
        )


def _quality(study: Study) -> Complaints:
    if study.quality is None:
        return
    if study.quality.after > study.episodes:
        yield (
            f"at 'quality.after': expected at most the {counted(study.episodes, 'episode')} of a person, "
            f"got {study.quality.after}"
        )
    if study.quality.gold is not None and study.gold is None:
        yield "at 'quality.gold': expected a gold section, which it is about, got none; add one"
    if study.quality.gold is None and study.quality.success is None:
        yield "at 'quality': expected success, gold or both, got neither; say what is required"


def _codes(study: Study) -> Complaints:
    """Require a completion code for each possible outcome, where a panel decides pay by the code."""
    if not study.recruiting.prolific:
        return
    needed = {"completed": True, "declined": True, "failed-check": study.check is not None}
    needed["poor-quality"] = study.quality is not None and study.quality.ends
    needed["timed-out"] = study.limits.session_minutes is not None
    missing = [
        outcome for outcome in OUTCOMES if needed.get(outcome) and outcome not in study.recruiting.codes
    ]
    if missing:
        yield (
            f"at 'recruiting.codes': expected a code of Prolific's for each outcome, got none for "
            f"{', '.join(missing)}; make them there and write them here"
        )


def _text(
    study: Study, place: str, text: Mapping[str, str], about: str = "", plain_will_do: bool = False
) -> Complaints:
    """Check a text: not empty where required, and in all languages of the study only."""
    if not any(sentence.strip() for sentence in text.values()):
        if about:
            yield f"at {place!r}: expected a text, got none; write {about}"
        return
    for code in text:
        if code != PLAIN and code not in study.languages:
            yield _unknown(f"{place}.{code}", "a language of the study", study.languages, code)
    missing = [code for code in study.languages if not text.get(code, "").strip()]
    if PLAIN in text and (plain_will_do or len(study.languages) == 1):
        return
    if missing:
        got = "one sentence" if PLAIN in text else ", ".join(text)
        languages = ", ".join(study.languages)
        yield f"at {place!r}: expected it in {languages}, got {got}; add {', '.join(missing)}"


def _unknown(place: str, expected: str, allowed: list[str] | tuple[str, ...], got: str) -> str:
    return f"at {place!r}: expected {expected} ({', '.join(allowed)}), got {got!r}{nearest(got, allowed)}"


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[Study], Complaints]], ...] = (
    (("suite", "tasks"), _tasks),
    (("people", "episodes", "tasks", "gold"), _quotas),
    (("suite", "practice"), _practice),
    (("suite", "tasks", "gold", "episodes"), _gold),
    (("repeats", "people"), _repeats),
    (("mode", "tasks", "gold", "repeats", "quality"), _baseline),
    (("mode", "suite", "tasks", "episodes"), _baseline_seeds),
    (("mode", "people", "episodes"), _seeds),
    (("languages", "words"), _languages),
    (("languages", "consent"), _consent),
    (("languages", "title", "instructions", "breaks", "pay"), _other_texts),
    (("languages", "check"), _check),
    (("limits",), _limits),
    (("pay", "episodes", "recruiting"), _pay),
    (("quality", "episodes", "gold"), _quality),
    (("recruiting", "check", "quality", "limits"), _codes),
)
"""The sections that a check needs, and the check."""
