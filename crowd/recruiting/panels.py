"""Panels that send people to a study, and how their addresses are read.

A panel (Prolific, SONA, a company's own) sends people by an address with their ids in it. The study file says
which parameter means what, so that any panel fits. A person who cannot be admitted is told why in a kind
sentence: an `AdmissionRefusal`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ...errors import TutelageError

LINK = "link"
"""The parameter with a link's secret, and the source of everyone who came by a plain link."""

REFUSALS = {
    "incomplete": "This link is incomplete. Please open the study from {panel} once more.",
    "expired": "This link has expired. Please open the study from {panel} once more.",
    "link-needed": "This study is joined by a personal link. Please ask for one.",
    "link-unknown": "This link is not known here. Please check that you copied all of it.",
    "link-used": "This link was opened in another browser before. Please use that browser, or write to "
    "whoever invited you: they can free the link.",
    "not-now": "Your link cannot be checked right now. Please try again in a minute.",
    "not-proven": "This link could not be confirmed. Please open the study from {panel} once more.",
    "other-study": "This link belongs to another study. Please open the study from {panel} once more.",
    "panel-needed": "This study is for people who come from {panel}. Please open it from there.",
}
"""Why a person is not admitted, by reason; translations have the same reasons."""

_LONGEST = 256
_LONGEST_TOKEN = 8192
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = r"^[a-z][a-z0-9-]{0,31}$"


class AdmissionRefusal(TutelageError):
    """A kind sentence for a person who cannot be admitted; `reason` is its key in REFUSALS."""

    def __init__(self, reason: str, panel: str = "the page that invited you") -> None:
        super().__init__(REFUSALS[reason].format(panel=panel))
        self.reason = reason
        self.panel = panel


@dataclass(frozen=True)
class Arrival:
    """The person who opens a link according to its address; nothing here has been verified.

    `ids` are the external ids by role (`participant`, `session`, ...); `key` distinguishes people. Neither
    appears when an arrival is printed.
    """

    source: str
    at: float
    key: str = field(repr=False)
    ids: Mapping[str, str] = field(default_factory=dict, repr=False)
    named: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The ids under the names of the address: parameter → value."""
    token: str = field(default="", repr=False)
    needs_proof: bool = False
    single: bool = False
    """Whether they come by a personal link."""

    @property
    def is_nameless(self) -> bool:
        """Whether the link is open, so that each browser that follows it is a new participant."""
        return self.source == LINK and not self.single

    @property
    def waits_for_page(self) -> bool:
        """Whether opening the link decides nothing, and its page has to ask, in the person's browser.

        Such a link names one person, and a messenger may open it for a preview.
        """
        return not self.is_nameless and not self.needs_proof


Proof = Callable[[Arrival], None]
"""Raises AdmissionRefusal unless the panel confirms an arrival."""


class Panel(BaseModel):
    """A panel whose links name people: which parameter of the address means what.

    `parameters` maps the address's names to roles: `participant` (required, it distinguishes people),
    `session`, `study`, or custom names. In `return_url`, `{code}` and every `{role}` are replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=_NAME)
    parameters: dict[str, str]
    return_url: str = ""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == LINK:
            raise ValueError(f"expected a panel's name, got {LINK!r}, which means a plain link")
        return name

    @field_validator("parameters")
    @classmethod
    def _has_one_participant(cls, parameters: dict[str, str]) -> dict[str, str]:
        roles = list(parameters.values())
        if roles.count("participant") != 1 or len(set(roles)) < len(roles):
            raise ValueError(
                f"expected one 'participant', and each role once, got {', '.join(roles) or 'none'}"
            )
        if invalid := [name for name in parameters if not name or name == LINK]:
            raise ValueError(f"expected names of parameters other than {LINK!r}, got {invalid[0]!r}")
        return parameters

    @field_validator("return_url")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            parts = urlsplit(address)
        except ValueError:
            parts = urlsplit("")
        is_web = parts.scheme in ("http", "https") and parts.netloc and address.isprintable()
        if address and not is_web:
            raise ValueError(f"expected an address that starts with https://, got {address!r}")
        if "{" in parts.netloc or "\\" in address:
            raise ValueError(
                f"expected a fixed host in the address, with {{...}} only after it, got {address!r}"
            )
        return address

    @property
    def title(self) -> str:
        """The panel's name for people."""
        return self.name.capitalize()

    def where_back(self, ids: Mapping[str, str], code: str) -> str:
        """Return the address that a person returns to, with their code in it; "" if there is none."""
        values = {**dict.fromkeys(self.parameters.values(), ""), **ids, "code": code}
        return re.sub(r"\{(\w+)\}", lambda part: quote(values.get(part[1], ""), safe=""), self.return_url)

    def read(self, values_by_name: Mapping[str, list[str]], now: float) -> Arrival:
        """Read the arrival; raises AdmissionRefusal when an id is missing, repeated or invalid."""
        values = {name: self._value(values_by_name.get(name, [])) for name in self.parameters}
        ids = {self.parameters[name]: value for name, value in values.items()}
        return Arrival(self.name, now, ids["participant"], ids, values)

    def _value(self, values: list[str]) -> str:
        if len(values) != 1 or not self._is_id(values[0]):
            raise AdmissionRefusal("incomplete", self.title)
        return values[0]

    def _is_id(self, value: str) -> bool:
        return 0 < len(value) <= _LONGEST and value.isprintable() and value == value.strip()


