"""The sections of a study file, with their meanings and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ..recruiting.bonus import Amount, Bonus, ScoredEpisode
from ..recruiting.money import DECIMALS, currency, fits, minor_units

PLAIN = ""
"""The language of a sentence that is the same in every language."""


def _by_language(text: Any) -> Any:
    if isinstance(text, str):
        return {PLAIN: text}
    if isinstance(text, dict) and all(isinstance(part, str) for part in (*text, *text.values())):
        return text
    raise ValueError("expected a sentence, or a sentence for each language")


Text = Annotated[dict[str, str], BeforeValidator(_by_language)]
"""A sentence, or `{en: ..., zh: ...}`: language → sentence, with PLAIN for one in all languages."""


class Section(BaseModel):
    """A part of a study file: unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class EpisodeQuota(Section):
    """The number of episodes wanted of a task, without gold ones; None for no limit."""

    quota: int | None = Field(default=None, ge=1, strict=True)


class RepeatedSeeds(Section):
    """The share of the seeds that is played by several people, to measure their agreement."""

    share: float = Field(gt=0, le=1)
    people: int = Field(default=2, ge=2, strict=True)


class GoldEpisodes(Section):
    """The share of a person's episodes on seeds that everyone plays, with a known best length.

    A gold episode is passed if it is solved in at most `tolerance` times the expert's steps.
    """

    share: float = Field(gt=0, le=1)
    tolerance: float = Field(default=1.6, ge=1)


class Practice(Section):
    """Tasks that are played before anything counts: `episodes` of each, solved or merely finished.

    `tasks` are those of the study unless some are named, in the suite's order.
    """

    tasks: tuple[str, ...] | None = Field(default=None, min_length=1)
    episodes: int = Field(default=1, ge=1, le=50, strict=True)
    until: Literal["success", "finished"] = "success"


class Question(Section):
    """A question about the instructions; `correct` is the number of the right answer, the first being 0.

    Answers are stored under its `id`, by default its number: `question-1` for the first.
    """

    id: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,40}$")
    ask: Text
    answers: tuple[Text, ...]
    correct: int = Field(ge=0, strict=True)


class ComprehensionCheck(Section):
    """Questions that must all be answered correctly, within `attempts`."""

    attempts: int = Field(default=2, ge=1, le=20, strict=True)
    questions: tuple[Question, ...]


class TimeLimits(Section):
    """Time limits; None for no limit.

    A longer episode is a failure. After `idle_seconds` without input, participants are prompted and the
    episode pauses. A person's session ends `session_minutes` after their consent, with the current episode. A
    seed that was not touched for `claim_minutes` goes to another person.
    """

    episode_seconds: float | None = Field(default=None, gt=0)
    idle_seconds: float | None = Field(default=None, gt=0)
    session_minutes: float | None = Field(default=None, gt=0)
    claim_minutes: float = Field(default=30, gt=0)


class Breaks(Section):
    """A rest after every `every` episodes; it lasts as long as the person wants."""

    every: int = Field(ge=1, strict=True)
    text: Text = {}


class Pay(Section):
    """The pay of people who complete the study: the same `base` for all, and a `bonus` by its rule.

    Both are shown with the consent in the participant's language, and `text` below them.
    """

    currency: str
    base: Amount
    bonus: Bonus | None = None
    text: Text = {}

    @field_validator("currency", mode="before")
    @classmethod
    def _is_a_currency(cls, code: Any) -> str:
        return currency(code)

    @model_validator(mode="after")
    def _amounts_fit_the_currency(self) -> Self:
        if not fits(self.base, self.currency):
            digits = DECIMALS[self.currency]
            raise ValueError(f"expected base in the {digits} decimals of {self.currency}, got {self.base:f}")
        if self.bonus and (unfit := self.bonus.unfit(self.currency)):
            raise ValueError(unfit)
        return self

    @property
    def base_units(self) -> int:
        """The base in minor units of the currency."""
        return minor_units(self.base, self.currency)

    def most(self, episodes: int) -> int:
        """Return the largest bonus that a participant can earn, in minor units."""
        return self.bonus.most(self.currency, episodes) if self.bonus else 0

    def earned(self, episodes: int, scored_episodes: list[ScoredEpisode]) -> int:
        """Return the bonus of a participant's own episodes, in minor units."""
        return self.bonus.earned(self.currency, episodes, scored_episodes) if self.bonus else 0


class QualityCriteria(Section):
    """What a person must reach after a number of episodes, as shares.

    `success` is about all of them, `gold` about passed gold ones. The participation of a person who misses it
    ends if `ends`, and otherwise this is only recorded.
    """

    after: int = Field(default=5, ge=1, strict=True)
    success: float | None = Field(default=None, ge=0, le=1)
    gold: float | None = Field(default=None, ge=0, le=1)
    ends: bool = True
