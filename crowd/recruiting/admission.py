"""How people come to a study: by an open link, by a link for one person each, or sent by a panel.

`Recruiting.read` tells from the address alone who is coming; `admit` checks what can be checked and gives
the person's pseudonym; `identify` keeps their external ids, in the one table that holds any.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, Self

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from starlette.datastructures import QueryParams

from ...errors import TutelageError, nearest
from ..storage.study_tables import OUTCOMES, StudyDatabase, identities, links
from .panels import LINK, AdmissionRefusal, Arrival, Panel, ProlificPanel, Proof

_LONGEST = 256
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none is taken for another


class Signer(Protocol):
    """What recruiting needs of a deployment's secret."""

    def sign(self, text: str, purpose: str) -> str: ...
    def unsign(self, signed: str, purpose: str) -> str | None: ...
    def pseudonym(self, source: str, external: str) -> str: ...


class Recruiting(BaseModel):
    """The `recruiting` section of a study file.

    `links` are open (anybody who knows the address), one-time (`make_links`) or none; by default open, and
    none as soon as a panel sends people. `codes` are completion codes by outcome; people without one
    draw their own, except on Prolific, which would not know it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    links: Literal["open", "one-time", "none"] = "open"
    codes: dict[str, str] = {}
    panel: Panel | None = None
    prolific: ProlificPanel | None = None

    @model_validator(mode="before")
    @classmethod
    def _panels_close_the_door(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and (given.get("panel") or given.get("prolific")):
            return {"links": "none", **given}
        return given

    @field_validator("codes")
    @classmethod
    def _are_by_outcome(cls, codes: dict[str, str]) -> dict[str, str]:
        for outcome, code in codes.items():
            if outcome not in OUTCOMES:
                raise ValueError(
                    f"expected outcomes ({', '.join(OUTCOMES)}), got {outcome!r}{nearest(outcome, OUTCOMES)}"
                )
            if not re.fullmatch(r"[0-9A-Za-z_-]{3,64}", code):
                raise ValueError(f"expected a code of 3 to 64 letters and digits for {outcome}, got {code!r}")
        if len(set(codes.values())) < len(codes):
            raise ValueError("expected another code for each outcome, got one twice")
        return codes

    @model_validator(mode="after")
    def _prolific_needs_codes(self) -> Self:
        if self.prolific and (missing := {"completed", "declined"} - set(self.codes)):
            raise ValueError(
                f"expected the codes of Prolific's study for completed and declined (of type NO_CONSENT), "
                f"got none for {', '.join(sorted(missing))}"
            )
        if self.prolific and self.panel and self.prolific.name == self.panel.name:
            raise ValueError(f"expected another name for the panel than {self.panel.name!r}")
        return self

    def read(self, parameters: Iterable[tuple[str, str]] | Mapping[str, str], now: float) -> Arrival:
        """Tell from an address's parameters who is coming, at `now` (seconds since 1970).

        Takes Starlette's `query_params`, pairs, or a dictionary; parameters of nobody's are passed over.
        Raises Refusal.
        """
        given: dict[str, list[str]] = {}
        for name, value in _pairs(parameters):
            given.setdefault(name, []).append(value)
        for panel in self.panels:
            if any(name in given for name in panel.parameters):
                return panel.read(given, now)
        if self.links == "open":
            return Arrival(LINK, now, secrets.token_hex(16))
        if self.links == "none":
            raise AdmissionRefusal(
                "panel-needed", " or ".join(panel.title for panel in self.panels) or "elsewhere"
            )
        if not given.get(LINK):
            raise AdmissionRefusal("link-needed")
        if len(given[LINK]) != 1 or not 0 < len(given[LINK][0]) <= _LONGEST:
            raise AdmissionRefusal("link-unknown")
        return Arrival(LINK, now, _hashed(given[LINK][0]), token=given[LINK][0], single=True)

    @property
    def panels(self) -> list[Panel]:
        """Whoever sends people, Prolific first."""
        return [panel for panel in (self.prolific, self.panel) if panel]

    def code(self, outcome: str, source: str) -> str:
        """Give the completion code of an outcome for somebody from a source; "" where none would be known."""
        if outcome in self.codes:
            return self.codes[outcome]
        if self.prolific and source == self.prolific.name:
            return ""
        return "".join(secrets.choice(_LETTERS) for _ in range(10))

    def where_back(self, source: str, ids: Mapping[str, str], code: str) -> str:
        """Give the address that somebody from a source returns to at the end; "" where there is none."""
        found = next((panel for panel in self.panels if panel.name == source), None)
        return found.where_back(ids, code) if found and code else ""


def make_links(ledger: StudyDatabase, secret: Signer, study: str, count: int) -> list[str]:
    """Make links for one person each: the values of the parameter `link` of `/join`. Kept are only hashes."""
    made = [secret.sign(secrets.token_urlsafe(12), LINK) for _ in range(count)]
    if made:
        with ledger.write() as connection:
            connection.execute(
                links.insert(), [{"link": _hashed(one), "study": study, "person": ""} for one in made]
            )
    return made


def admit(
    arrival: Arrival,
    ledger: StudyDatabase,
    secret: Signer,
    study: str,
    proof: Proof | None = None,
    known: str = "",
) -> str:
    """Check an arrival and give the person's pseudonym: the same one whenever the same person comes.

    `known` is the person whom the browser's own signed seat names, if any: they need no second proof. Which
    browser may speak for the person is `browsers.enter`'s to say. Blocks for the disk, and for the network
    where a proof needs it. Raises Refusal.
    """
    person = secret.pseudonym(arrival.source, arrival.key)
    if arrival.needs_proof and not (known == person and _came_before(ledger, person, arrival)):
        if proof is None:
            raise TutelageError(f"expected a way to check people from {arrival.source}, got none")
        proof(arrival)
    if arrival.single:
        check_link(arrival, ledger, secret, study)
        with ledger.write() as connection:
            this = (links.c.link == arrival.key) & (links.c.study == study)
            connection.execute(links.update().where(this).values(person=person))
    return person


def check_link(arrival: Arrival, ledger: StudyDatabase, secret: Signer, study: str) -> None:
    """Raise Refusal unless an arrival's link was made here for this study; nothing is changed. Blocks."""
    if not arrival.single:
        return
    this = (links.c.link == arrival.key) & (links.c.study == study)
    if secret.unsign(arrival.token, LINK) is None or not ledger.rows(sql.select(links.c.link).where(this)):
        raise AdmissionRefusal("link-unknown")


def identify(ledger: StudyDatabase, person: str, arrival: Arrival) -> None:
    """Write down the external ids, by role, that a person came with last."""
    row = {"person": person, "source": arrival.source, "ids": dict(arrival.ids)}
    if not arrival.ids:
        return
    with contextlib.suppress(sql.exc.IntegrityError), ledger.write() as connection:
        connection.execute(identities.insert(), row)
        return
    with ledger.write() as connection:
        connection.execute(identities.update().where(identities.c.person == person).values(**row))


def _came_before(ledger: StudyDatabase, person: str, arrival: Arrival) -> bool:
    """Whether somebody with the very same ids was let in before."""
    found = ledger.rows(sql.select(identities.c.ids).where(identities.c.person == person))
    return [dict(arrival.ids)] == [row["ids"] for row in found]


def _pairs(parameters: Iterable[tuple[str, str]] | Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Give every pair, also of names that come twice, which a mapping hides."""
    if isinstance(parameters, QueryParams):
        return parameters.multi_items()
    return parameters.items() if isinstance(parameters, Mapping) else parameters


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