class ProlificPanel(Panel):
    """Prolific's way of sending people, and what this server may do there.

    `study` is the study's id at Prolific. `proof`: `token` verifies the signed `prolific_token` of Prolific's
    secure external URLs, whose audience is `audience`, this study's own address; `submission` queries
    Prolific's API about each arrival instead; `none` trusts every address, so that anyone can invent people.
    `complete`: `server` reports each outcome by its code (the codes' actor at Prolific must be the
    researcher), `person` leaves that to the link on the last page. `approve`: completed people are approved
    at once. `rejections`: the largest share of finished submissions that may be rejected here; this limit is
    ours.
    """

    name: str = Field(default="prolific", pattern=_NAME)
    parameters: dict[str, str] = {
        "PROLIFIC_PID": "participant",
        "STUDY_ID": "study",
        "SESSION_ID": "session",
    }
    return_url: str = "https://app.prolific.com/submissions/complete?cc={code}"
    study: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")
    proof: Literal["token", "submission", "none"] = "token"
    token: str = Field(default="prolific_token", min_length=1)
    audience: str = ""
    api: str = "https://api.prolific.com"
    complete: Literal["server", "person"] = "server"
    approve: bool = True
    rejections: float = Field(default=0.1, ge=0, le=1)

    @field_validator("api")
    @classmethod
    def _is_private(cls, address: str) -> str:
        """Require HTTPS, except on the loopback interface: API keys travel to this address."""
        parts = urlsplit(address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError(f"expected an address that starts with https://, got {address!r}")
        return address.rstrip("/")

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        missing = {"participant", "study", "session"} - set(self.parameters.values())
        if missing:
            raise ValueError(f"expected parameters for participant, study and session, got no {min(missing)}")
        if self.proof == "token" and not urlsplit(self.audience).netloc:
            raise ValueError(
                f"expected audience: the address of this study, such as https://play.example.org, "
                f"got {self.audience!r}; or say proof: submission"
            )
        return self

    def read(self, values_by_name: Mapping[str, list[str]], now: float) -> Arrival:
        """Read the arrival as for every panel, check the study's id, and attach the token."""
        arrival = super().read(values_by_name, now)
        if arrival.ids["study"] != self.study:
            raise AdmissionRefusal("other-study", self.title)
        tokens = values_by_name.get(self.token, []) if self.proof == "token" else [""]
        if len(tokens) != 1 or len(tokens[0]) > _LONGEST_TOKEN:
            raise AdmissionRefusal("not-proven", self.title)
        return replace(arrival, token=tokens[0], needs_proof=self.proof != "none")

    def _is_id(self, value: str) -> bool:
        """Prolific's ids are letters and digits; an unfilled placeholder is not an id."""
        return re.fullmatch(r"[0-9A-Za-z_-]{1,64}", value) is not None
