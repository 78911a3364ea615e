"""The pay that a participant has agreed to: noted with their consent, and what they are paid by from then on.

Covers base, bonus and currency, and the number of episodes that bounds the bonus. Does not cover a
participant who agreed before such notes were made: the study's present pay is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..studies.study import Study
from ..studies.study_schema import Pay


@dataclass(frozen=True)
class AgreedPay:
    """What was offered with the consent: the pay, None without one, and the episodes of a participant."""

    pay: Pay | None
    episodes: int


def note_of(study: Study) -> dict[str, Any]:
    """Return what is noted with a consent, as plain data that `agreed_pay` reads; texts are left out."""
    pay = study.pay and study.pay.model_dump(mode="json", exclude={"text"}, exclude_none=True)
    return {"pay": pay, "episodes": study.episodes}


def agreed_pay(progress: Mapping[str, Any], study: Study) -> AgreedPay:
    """Return the pay that a participant has agreed to; the study's own before they have."""
    note = progress.get("agreed")
    if note is None:
        return AgreedPay(study.pay, study.episodes)
    pay = None if note["pay"] is None else dict(note["pay"])
    if pay is not None and (bonus := pay.get("bonus")) is not None:
        # keys of JSON are text
        amounts = {int(number): value for number, value in bonus.get("amounts", {}).items()}
        pay["bonus"] = {**bonus, "amounts": amounts}
    return AgreedPay(None if pay is None else Pay.model_validate(pay), int(note["episodes"]))
