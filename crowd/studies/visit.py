"""One person's way through a study, from consent to thank-you; the guide of a study's seats.

Wherever somebody is, it is on disk before their page is told: a reload, a lost network, a closed laptop or a
killed server leads back to the very same step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from ..recruiting.agreed_pay import AgreedPay, agreed_pay, note_of
from ..seats.protocol import (
    CheckAnswers,
    ChooseLanguage,
    Command,
    Consent,
    DeviceInfo,
    Message,
    PageHidden,
    Withdraw,
)
from ..seats.session import OPEN_PHASES, Phase, Session
from ..storage.study_tables import PersonRecord
from .playing import Playing
from .study_context import StudyContext
from .watchfulness import Watchfulness
from .way import way_messages


class Visit:
    """Leads one person; a `Flow`. `changing` is the seat's: what is done on a timer is done inside it.

    `progress` is what the stages need to be taken up again: when the session `began`, the version of the
    `consent` and the pay that was `agreed` with it, `practised_tasks` (task → practice episodes done),
    `attempts` at the check and answers `wrong` in the last, at which episode one has `rested`, how many were
    `broken` in a row, whether the requirement `falls_short`, whether who leaves `keeps` what they did, and
    `shown`, the outcome that waits for a "next".
    """

    def __init__(self, session: Session, house: StudyContext, person: PersonRecord) -> None:
        self.session = session
        self.house = house
        self.study = house.study
        self.person = person
        self.progress: dict[str, Any] = dict(person.progress)
        self.texts = house.texts(person.language)
        self.back = ""
        self.changing: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
        self.playing = Playing(self)
        self.watch = Watchfulness(self)

    @property
    def is_over(self) -> bool:
        """Say whether this person's way has come to its end."""
        return self.person.outcome != ""

    @property
    def must_wait(self) -> str | None:
        """Return the reason why this person may begin nothing now; None when they may."""
        standing = self.house.standing
        return standing.reason if standing.paused else standing.waiting.get(self.person.person)

    @property
    def agreed(self) -> AgreedPay:
        """The pay that this person has agreed to."""
        return agreed_pay(self.progress, self.study)

    @property
    def is_waiting(self) -> bool:
        """Say whether this person is at the tasks and has none: the study is paused."""
        plays = self.person.stage in ("practice", "play") and not self.is_over
        return plays and self.session.episode is None and not self.progress.get("shown")

    async def arrive(self) -> None:
        person = await self.house.in_thread(lambda: self.house.ledger.person(person=self.person.person))
        if person is not None:
            self.person, self.progress = person, dict(person.progress)
            self.texts = self.house.texts(person.language)
        await self.playing.count()
        self.watch.note_activity()
        if self.person.outcome == "full" and await self.house.in_thread(self.house.has_room):
            await self.save(stage="consent", outcome="", code="", ended=None)
        if self.is_over:
            await self.house.in_thread(self.house.abandon_all, self.person.seat)
            self.back = await self.house.in_thread(self.house.where_back, self.person)
        await self.go_on()

    async def answer(self, message: Message) -> bool:
        """Do what the page asks for; what does not fit the stage comes too late, and is passed over."""
        self.watch.note_activity()
        stage = self.person.stage
        match message:
            case PageHidden():
                self.playing.hidden_ms += message.ms
            case DeviceInfo() if stage not in ("consent", "done"):
                told = message.model_dump(exclude={"type"})
                await self.house.in_thread(self.house.note_device, self.person, told)
            case ChooseLanguage() if message.code in self.study.languages:
                self.texts = self.house.texts(message.code)
                await self.save(language=message.code)
            case Withdraw() if stage not in ("consent", "done"):
                await self._withdraw(message.keep)
            case Consent() if stage == "consent":
                await self._consent(message.given)
            case Command(type="ready") if stage == "instructions":
                await self._to(self._after(stage))
            case CheckAnswers() if stage == "check":
                await self._check(message.chosen)
            case Command(type="next") if stage in ("practice", "play", "rest"):
                await self._next()
            case Command(type="discard") if self.session.phase in OPEN_PHASES:
                await self.playing.over("given-up")
            case Command() | Consent() | CheckAnswers() | Withdraw() | ChooseLanguage() | DeviceInfo():
                pass
            case _:
                return False
        return True

    async def finished(self) -> None:
        if self.session.phase is Phase.CHOOSING:
            await self.playing.pass_over("its environment failed")
        else:
            await self.playing.over("")

    def tell(self) -> list[dict[str, Any]]:
        return way_messages(self)

    async def go_on(self) -> None:
        """Begin or take up what the stage asks for, if nothing is underway; may be called at any time."""
        if self.is_over:
            await self.playing.stop()
        elif self.is_waiting and self.must_wait is None:
            await self.playing.begin()

    async def save(self, **values: Any) -> None:
        """Write down where the person is, and change columns of their row; on disk when this returns."""
        change = {**values, "progress": dict(self.progress), "seen": self.house.clock()}
        await self.house.in_thread(lambda: self.house.ledger.change(self.person.person, **change))
        self.person = replace(self.person, **change)

    async def end(self, outcome: str, decision: str = "", answered: Sequence[Mapping[str, Any]] = ()) -> None:
        """End a participant's way; it is on disk, with their completion code, before they are told.

        A `decision` about what they had agreed to, and their last answers, are written with it.
        """
        self.progress.pop("shown", None)
        version = str(self.progress.get("consent") or self.study.consent_version(self.texts.code))
        code = self.study.recruiting.code(outcome, self.person.source)
        change: dict[str, Any] = {"stage": "done", "outcome": outcome, "code": code}
        change |= {"ended": self.house.clock(), "progress": dict(self.progress)}
        await self.house.in_thread(
            lambda: self.house.end(self.person, decision, version, self.texts.code, answered, **change)
        )
        self.person = replace(self.person, **change)
        await self.playing.stop()
        await self.playing.count()  # whoever wanted it removed has played nothing
        self.back = await self.house.in_thread(self.house.where_back, self.person)

    async def _to(self, stage: str) -> None:
        self.progress.pop("shown", None)
        await self.save(stage=stage)
        await self.go_on()

    def _after(self, stage: str) -> str:
        way = ["consent", "instructions"]
        way += ["practice"] if self.study.practice else []
        way += ["check"] if self.study.check else []
        return [*way, "play"][way.index(stage) + 1]

    async def _consent(self, given: bool) -> None:
        if not given:
            await self.end("declined", "declined")
            return
        language, version = self.texts.code, self.study.consent_version(self.texts.code)
        progress = {**self.progress, "began": self.house.clock(), "consent": version}
        progress["agreed"] = note_of(self.study)
        change: dict[str, Any] = {"stage": "instructions", "progress": progress}
        if await self.house.in_thread(lambda: self.house.let_in(self.person, version, language, **change)):
            self.person, self.progress = replace(self.person, **change), dict(progress)
        else:
            await self.end("full")

    async def _check(self, chosen: tuple[int, ...]) -> None:
        assert self.study.check is not None
        right = [question.correct for question in self.study.check.questions]
        if len(chosen) != len(right):
            return
        wrong = sum(one != other for one, other in zip(chosen, right, strict=True))
        attempt = int(self.progress.get("attempts", 0)) + 1
        progress = {**self.progress, "attempts": attempt, "wrong": wrong}
        progress.pop("shown", None)
        change: dict[str, Any] = {"progress": progress, "stage": "check" if wrong else "play"}
        answered = self.house.answer_rows(self.person, chosen, right, attempt, self.texts.code)
        if wrong and attempt >= self.study.check.attempts:
            self.progress = progress
            await self.end("failed-check", answered=answered)
            return
        await self.house.in_thread(lambda: self.house.answered(self.person, answered, **change))
        self.person, self.progress = replace(self.person, **change), dict(progress)
        await self.go_on()

    async def _next(self) -> None:
        """Go on after an outcome or a rest; a second "next" for the same one does nothing."""
        if self.person.stage == "rest":
            self.progress["rested"] = self.playing.done
            await self._to("play")
        elif self.progress.get("shown") and self.person.stage == "practice":
            await self._to(self._after("practice") if self.playing.has_practised else "practice")
        elif self.progress.get("shown"):
            await self._to("rest" if self._is_tired() else "play")

    def _is_tired(self) -> bool:
        every, done = self.study.breaks.every if self.study.breaks else 0, self.playing.done
        is_due = bool(every) and 0 < done < self.study.episodes and done % every == 0
        return is_due and self.progress.get("rested") != done

    async def _withdraw(self, keep: bool) -> None:
        self.progress["keeps"] = keep
        await self.end("withdrew", "withdrawn")
        if not keep:
            self.house.remove(self.person.person)
