"""The bonus of a study: a rule that is published beforehand, and that each participant can compute.

A bonus is a function of the participant's own episodes that count, in any order: it uses no other person's,
no practice, no estimate. It never falls when an episode is added, never exceeds the stated maximum, and is a
whole number of the currency's minor units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ...console.wording import counted
from ...errors import brief
from ..translations import Translations
from .money import DECIMALS, amount, fits, minor_units, shown

Amount = Annotated[Decimal, BeforeValidator(amount)]

_FORMS = {
    "solved": (("each",), ("at_most",)),
    "threshold": (("amounts",), ()),
    "score": (("each", "at_most"), ()),
}
"""The required and the optional fields of each rule."""
_FINEST = 6  # decimals of the amount per point


@dataclass(frozen=True)
class ScoredEpisode:
    """The bonus's view of an episode: whether it was solved, and its points in hundredths."""

    success: bool
    points: int = 0


class Bonus(BaseModel):
    """A bonus rule.

    `by: solved` pays `each` per solved task, `at_most` in all. `by: threshold` pays the amount of the highest
    line of `amounts` (solved tasks → amount) that is reached. `by: score` pays `each` per point, `at_most` in
    all; a task's points are its return to two decimals, or zero if it is negative.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Literal["solved", "threshold", "score"]
    each: Amount | None = None
    at_most: Amount | None = None
    amounts: dict[Annotated[int, Field(ge=1, strict=True)], Amount] = {}

    @model_validator(mode="before")
    @classmethod
    def _is_a_rule(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(
                "expected a rule that participants can compute, such as {by: solved, each: 0.05}, "
                "{by: threshold, amounts: {8: 0.50}} or {by: score, each: 0.01, at_most: 1.00}, "
                f"got {brief(value)}"
            )
        return value

    @field_validator("amounts")
    @classmethod
    def _amounts_rise(cls, amounts: dict[int, Decimal]) -> dict[int, Decimal]:
        ordered = dict(sorted(amounts.items()))
        values = list(ordered.values())
        if any(later <= earlier for earlier, later in itertools.pairwise(values)):
            listed = ", ".join(f"{number}: {value:f}" for number, value in ordered.items())
            raise ValueError(f"expected amounts that rise with the solved tasks, got {listed}")
        return ordered

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> Self:
        needed, allowed = _FORMS[self.by]
        present = [name for name in ("each", "at_most", "amounts") if getattr(self, name) not in (None, {})]
        if missing := [name for name in needed if name not in present]:
            raise ValueError(f"expected {' and '.join(needed)} with by: {self.by}, got no {missing[0]}")
        if extra := [name for name in present if name not in (*needed, *allowed)]:
            raise ValueError(
                f"expected {' and '.join((*needed, *allowed))} alone with by: {self.by}, got {extra[0]}"
            )
        return self

    def unfit(self, currency: str) -> str:
        """Name an amount that is not a whole number of the currency's minor units; "" if all are."""
        amounts = {f"amounts.{number}": value for number, value in self.amounts.items()}
        amounts |= {"at_most": self.at_most} if self.at_most is not None else {}
        if self.each is not None and self.by == "solved":
            amounts["each"] = self.each
        elif self.each is not None and self.each.normalize().as_tuple().exponent < -_FINEST:  # type: ignore[operator]
            return f"expected bonus.each in at most {_FINEST} decimals, got {self.each:f}"
        for field, value in amounts.items():
            if not fits(value, currency):
                digits = DECIMALS[currency]
                return f"expected bonus.{field} in the {digits} decimals of {currency}, got {value:f}"
        return ""

    def most(self, currency: str, episodes: int) -> int:
        """Return the stated maximum for a participant with so many episodes, in minor units."""
        if self.by == "threshold":
            return max((minor_units(value, currency) for value in self.amounts.values()), default=0)
        limit = None if self.at_most is None else minor_units(self.at_most, currency)
        if self.by == "score":
            return limit or 0
        whole = minor_units(self.each or Decimal(), currency) * episodes
        return whole if limit is None else min(whole, limit)

    def earned(self, currency: str, episodes: int, episodes_played: Iterable[ScoredEpisode]) -> int:
        """Return the bonus of a participant's own episodes, of `episodes` at most, in minor units."""
        scored = list(episodes_played)
        solved = sum(episode.success for episode in scored)
        if self.by == "threshold":
            reached_amounts = [value for number, value in self.amounts.items() if number <= solved]
            return max((minor_units(value, currency) for value in reached_amounts), default=0)
        count = (
            Fraction(sum(max(0, episode.points) for episode in scored), 100)
            if self.by == "score"
            else Fraction(solved)
        )
        units = math.floor(Fraction(self.each or 0) * 10 ** DECIMALS[currency] * count)
        return min(units, self.most(currency, episodes))

    def paragraphs(self, texts: Translations, currency: str, episodes: int) -> list[str]:
        """Return the rule in a language, as it is shown with the consent."""
        maximum = shown(self.most(currency, episodes), currency)
        if self.by == "threshold":
            lines = []
            for number, value in self.amounts.items():
                line_amount = shown(minor_units(value, currency), currency)
                lines.append("- " + texts.say("pay.threshold-line", n=number, amount=line_amount))
            return [texts.say("pay.threshold", most=maximum), "\n".join(lines), texts.say("pay.own")]
        amount = self.each or Decimal()
        rate = (
            shown(minor_units(amount, currency), currency)
            if fits(amount, currency)
            else f"{amount:f} {currency}"
        )
        return [texts.say(f"pay.{self.by}", each=rate, most=maximum), texts.say("pay.own")]

    def reason(self, episodes: Sequence[ScoredEpisode]) -> str:
        """Describe for the payment records what the bonus was computed from."""
        if self.by == "score":
            return f"{Decimal(sum(max(0, episode.points) for episode in episodes)).scaleb(-2):f} points"
        return f"{sum(episode.success for episode in episodes)} of {counted(len(episodes), 'task')} solved"


def points_of(rewards: Iterable[float]) -> int:
    """Return the points of an episode in hundredths: its return to two decimals; 0 if negative or unknown."""
    try:
        total = math.fsum(rewards)
    except (OverflowError, ValueError):  # infinities of both signs, or overflow
        return 0
    if not math.isfinite(total) or total <= 0:
        return 0
    return min(round(Decimal(repr(total)) * 100), 10**15)
