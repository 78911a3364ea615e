"""A participant of a study as a state machine, from consent to the completion code; a `Flow` of seats.

`participant_table.TRANSITIONS` says what happens in which stage at which event. The stage is on disk before
the page is told, so that a reload, a lost network or a killed server leads back to the same step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from ...errors import TutelageError
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
from ..seats.session import PRACTICE as PRACTICE_ROLE
from ..storage.journal_records import EpisodeRecord
from ..storage.study_tables import PersonRecord, Stage
from .episode_records import conduct_row, counted
from .participant_table import CHECK, CLOCK, CONSENT, DONE, INSTRUCTIONS, PLAY, PRACTICE, ROWS, Event
from .participant_view import ParticipantView, page_messages
from .percentile import better_than, falls_short
from .seed_claims import SeedClaim
from .study_context import StudyContext

_MOST_FAILURES = 3
"""After so many failed environments in a row, a task is practiced enough, and the study is completed."""


class Participant:
    """Leads a participant through a study by the table `participant_table.TRANSITIONS`.

    `changing` is the seat's lock: events of the clock are handled inside it. `progress` is what the stages
    need to be continued: when the session `began`, the version of the `consent` and the `agreed` pay,
    `practised_tasks` (task → practice episodes done), `attempts` at the check and `wrong` answers in the
    last, the number of episodes at the last rest (`rested`), how many environments failed in a row
    (`broken`), whether the quality `falls_short`, whether a participant who withdrew `keeps` their episodes,
    and `shown`, the outcome that waits for "next".
    """

    def __init__(self, session: Session, context: StudyContext, person: PersonRecord) -> None:
        self.session = session
        self.context = context
        self.study = context.study
        self.person = person
        self.progress: dict[str, Any] = dict(person.progress)
        self.texts = context.texts(person.language)
        self.back = ""
        self.changing: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
        self.claim: SeedClaim | None = None
        """The seed that the participant holds."""
        self.episodes_done = 0
        """The number of their episodes that count."""
        self.earned = 0
        """Their bonus so far, in minor units."""
        self.hidden_ms = 0
        """For how long the page was hidden during the open episode."""
        self.is_idle = False
        """Whether play waits because the participant was inactive."""
        self._active = context.steady()
        self._renewed = self._active
        self._counted_steps: tuple[str, int] = ("", 0)
        self._last_wait: str | None = None

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return Stage(self.person.stage)

    @property
    def is_over(self) -> bool:
        """Say whether the participant has an outcome."""
        return self.person.outcome != ""

    @property
    def agreed(self) -> AgreedPay:
        """The pay that the participant has agreed to."""
        return agreed_pay(self.progress, self.study)

    @property
    def must_wait(self) -> str | None:
        """Return the reason of the pause that keeps the participant from a new episode; None without one."""
        moderation = self.context.moderation
        return moderation.reason if moderation.paused else moderation.waiting.get(self.person.person)

    @property
    def is_waiting(self) -> bool:
        """Say whether nothing is underway in a stage with episodes: before BEGIN, or in a pause."""
        has_episodes = self.stage in (PRACTICE, PLAY) and not self.is_over
        return has_episodes and self.session.episode is None and not self._outcome_is_shown()

    @property
    def practice_task(self) -> str | None:
        """The task to be practiced now; None once the practice is over."""
        episodes = self.study.practice.episodes if self.study.practice else 0
        tasks = self.study.practice_tasks
        return next((task for task in tasks if self._practiced(task) < episodes), None)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the open episode may still be played; None without a limit."""
        limit = self.study.limits.episode_seconds
        if limit is None or self.session.episode is None:
            return None
        return max(0.0, limit - self.session.milliseconds / 1000)

    # Flow: what a seat calls

    async def arrive(self) -> None:
        context = self.context
        person = await context.in_thread(lambda: context.database.person(person=self.person.person))
        if person is not None:
            self.person, self.progress = person, dict(person.progress)
            self.texts = context.texts(person.language)
        await self._count_episodes()
        self._note_activity()
        if self._was_full() and await context.in_thread(context.has_room):
            await self._handle(Event.PLACE_FREE)
        if self.is_over:
            await context.in_thread(context.abandon_all, self.person.seat)
            self.back = await context.in_thread(context.where_back, self.person)
        await self._go_on()

    async def answer(self, message: Message) -> bool:
        """Handle a message of the page; False for a type that is not a study's."""
        self._note_activity()
        match message:
            case PageHidden():
                await self._handle(Event.PAGE_HIDDEN, message.ms)
            case DeviceInfo():
                await self._handle(Event.DEVICE, message.model_dump(exclude={"type"}))
            case ChooseLanguage():
                await self._handle(Event.LANGUAGE, message.code)
            case Consent():
                await self._handle(Event.AGREE if message.given else Event.DECLINE)
            case Command(type="ready"):
                await self._handle(Event.READY)
            case CheckAnswers():
                await self._handle(Event.ANSWERS, message.chosen)
            case Command(type="next"):
                await self._handle(Event.NEXT)
            case Command(type="discard"):
                await self._handle(Event.DISCARD)
            case Withdraw():
                await self._handle(Event.WITHDRAW, message.keep)
            case Command():
                pass
            case _:
                return False
        return True

    async def finished(self) -> None:
        if self.session.phase is Phase.CHOOSING:
            await self._handle(Event.ENVIRONMENT_FAILED, "its environment failed")
        else:
            await self._handle(Event.EPISODE_FINISHED)

    def tell(self) -> list[dict[str, Any]]:
        view = ParticipantView(
            study=self.study,
            person=self.person,
            texts=self.texts,
            progress=self.progress,
            phase=self.session.phase,
            controls=self.context.controls,
            waiting=self.must_wait if self.is_waiting else None,
            episodes_done=self.episodes_done,
            earned=self.earned,
            practice_task=self.practice_task,
            seconds_left=self.seconds_left,
            is_idle=self.is_idle,
            back=self.back,
        )
        return page_messages(view)

    # the clock

    async def tick(self) -> None:
        """Handle the event of the clock that is due, if any."""
        if (work := self.due()) is not None:
            await work()

    def due(self) -> Callable[[], Awaitable[None]] | None:
        """Return what handles the event of the clock that is due; mostly None. Cheap: called each second."""
        if self.is_over:
            return None
        self._note_steps()
        event = next((event for event, conditions in CLOCK if self._hold(conditions)), None)
        return None if event is None else partial(self._handle_due, event)

    async def _handle_due(self, event: Event) -> None:
        if event is Event.RENEW_CLAIM:  # writes to the database alone: play must not wait for it
            await self._handle(event)
            return
        async with self.changing():
            await self._handle(event)

    # the state machine

    async def _handle(self, event: Event, *content: Any) -> None:
        """Run the row of the table that applies to an event; without one, do nothing."""
        for row in ROWS[self.stage, event]:
            if self._hold(row.when, *content):
                if row.do:
                    action, *arguments = row.do
                    await getattr(self, action)(*content, *arguments)
                else:
                    await self._move_to(row.to[0])
                return

    def _hold(self, guards: Sequence[str], *content: Any) -> bool:
        return all(getattr(self, guard)(*content) for guard in guards)

    async def _move_to(self, stage: Stage) -> None:
        self.progress.pop("shown", None)
        await self._save(stage=stage.value)
        await self._go_on()

    async def _go_on(self) -> None:
        """Begin or continue an episode if the stage asks for one and none is underway."""
        if self.is_over:
            await self._stop()
        elif self.is_waiting and self.must_wait is None:
            await self._handle(Event.BEGIN)

    async def _save(self, **values: Any) -> None:
        """Write the progress, and `values` of the participant's row; on disk when this returns."""
        change = {**values, "progress": dict(self.progress), "seen": self.context.clock()}
        await self.context.in_thread(lambda: self.context.database.change(self.person.person, **change))
        self.person = replace(self.person, **change)

    async def _end(
        self, outcome: str, decision: str = "", answer_rows: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Move to DONE with an outcome and its completion code; on disk when this returns.

        The `decision` about the consent and the last answers are written in the same transaction.
        """
        self.progress.pop("shown", None)
        version = str(self.progress.get("consent") or self.study.consent_version(self.texts.code))
        code = self.study.recruiting.code(outcome, self.person.source)
        change: dict[str, Any] = {"stage": DONE.value, "outcome": outcome, "code": code}
        change |= {"ended": self.context.clock(), "progress": dict(self.progress)}
        await self.context.in_thread(
            lambda: self.context.end(self.person, decision, version, self.texts.code, answer_rows, **change)
        )
        self.person = replace(self.person, **change)
        await self._stop()
        await self._count_episodes()  # a withdrawal may have removed them
        self.back = await self.context.in_thread(self.context.where_back, self.person)

    async def _stop(self) -> None:
        """Give up the open episode, and close the environment."""
        if self._episode_is_open():
            await self.session.leave("abandoned")
        await self.session.close()
        self.claim = None

    # guards of the table

    def _has_practice(self) -> bool:
        return self.study.practice is not None

    def _has_check(self) -> bool:
        return self.study.check is not None

    def _outcome_is_shown(self) -> bool:
        return bool(self.progress.get("shown"))

    def _practice_remains(self) -> bool:
        return self.practice_task is not None

    def _is_complete(self, chosen: tuple[int, ...]) -> bool:
        return self.study.check is not None and len(chosen) == len(self.study.check.questions)

    def _rest_is_due(self) -> bool:
        every, played = self.study.breaks.every if self.study.breaks else 0, self.episodes_done
        is_due = bool(every) and 0 < played < self.study.episodes and played % every == 0
        return is_due and self.progress.get("rested") != played

    def _was_full(self) -> bool:
        return self.person.outcome == "full"

    def _all_are_played(self) -> bool:
        return self.episodes_done >= self.study.episodes

    def _is_offered(self, language: str) -> bool:
        return language in self.study.languages

    def _episode_is_open(self) -> bool:
        return self.session.phase in OPEN_PHASES

    def _is_playing(self) -> bool:
        return self.session.phase is Phase.PLAYING

    def _play_is_stopped(self) -> bool:
        return not self._is_playing()

    def _is_overdue(self) -> bool:
        return self._episode_is_open() and self.seconds_left == 0

    def _is_inactive(self) -> bool:
        limit = self.study.limits.idle_seconds
        return self._is_playing() and limit is not None and self.context.steady() - self._active >= limit

    def _session_time_is_up(self) -> bool:
        minutes = self.study.limits.session_minutes
        began = float(self.progress.get("began", 0))
        return minutes is not None and began > 0 and self.context.clock() >= began + 60 * minutes

    def _is_banned(self) -> bool:
        return self.context.moderation.of(self.person.person) == "banned"

    def _was_ended_elsewhere(self) -> bool:
        return self.person.person in self.context.moderation.ended

    def _wait_has_changed(self) -> bool:
        has_changed = self.must_wait != self._last_wait
        return has_changed or (self.is_waiting and self.must_wait is None)

    def _claim_is_old(self) -> bool:
        """Say whether an active participant's claim has used a quarter of its time."""
        period = 60 * self.study.limits.claim_minutes
        is_old = self.context.steady() - self._renewed >= period / 4
        return self.claim is not None and is_old and self._active > self._renewed

    # actions of the table: the way through the study

    async def _admit(self) -> None:
        """Move to INSTRUCTIONS and write the consent, in one transaction; end as "full" without a place."""
        language, version = self.texts.code, self.study.consent_version(self.texts.code)
        progress = {**self.progress, "began": self.context.clock(), "consent": version}
        progress["agreed"] = note_of(self.study)
        change: dict[str, Any] = {"stage": INSTRUCTIONS.value, "progress": progress}
        admit = partial(self.context.let_in, self.person, version, language, **change)
        if await self.context.in_thread(admit):
            self.person, self.progress = replace(self.person, **change), dict(progress)
        else:
            await self._end("full")

    async def _check_answers(self, chosen: tuple[int, ...]) -> None:
        """Write an attempt at the check: on to PLAY, another attempt, or the end after the last."""
        assert self.study.check is not None
        correct = [question.correct for question in self.study.check.questions]
        wrong = sum(answer != right for answer, right in zip(chosen, correct, strict=True))
        attempt = int(self.progress.get("attempts", 0)) + 1
        progress = {**self.progress, "attempts": attempt, "wrong": wrong}
        progress.pop("shown", None)
        change: dict[str, Any] = {"progress": progress, "stage": (CHECK if wrong else PLAY).value}
        rows = self.context.answer_rows(self.person, chosen, correct, attempt, self.texts.code)
        if wrong and attempt >= self.study.check.attempts:
            self.progress = progress
            await self._end("failed-check", answer_rows=rows)
            return
        await self.context.in_thread(lambda: self.context.answered(self.person, rows, **change))
        self.person, self.progress = replace(self.person, **change), dict(progress)
        await self._go_on()

    async def _end_rest(self) -> None:
        self.progress["rested"] = self.episodes_done
        await self._move_to(PLAY)

    async def _withdraw(self, keep: bool) -> None:
        self.progress["keeps"] = keep
        await self._end("withdrew", "withdrawn")
        if not keep:
            self.context.remove(self.person.person)

    async def _return_to_consent(self) -> None:
        await self._save(stage=CONSENT.value, outcome="", code="", ended=None)

    # actions of the table: episodes

    async def _begin_practice(self) -> None:
        """Continue the practice episode that was left open, or begin one of the next task."""
        task = self.practice_task
        assert task is not None
        context, seat = self.context, self.session.seat.seat
        for record in await context.in_thread(context.episodes, seat, "open", "finished"):
            if record.role == PRACTICE_ROLE and await self._take_up(record):
                return
        closed = await context.in_thread(context.episodes, seat, "discarded", "abandoned")
        number = sum(record.role == PRACTICE_ROLE for record in closed)
        seed = context.claims.practice_seed(self.person.person, number)
        await self._enter(task, seed, PRACTICE_ROLE)

    async def _begin_episode(self) -> None:
        """Claim a seed, and begin its episode or continue it where it was left; complete without a seed."""
        self.claim = await self.context.in_thread(self.context.claims.take, self.person.person)
        if self.claim is None:  # every episode that the study asks for has been played
            await self._end("completed")
        else:
            await self._play(self.claim)

    async def _play(self, claim: SeedClaim) -> None:
        context, seat = self.context, self.session.seat.seat
        context.bests.prepare(claim.task, claim.seed)
        for record in await context.in_thread(context.episodes, seat, "kept", "stored"):
            if record.episode == claim.episode:  # a crash came between its end and its row
                await context.in_thread(context.settle, claim, record)
                await self._count_episodes()
                await self._handle(Event.BEGIN)
                return
        for record in await context.in_thread(context.episodes, seat, "open", "finished"):
            is_claimed = (record.task, record.seed, record.role) == (claim.task, claim.seed, claim.role)
            if not is_claimed and record.state == "open":
                await context.in_thread(context.abandon, record)
                continue
            self.claim = claim if is_claimed else None
            if is_claimed and claim.episode != record.episode:  # a crash came before it was noted
                claim = self.claim = replace(claim, episode=record.episode)
                await context.in_thread(context.claims.renew, claim, record.episode)
            if await self._take_up(record):
                return
            self.claim = claim
        if await self._enter(claim.task, claim.seed, claim.role) and self.session.episode:
            await context.in_thread(context.claims.renew, claim, self.session.episode.record.episode)

    async def _take_up(self, record: EpisodeRecord) -> bool:
        """Continue an episode of the journal; False if that cannot be."""
        is_open = await self.session.take_up(record)
        if self.session.notices:  # details of a torn journal concern whoever runs the study
            self.session.notices[:] = [self.texts.say("notice.resumed")]
        if is_open and self.session.phase is Phase.FINISHED:
            await self._handle(Event.EPISODE_FINISHED)
        return is_open

    async def _enter(self, task: str, seed: int, role: str) -> bool:
        """Begin an episode; False if its environment failed, which is handled."""
        self.hidden_ms = 0
        self._note_activity()
        consent = str(self.progress.get("consent", ""))
        self.session.number, self.session.target = self.episodes_done + 1, self.study.episodes
        try:
            await self.session.enter(task, seed, role=role, study=self.study.name, consent=consent)
        except TutelageError as error:
            await self._handle(Event.ENVIRONMENT_FAILED, str(error))
            return False
        return True

    async def _close_episode(self, reason: str = "") -> None:
        """Keep the open episode, write its row and show its outcome.

        With a `reason` it ends early, as a failure: "time" or "given-up".
        """
        episode, session, progress = self.session.episode, self.session, self.progress
        if episode is None:
            return
        in_time = session.phase is Phase.FINISHED
        row = conduct_row(
            episode.record,
            episode.steps,
            episode.task,
            success=bool(episode.success) and in_time,
            reactions_ms=episode.reactions_ms,
            lags_ms=episode.lags_ms,
            hidden_ms=self.hidden_ms,
        )
        await (session.keep() if in_time else session.give_up())
        progress["broken"] = 0
        progress["shown"] = {name: row[name] for name in ("success", "steps", "seconds")}
        progress["shown"] |= {"reason": reason, "instruction": episode.instruction}
        pay = self.agreed.pay
        if pay and pay.bonus and pay.bonus.by == "score":
            progress["shown"]["points"] = row["points"]
        if row["role"] == PRACTICE_ROLE:
            practice = self.study.practice
            if row["success"] or (practice is not None and practice.until == "finished"):
                self._count_practice(row["task"])
            progress["shown"]["task"] = row["task"]
            await self._save()
        else:
            await self._write_episode(row)

    async def _write_episode(self, row: dict[str, Any]) -> None:
        """Write the row of an episode that counts; end the participation if the quality falls short."""
        context = self.context
        row["expert_steps"] = await context.bests.of(row["task"], row["seed"])
        if self.study.has_score:
            self.progress["shown"]["better"] = await context.in_thread(better_than, context.database, row)
        rows = await context.in_thread(context.write, self.person, row, self.claim, self.progress)
        self._count_rows(rows)
        self.claim = None
        shortfall = falls_short(rows, self.study)
        if shortfall and not self.progress.get("falls_short"):
            self.progress["falls_short"] = True
            await context.in_thread(context.note, "falls-short", self.person, shortfall)
            assert self.study.quality is not None
            await (self._end("poor-quality") if self.study.quality.ends else self._save())

    async def _skip_episode(self, reason: str) -> None:
        """Show that an episode could not be played; its seed is assigned to nobody again."""
        claim, self.claim = self.claim, None
        failures = self.progress.get("broken", 0) + 1
        self.progress |= {"broken": failures, "shown": {"reason": "broken"}}
        await self.context.in_thread(self.context.give_up_seed, self.person, claim, reason)
        if failures < _MOST_FAILURES:
            await self._save()
        elif self.stage is PRACTICE:
            if (task := self.practice_task) is not None:
                self._count_practice(task)
                self.progress["shown"]["task"] = task
            await self._save()
        else:
            await self._end("completed")

    async def _count_episodes(self) -> None:
        """Count the episodes and the bonus, from what is on disk."""
        self._count_rows(await self.context.in_thread(self.context.rows, self.person.person))

    def _count_rows(self, rows: list[dict[str, Any]]) -> None:
        self.episodes_done = len(rows)
        agreed = self.agreed
        if agreed.pay is not None:
            self.earned = agreed.pay.earned(agreed.episodes, counted(rows))

    def _practiced(self, task: str) -> int:
        return int(self.progress.get("practised_tasks", {}).get(task, 0))

    def _count_practice(self, task: str) -> None:
        """Count a practice episode in a new mapping: the old one is compared with what is on disk."""
        practiced = self.progress.get("practised_tasks", {})
        self.progress["practised_tasks"] = {**practiced, task: self._practiced(task) + 1}

    # actions of the table: time and moderation

    async def _end_session(self) -> None:
        """Close the open episode if it has steps; then end as completed or timed out."""
        if self._episode_is_open() and self.session.episode and self.session.episode.steps:
            await self._close_episode("time")
        if not self.is_over:
            await self._end("completed" if self._all_are_played() else "timed-out")

    async def _let_wait(self) -> None:
        self.is_idle = True
        self.session.pause()

    async def _look_again(self) -> None:
        self._last_wait = self.must_wait
        await self._go_on()

    async def _renew_claim(self) -> None:
        """Extend the claim. Runs outside of `changing`; only the loss of the claim is handled inside it."""
        claim = self.claim
        self._renewed = self.context.steady()
        if claim is None:
            return
        if await self.context.in_thread(self.context.claims.renew, claim):
            until = self.context.clock() + 60 * self.study.limits.claim_minutes
            if self.claim is claim:
                self.claim = replace(claim, until=until)
            return
        async with self.changing():
            if self.claim is claim:
                await self._handle(Event.CLAIM_LOST)

    async def _release_claim(self) -> None:
        """Abandon an episode whose seed went to another participant meanwhile, and go on."""
        if self._episode_is_open():
            await self.session.leave("abandoned")
        self.claim = None
        self.session.notices.append(self.texts.say("notice.moved-on"))
        await self._go_on()

    # actions of the table: reports of the page, and activity

    async def _add_hidden_time(self, milliseconds: int) -> None:
        self.hidden_ms += milliseconds

    async def _choose_language(self, language: str) -> None:
        self.texts = self.context.texts(language)
        await self._save(language=language)

    async def _note_device(self, device: dict[str, Any]) -> None:
        await self.context.in_thread(self.context.note_device, self.person, device)

    def _note_activity(self) -> None:
        self._active, self.is_idle = self.context.steady(), False

    def _note_steps(self) -> None:
        """Count new steps as activity; in real time, only those with a key."""
        episode = self.session.episode
        if episode is None:
            return
        if self.is_idle and self._is_playing():
            self._note_activity()  # a key has resumed play
        identifier, count = self._counted_steps
        new_steps = episode.steps[count if identifier == episode.record.episode else 0 :]
        self._counted_steps = (episode.record.episode, len(episode.steps))
        idle = episode.controls.idle if episode.task.fps is not None else None
        if any(idle is None or tuple(step.action) != tuple(idle) for step in new_steps):
            self._note_activity()
