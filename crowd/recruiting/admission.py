"""Admission: people come by an open link, by a personal link, or from a panel.

`Recruiting.read` tells from the address alone who is coming; `admit` verifies the arrival and returns the
person's pseudonym; `identify` stores their external ids, in the one table that has any.
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
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without characters that look alike


class Signer(Protocol):
    """The part of a deployment's secret that recruiting needs."""

    def sign(self, text: str, purpose: str) -> str: ...
    def unsign(self, signed: str, purpose: str) -> str | None: ...
    def pseudonym(self, source: str, external: str) -> str: ...


class Recruiting(BaseModel):
    """The `recruiting` section of a study file.

    `links` are open (for everyone who knows the address), one-time (`make_links`) or none; the default is
    open, and none if a panel sends people. `codes` are completion codes by outcome; people without one draw
    their own, except on Prolific, which would not know it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    links: Literal["open", "one-time", "none"] = "open"
    codes: dict[str, str] = {}
    panel: Panel | None = None
    prolific: ProlificPanel | None = None

    @model_validator(mode="before")
    @classmethod
    def _panels_close_the_door(cls, section: Any) -> Any:
        if isinstance(section, Mapping) and (section.get("panel") or section.get("prolific")):
            return {"links": "none", **section}
        return section

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

        Takes Starlette's `query_params`, pairs, or a dictionary; unknown parameters are ignored. Raises
        AdmissionRefusal.
        """
        values_by_name: dict[str, list[str]] = {}
        for name, value in _pairs(parameters):
            values_by_name.setdefault(name, []).append(value)
        for panel in self.panels:
            if any(name in values_by_name for name in panel.parameters):
                return panel.read(values_by_name, now)
        if self.links == "open":
            return Arrival(LINK, now, secrets.token_hex(16))
        if self.links == "none":
            raise AdmissionRefusal(
                "panel-needed", " or ".join(panel.title for panel in self.panels) or "elsewhere"
            )
        if not values_by_name.get(LINK):
            raise AdmissionRefusal("link-needed")
        if len(values_by_name[LINK]) != 1 or not 0 < len(values_by_name[LINK][0]) <= _LONGEST:
            raise AdmissionRefusal("link-unknown")
        return Arrival(LINK, now, _hash(values_by_name[LINK][0]), token=values_by_name[LINK][0], single=True)

    @property
    def panels(self) -> list[Panel]:
        """The panels that send people, Prolific first."""
        return [panel for panel in (self.prolific, self.panel) if panel]

    def code(self, outcome: str, source: str) -> str:
        """Return the completion code of an outcome for a person from a source; "" if none would be known."""
        if outcome in self.codes:
            return self.codes[outcome]
        if self.prolific and source == self.prolific.name:
            return ""
        return "".join(secrets.choice(_LETTERS) for _ in range(10))

    def where_back(self, source: str, ids: Mapping[str, str], code: str) -> str:
        """Return the address that a person from a source returns to at the end; "" if there is none."""
        sender = next((panel for panel in self.panels if panel.name == source), None)
        return sender.where_back(ids, code) if sender and code else ""


def make_links(database: StudyDatabase, secret: Signer, study: str, count: int) -> list[str]:
    """Make personal links: values of the parameter `link` of `/join`. Only their hashes are stored."""
    tokens = [secret.sign(secrets.token_urlsafe(12), LINK) for _ in range(count)]
    if tokens:
        with database.write() as connection:
            connection.execute(
                links.insert(), [{"link": _hash(token), "study": study, "person": ""} for token in tokens]
            )
    return tokens


def admit(
    arrival: Arrival,
    database: StudyDatabase,
    secret: Signer,
    study: str,
    proof: Proof | None = None,
    known_person: str = "",
) -> str:
    """Verify an arrival and return the person's pseudonym, which is the same on every visit.

    `known_person` is the person that the browser's signed seat names, if any: they need no second proof.
    `browsers.enter` decides which browser may act for the person. Blocks for the disk, and for the network
    where a proof needs it. Raises AdmissionRefusal.
    """
    person = secret.pseudonym(arrival.source, arrival.key)
    if arrival.needs_proof and not (known_person == person and _came_before(database, person, arrival)):
        if proof is None:
            raise TutelageError(f"expected a way to check people from {arrival.source}, got none")
        proof(arrival)
    if arrival.single:
        check_link(arrival, database, secret, study)
        with database.write() as connection:
            is_link = (links.c.link == arrival.key) & (links.c.study == study)
            connection.execute(links.update().where(is_link).values(person=person))
    return person


def check_link(arrival: Arrival, database: StudyDatabase, secret: Signer, study: str) -> None:
    """Raise AdmissionRefusal unless an arrival's link was made here for this study; read-only. Blocks."""
    if not arrival.single:
        return
    is_link = (links.c.link == arrival.key) & (links.c.study == study)
    if secret.unsign(arrival.token, LINK) is None or not database.rows(
        sql.select(links.c.link).where(is_link)
    ):
        raise AdmissionRefusal("link-unknown")


def identify(database: StudyDatabase, person: str, arrival: Arrival) -> None:
    """Store the external ids, by role, of a person's latest arrival."""
    row = {"person": person, "source": arrival.source, "ids": dict(arrival.ids)}
    if not arrival.ids:
        return
    with contextlib.suppress(sql.exc.IntegrityError), database.write() as connection:
        connection.execute(identities.insert(), row)
        return
    with database.write() as connection:
        connection.execute(identities.update().where(identities.c.person == person).values(**row))


def _came_before(database: StudyDatabase, person: str, arrival: Arrival) -> bool:
    """Say whether this person was admitted before with the same ids."""
    rows = database.rows(sql.select(identities.c.ids).where(identities.c.person == person))
    return [dict(arrival.ids)] == [row["ids"] for row in rows]


def _pairs(parameters: Iterable[tuple[str, str]] | Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return every pair, including repeated names, which a mapping hides."""
    if isinstance(parameters, QueryParams):
        return parameters.multi_items()
    return parameters.items() if isinstance(parameters, Mapping) else parameters


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
