"""A study: what its participants are asked to do, as its file defines it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator

from ...envs.suite import Suite, load_suite
from ...envs.task import RECORD, TEST, SeedRange, Task
from ..recruiting.admission import Recruiting
from ..recruiting.money import shown
from ..translations import Translations, load_texts
from .study_schema import (
    PLAIN,
    Breaks,
    ComprehensionCheck,
    EpisodeQuota,
    GoldEpisodes,
    Pay,
    Practice,
    QualityCriteria,
    RepeatedSeeds,
    Section,
    Text,
    TimeLimits,
)

FRESH = SeedRange("demonstrations", 0, 400_000_000)
PRACTICE = SeedRange("practice", 400_000_000, 500_000_000)
GOLD = SeedRange("gold", 500_000_000, 1_000_000_000)
"""The record seeds are partitioned: practice and gold seeds are never new demonstrations."""


class Study(Section):
    """A study's file; `suite` is the loaded suite, `tasks` are the played ones."""

    name: str = Field(alias="study", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    suite_name: str = Field(alias="suite")
    mode: Literal["record", "baseline"] = "record"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    title: Text = Field(default={})
    people: int = Field(ge=1, strict=True)
    episodes: int = Field(ge=1, strict=True)
    quotas: dict[str, EpisodeQuota] = Field(default={}, alias="tasks")
    repeats: RepeatedSeeds | None = None
    gold: GoldEpisodes | None = None
    consent: Text
    instructions: Text = Field(default={})
    practice: Practice | None = None
    check: ComprehensionCheck | None = None
    limits: TimeLimits = TimeLimits()
    breaks: Breaks | None = None
    pay: Pay | None = None
    quality: QualityCriteria | None = None
    score: Literal["percentile", "none"] = "percentile"
    recruiting: Recruiting = Recruiting()
    words: dict[str, dict[str, str]] = Field(default={})
    """Language → text of the suite (a key, a fixed instruction, a task) → its translation."""

    _folder: Path = PrivateAttr(Path())
    _suite: Suite | None = PrivateAttr(None)

    @field_validator("quotas", mode="before")
    @classmethod
    def _a_task_may_have_no_quota(cls, quotas: Any) -> Any:
        if isinstance(quotas, list) and all(isinstance(task, str) for task in quotas):
            return {task: {} for task in quotas}
        if isinstance(quotas, dict):
            return {name: {} if quota is None else quota for name, quota in quotas.items()}
        return quotas

    def lies_in(self, folder: Path) -> None:
        """Set the folder of the study's file."""
        self._folder = folder

    @property
    def suite(self) -> Suite:
        """The suite that is played; raises TutelageError when it does not exist."""
        if self._suite is None:
            neighbor = self._folder / self.suite_name
            is_file = Path(self.suite_name).suffix in (".yaml", ".yml")
            self._suite = load_suite(neighbor if is_file else self.suite_name)
        return self._suite

    @property
    def folder(self) -> Path:
        """The folder of the study's file, which may contain a suite and languages of its own."""
        return self._folder

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The played tasks, in the suite's order."""
        return tuple(task for task in self.suite if not self.quotas or task.id in self.quotas)

    @property
    def is_baseline(self) -> bool:
        """Say whether people play the test seeds, as policies do: in order, and without feedback."""
        return self.mode == "baseline"

    @property
    def seeds(self) -> SeedRange:
        """The range of the seeds."""
        return TEST if self.is_baseline else RECORD

    @property
    def fresh_seeds(self) -> int:
        """The number of seeds for demonstrations; the others are for practice and gold, see `seed_claims`."""
        return FRESH.stop - FRESH.start

    @property
    def gold_episodes(self) -> int:
        """The number of gold episodes per person: at least one if there are any."""
        return max(1, round(self.gold.share * self.episodes)) if self.gold else 0

    @property
    def has_score(self) -> bool:
        """Say whether people see how their attempts compare."""
        return self.score == "percentile" and not self.is_baseline

    def say(self, text: Mapping[str, str], language: str) -> str:
        """Return a text of the study in a language, else in the study's first; "" if it has none."""
        for code in (language, PLAIN, *self.languages):
            if code in text:
                return text[code].strip()
        return ""

    @property
    def practice_tasks(self) -> tuple[str, ...]:
        """The tasks that are practiced before anything counts, in the suite's order."""
        if self.practice is None:
            return ()
        names = self.practice.tasks
        if names is None:
            return tuple(task.id for task in self.tasks)
        return tuple(task.id for task in self.suite if task.id in names)

    @property
    def question_ids(self) -> tuple[str, ...]:
        """The ids under which the answers to each question of the check are stored."""
        questions = self.check.questions if self.check else ()
        return tuple(question.id or f"question-{number}" for number, question in enumerate(questions, 1))

    def texts(self, language: str) -> Translations:
        """Return the texts of a language, with the study's own words in them."""
        return load_texts(language, self._folder, self.words.get(language, {}))

    def agreement(self, language: str) -> str:
        """Return the study's consent text, and what is recorded of the participant's device."""
        device = self.texts(language).say("consent.device")
        return "\n\n".join(part for part in (self.say(self.consent, language), device) if part)

    def pay_text(self, language: str) -> str:
        """Return what is paid: the base, the bonus rule, the study's own words; "" without pay."""
        if self.pay is None:
            return ""
        texts, pay = self.texts(language), self.pay
        parts = [texts.say("pay.base", amount=shown(pay.base_units, pay.currency))] if pay.base else []
        parts += pay.bonus.paragraphs(texts, pay.currency, self.episodes) if pay.bonus else []
        return "\n\n".join(part for part in (*parts, self.say(pay.text, language)) if part)

    def consent_text(self, language: str) -> str:
        """Return the exact text that people agree to: the consent, the device's record, the pay."""
        parts = [self.agreement(language), self.pay_text(language)]
        return "\n\n".join(part for part in parts if part)

    def consent_version(self, language: str) -> str:
        """Return the BLAKE2b hash, 32 hex digits, of the text that people agree to."""
        return hashlib.blake2b(self.consent_text(language).encode(), digest_size=16).hexdigest()
