"""The pay that a participant agreed to: recorded with their consent, and the basis of their payments.

Covers base, bonus and currency, and the number of episodes that bounds the bonus. Does not cover participants
who agreed before this was recorded: they have the study's present pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..studies.study import Study
from ..studies.study_schema import Pay


@dataclass(frozen=True)
class AgreedPay:
    """The offer at consent: the pay, None without one, and the episodes per participant."""

    pay: Pay | None
    episodes: int


def note_of(study: Study) -> dict[str, Any]:
    """Return the record of a consent's offer, as plain data that `agreed_pay` reads, without texts."""
    pay = study.pay and study.pay.model_dump(mode="json", exclude={"text"}, exclude_none=True)
    return {"pay": pay, "episodes": study.episodes}


def agreed_pay(progress: Mapping[str, Any], study: Study) -> AgreedPay:
    """Return the pay that a participant agreed to; before consent, the study's own."""
    note = progress.get("agreed")
    if note is None:
        return AgreedPay(study.pay, study.episodes)
    pay = None if note["pay"] is None else dict(note["pay"])
    if pay is not None and (bonus := pay.get("bonus")) is not None:
        # JSON keys are text
        amounts = {int(number): value for number, value in bonus.get("amounts", {}).items()}
        pay["bonus"] = {**bonus, "amounts": amounts}
    return AgreedPay(None if pay is None else Pay.model_validate(pay), int(note["episodes"]))
