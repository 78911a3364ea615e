"""The bonus of a study: a rule that is printed beforehand, and that each participant can compute.

A bonus is a function of the participant's own episodes that count, in whatever order they came: no other
person's, no practice, no estimate. It never falls when an episode is added, never exceeds the stated maximum,
and is a whole number of the currency's minor units.
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
"""What each rule needs, and what it may have."""
_FINEST = 6  # decimals of an amount for each point


@dataclass(frozen=True)
class ScoredEpisode:
    """What a bonus knows of an episode: whether it was solved, and its points in hundredths."""

    success: bool
    points: int = 0


class Bonus(BaseModel):
    """A rule for the bonus.

    `by: solved` pays `each` for every solved task, `at_most` in all. `by: threshold` pays the amount of the
    highest line of `amounts` (solved tasks → amount) that is reached. `by: score` pays `each` for each point,
    `at_most` in all; a task's points are its return to two decimals, and none where that is below zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Literal["solved", "threshold", "score"]
    each: Amount | None = None
    at_most: Amount | None = None
    amounts: dict[Annotated[int, Field(ge=1, strict=True)], Amount] = {}

    @model_validator(mode="before")
    @classmethod
    def _is_a_rule(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError(
                "expected a rule that participants can compute, such as {by: solved, each: 0.05}, "
                "{by: threshold, amounts: {8: 0.50}} or {by: score, each: 0.01, at_most: 1.00}, "
                f"got {brief(given)}"
            )
        return given

    @field_validator("amounts")
    @classmethod
    def _amounts_rise(cls, amounts: dict[int, Decimal]) -> dict[int, Decimal]:
        rising = dict(sorted(amounts.items()))
        values = list(rising.values())
        if any(later <= before for before, later in itertools.pairwise(values)):
            listed = ", ".join(f"{number}: {value:f}" for number, value in rising.items())
            raise ValueError(f"expected amounts that rise with the solved tasks, got {listed}")
        return rising

    @model_validator(mode="after")
    def _has_what_its_rule_needs(self) -> Self:
        needed, allowed = _FORMS[self.by]
        given = [name for name in ("each", "at_most", "amounts") if getattr(self, name) not in (None, {})]
        if missing := [name for name in needed if name not in given]:
            raise ValueError(f"expected {' and '.join(needed)} with by: {self.by}, got no {missing[0]}")
        if extra := [name for name in given if name not in (*needed, *allowed)]:
            raise ValueError(
                f"expected {' and '.join((*needed, *allowed))} alone with by: {self.by}, got {extra[0]}"
            )
        return self

    def unfit(self, currency: str) -> str:
        """Say which amount is not a whole number of the currency's minor units; "" where all are."""
        paid = {f"amounts.{number}": value for number, value in self.amounts.items()}
        paid |= {"at_most": self.at_most} if self.at_most is not None else {}
        if self.each is not None and self.by == "solved":
            paid["each"] = self.each
        elif self.each is not None and self.each.normalize().as_tuple().exponent < -_FINEST:  # type: ignore[operator]
            return f"expected bonus.each in at most {_FINEST} decimals, got {self.each:f}"
        for place, value in paid.items():
            if not fits(value, currency):
                digits = DECIMALS[currency]
                return f"expected bonus.{place} in the {digits} decimals of {currency}, got {value:f}"
        return ""

    def most(self, currency: str, episodes: int) -> int:
        """Return the stated maximum for a participant who plays so many episodes, in minor units."""
        if self.by == "threshold":
            return max((minor_units(value, currency) for value in self.amounts.values()), default=0)
        limit = None if self.at_most is None else minor_units(self.at_most, currency)
        if self.by == "score":
            return limit or 0
        whole = minor_units(self.each or Decimal(), currency) * episodes
        return whole if limit is None else min(whole, limit)

    def earned(self, currency: str, episodes: int, played: Iterable[ScoredEpisode]) -> int:
        """Return what a participant's own episodes earn, of the `episodes` they may play, in minor units."""
        rows = list(played)
        solved = sum(row.success for row in rows)
        if self.by == "threshold":
            reached = [value for number, value in self.amounts.items() if number <= solved]
            return max((minor_units(value, currency) for value in reached), default=0)
        count = (
            Fraction(sum(max(0, row.points) for row in rows), 100) if self.by == "score" else Fraction(solved)
        )
        units = math.floor(Fraction(self.each or 0) * 10 ** DECIMALS[currency] * count)
        return min(units, self.most(currency, episodes))

    def paragraphs(self, texts: Translations, currency: str, episodes: int) -> list[str]:
        """Return the rule in a language, as it stands with the consent."""
        most = shown(self.most(currency, episodes), currency)
        if self.by == "threshold":
            lines = []
            for number, value in self.amounts.items():
                paid = shown(minor_units(value, currency), currency)
                lines.append("- " + texts.say("pay.threshold-line", n=number, amount=paid))
            return [texts.say("pay.threshold", most=most), "\n".join(lines), texts.say("pay.own")]
        amount = self.each or Decimal()
        rate = (
            shown(minor_units(amount, currency), currency)
            if fits(amount, currency)
            else f"{amount:f} {currency}"
        )
        return [texts.say(f"pay.{self.by}", each=rate, most=most), texts.say("pay.own")]

    def reason(self, played: Sequence[ScoredEpisode]) -> str:
        """Say for the ledger of payments what the bonus was computed from."""
        if self.by == "score":
            return f"{Decimal(sum(max(0, row.points) for row in played)).scaleb(-2):f} points"
        return f"{sum(row.success for row in played)} of {counted(len(played), 'task')} solved"


def points_of(rewards: Iterable[float]) -> int:
    """Return the points of an episode in hundredths: its return to two decimals, 0 below zero or unknown."""
    try:
        total = math.fsum(rewards)
    except (OverflowError, ValueError):  # infinities of both signs, or beyond every number
        return 0
    if not math.isfinite(total) or total <= 0:
        return 0
    return min(round(Decimal(repr(total)) * 100), 10**15)
