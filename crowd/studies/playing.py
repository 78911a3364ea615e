"""The episodes of one visit: which one is begun or taken up, and what becomes of it when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import TutelageError
from ..seats.session import OPEN_PHASES, PRACTICE, Phase
from ..storage.journal_records import EpisodeRecord
from .episode_records import conduct_row, counted
from .percentile import better_than, falls_short
from .seed_claims import SeedClaim

if TYPE_CHECKING:
    from .visit import Visit

_BROKEN = 3
"""So many episodes in a row that could not be played, through no fault of the person, end their way: done."""


class Playing:
    """What one person plays. `done` counts their episodes that count, `claim` is the seed they hold, `earned`
    is their bonus so far in minor units."""

    def __init__(self, visit: Visit) -> None:
        self.done = 0
        self.earned = 0
        self.hidden_ms = 0
        self.claim: SeedClaim | None = None
        self._visit = visit
        self._session = visit.session
        self._house = visit.house
        self._study = visit.study

    @property
    def has_practised(self) -> bool:
        """Say whether the practice is over."""
        return self.practice_task is None

    @property
    def practice_task(self) -> str | None:
        """The task that is to be practiced now; None once all were."""
        wanted = self._study.practice.episodes if self._study.practice else 0
        tasks = self._study.practice_tasks
        return next((task for task in tasks if self.practised(task) < wanted), None)

    def practised(self, task: str) -> int:
        """Return how many practice episodes of a task are done."""
        return int(self._visit.progress.get("practised_tasks", {}).get(task, 0))

    async def count(self) -> None:
        """Count what has been played and earned, from what is on disk."""
        self._count(await self._house.in_thread(self._house.rows, self._visit.person.person))

    def _count(self, rows: list[dict[str, Any]]) -> None:
        self.done = len(rows)
        agreed = self._visit.agreed
        if agreed.pay is not None:
            self.earned = agreed.pay.earned(agreed.episodes, counted(rows))

    async def begin(self) -> None:
        """Begin the next episode, or go on with the one that was left; may end the visit instead."""
        if self._visit.person.stage == "practice":
            await self._practise()
        elif self.done >= self._study.episodes:
            await self._visit.end("completed")
        elif self._visit.watch.session_is_up:
            await self._visit.end("timed-out")
        else:
            self.claim = await self._house.in_thread(self._house.claims.take, self._visit.person.person)
            if self.claim is None:  # everything that is wanted has been played
                await self._visit.end("completed")
            else:
                await self._play(self.claim)

    async def over(self, reason: str) -> None:
        """Keep the episode that has ended, write down how it went, and let it be shown.

        A `reason` ends it before its end, as a failure: its time is up, or the person gave up.
        """
        episode, session, progress = self._session.episode, self._session, self._visit.progress
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
        pay = self._visit.agreed.pay
        if pay and pay.bonus and pay.bonus.by == "score":
            progress["shown"]["points"] = row["points"]
        if row["role"] == PRACTICE:
            practice = self._study.practice
            if row["success"] or (practice is not None and practice.until == "finished"):
                self._note_practice(row["task"])
            progress["shown"]["task"] = row["task"]
            await self._visit.save()
        else:
            await self._write_down(row)

    async def pass_over(self, why: str) -> None:
        """Pass over an episode that could not be played: its seed is nobody's any more."""
        visit, claim, self.claim = self._visit, self.claim, None
        broken = visit.progress.get("broken", 0) + 1
        visit.progress |= {"broken": broken, "shown": {"reason": "broken"}}
        await self._house.in_thread(self._house.give_up_seed, visit.person, claim, why)
        if broken < _BROKEN:
            await visit.save()
        elif visit.person.stage == "practice":
            if (task := self.practice_task) is not None:
                self._note_practice(task)
                visit.progress["shown"]["task"] = task
            await visit.save()
        else:
            await visit.end("completed")

    async def lose(self) -> None:
        """Let go of an episode whose seed went to somebody else while this person was away."""
        if self._session.phase in OPEN_PHASES:
            await self._session.leave("abandoned")
        self.claim = None
        self._session.notices.append(self._visit.texts.say("notice.moved-on"))
        await self._visit.go_on()

    async def stop(self) -> None:
        """Leave nothing open: what is underway when a visit ends is given up."""
        if self._session.phase in OPEN_PHASES:
            await self._session.leave("abandoned")
        await self._session.close()
        self.claim = None

    async def _practise(self) -> None:
        task = self.practice_task
        assert task is not None
        seat, person = self._session.seat.seat, self._visit.person.person
        for record in await self._house.in_thread(self._house.episodes, seat, "open", "finished"):
            if record.role == PRACTICE and await self._take_up(record):
                return
        over = await self._house.in_thread(self._house.episodes, seat, "discarded", "abandoned")
        number = sum(one.role == PRACTICE for one in over)
        await self._enter(task, self._house.claims.practice_seed(person, number), PRACTICE)

    def _note_practice(self, task: str) -> None:
        """Count a practice episode of a task; the mapping is a new one, for what is on disk is compared."""
        practised = self._visit.progress.get("practised_tasks", {})
        self._visit.progress["practised_tasks"] = {**practised, task: self.practised(task) + 1}

    async def _play(self, claim: SeedClaim) -> None:
        """Play the seed that a claim is for, or go on where it was left."""
        seat = self._session.seat.seat
        self._house.bests.prepare(claim.task, claim.seed)
        for record in await self._house.in_thread(self._house.episodes, seat, "kept", "stored"):
            if record.episode == claim.episode:  # a crash came between the end and writing it down
                await self._house.in_thread(self._house.settle, claim, record)
                await self.count()
                await self.begin()
                return
        for record in await self._house.in_thread(self._house.episodes, seat, "open", "finished"):
            is_ours = (record.task, record.seed, record.role) == (claim.task, claim.seed, claim.role)
            if not is_ours and record.state == "open":
                await self._house.in_thread(self._house.abandon, record)
                continue
            self.claim = claim if is_ours else None
            if is_ours and claim.episode != record.episode:  # a crash came before it was noted
                claim = self.claim = replace(claim, episode=record.episode)
                await self._house.in_thread(self._house.claims.renew, claim, record.episode)
            if await self._take_up(record):
                return
            self.claim = claim
        if await self._enter(claim.task, claim.seed, claim.role) and self._session.episode:
            episode = self._session.episode.record.episode
            await self._house.in_thread(self._house.claims.renew, claim, episode)

    async def _take_up(self, record: EpisodeRecord) -> bool:
        taken = await self._session.take_up(record)
        if self._session.notices:  # what is said of a torn journal is for those who keep it
            self._session.notices[:] = [self._visit.texts.say("notice.resumed")]
        if taken and self._session.phase is Phase.FINISHED:
            await self.over("")
        return taken

    async def _enter(self, task: str, seed: int, role: str) -> bool:
        self.hidden_ms = 0
        self._visit.watch.note_activity()
        consent = str(self._visit.progress.get("consent", ""))
        self._session.number, self._session.target = self.done + 1, self._study.episodes
        try:
            await self._session.enter(task, seed, role=role, study=self._study.name, consent=consent)
        except TutelageError as error:  # an environment that cannot begin must not hold anybody up
            await self.pass_over(str(error))
            return False
        return True

    async def _write_down(self, row: dict[str, Any]) -> None:
        visit, house = self._visit, self._house
        row["expert_steps"] = await house.bests.of(row["task"], row["seed"])
        if self._study.has_score:
            visit.progress["shown"]["better"] = await house.in_thread(better_than, house.ledger, row)
        rows = await house.in_thread(house.write, visit.person, row, self.claim, visit.progress)
        self._count(rows)
        self.claim = None
        shortfall = falls_short(rows, self._study)
        if shortfall and not visit.progress.get("falls_short"):
            visit.progress["falls_short"] = True
            await house.in_thread(house.note, "falls-short", visit.person, shortfall)
            assert self._study.quality is not None
            await (visit.end("poor-quality") if self._study.quality.ends else visit.save())
