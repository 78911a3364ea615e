"""Messages between page and server; a test checks that `static/protocol.js` has the same names.

A page sends JSON texts, one of `KeyDown` ... `Command`. The server sends JSON texts whose `type` is one of
SENT, and binary messages: a frame (see `frame_codec.pack`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, TypeAdapter, ValidationError

from ...errors import TutelageError, nearest
from ...files.schema_errors import message_of

LARGEST = 4096
"""Largest message of a page, in bytes."""
LONGEST_MS = 24 * 3600 * 1000
"""The longest time that a page may report."""

SENT = (
    *("texts", "state", "way", "working", "step", "saved", "saving"),
    *("asks", "note", "error", "replaced", "confirm"),
)
NOT_SAVED = "This could not be saved, and does not count; what was said to be saved is. Try again."
FAILED = "Something failed here. What was said to be saved is; whatever you just did may not be. Try again."
"""What a page is told when the database failed, or the server itself."""
COMMANDS = ("pause", "go", "keep", "discard", "redo", "undo", "leave", "ready", "next")
REPLACED = 4001
"""WebSocket close code: another page has taken this seat."""
UNKNOWN_SEAT = 4002
"""WebSocket close code: the page must be reloaded, to get a seat."""
OCCUPIED = 4003
"""WebSocket close code: another page has this seat open, and keeps it unless the user takes it over."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyDown(_Message):
    """A key went down while frame `frame` was on the screen.

    `reaction` is how many milliseconds the frame had been shown, `lag` how many passed between the last key
    and its frame, as far as the page knows.
    """

    type: Literal["down"]
    code: str = Field(min_length=1, max_length=32)
    frame: int = Field(ge=0, lt=2**31)
    reaction: int | None = Field(default=None, ge=0, le=LONGEST_MS)
    lag: int | None = Field(default=None, ge=0, le=LONGEST_MS)


class KeyUp(_Message):
    """A key went up."""

    type: Literal["up"]
    code: str = Field(min_length=1, max_length=32)


class PageInput(_Message):
    """Input to a web page (see `envs.web.human_input.HumanInput`), at pixel `x, y` of it.

    `frame`, `reaction` and `lag` are as in `KeyDown`.
    """

    type: Literal["hand"]
    kind: Literal["click", "tap", "press", "move", "release", "hover", "wheel", "key", "fill", "wait"]
    frame: int = Field(ge=0, lt=2**31)
    x: int = Field(default=0, ge=0, lt=4096)
    y: int = Field(default=0, ge=0, lt=4096)
    amount: int = Field(default=0, ge=-4096, le=4096)
    key: str = Field(default="", max_length=32)
    held: tuple[Literal["Alt", "Control", "Meta", "Shift"], ...] = Field(default=(), max_length=4)
    text: str = Field(default="", max_length=200)
    reaction: int | None = Field(default=None, ge=0, le=LONGEST_MS)
    lag: int | None = Field(default=None, ge=0, le=LONGEST_MS)


class ReleaseKeys(_Message):
    """The page lost the focus: no key counts as held."""

    type: Literal["release"]


class FrameShown(_Message):
    """Frame `frame` is on the screen now."""

    type: Literal["shown"]
    frame: int = Field(ge=0, lt=2**31)


class ChooseTask(_Message):
    """Go to a task."""

    type: Literal["choose"]
    task: str = Field(min_length=1, max_length=200)


class Consent(_Message):
    """Agree to what a study asks, or decline."""

    type: Literal["consent"]
    given: StrictBool


class ChooseLanguage(_Message):
    """Switch a study to another of its languages."""

    type: Literal["language"]
    code: str = Field(min_length=2, max_length=16, pattern=r"^[A-Za-z0-9-]+$")


class CheckAnswers(_Message):
    """Answer the comprehension check: the number of the chosen answer per question."""

    type: Literal["answers"]
    chosen: tuple[Annotated[int, Field(ge=0, lt=100)], ...] = Field(max_length=50)


class DeviceInfo(_Message):
    """The device in coarse terms: the window's sides are rounded to hundreds of pixels."""

    type: Literal["device"]
    device: Literal["desktop", "tablet", "phone"]
    browser: Literal["Chrome", "Edge", "Firefox", "Opera", "Safari", "Samsung Internet", "other"]
    width: int = Field(ge=0, le=20_000, multiple_of=100)
    height: int = Field(ge=0, le=20_000, multiple_of=100)
    language: str = Field(min_length=2, max_length=8, pattern=r"^[a-z]+$")


class PageHidden(_Message):
    """The page was hidden for this time."""

    type: Literal["hidden"]
    ms: int = Field(ge=0, le=LONGEST_MS)


class Withdraw(_Message):
    """Leave a study for good; the episodes so far are removed, or kept."""

    type: Literal["withdraw"]
    keep: StrictBool = False


class Command(_Message):
    """Do something with the episode at hand, or go on in a study.

    `episode` is the id of the episode that the page showed, "" for none: a command for another episode than
    the one at hand comes too late.
    """

    type: Literal["pause", "go", "keep", "discard", "redo", "undo", "leave", "ready", "next"]
    episode: str = Field(default="", max_length=64)


Message = (
    KeyDown
    | KeyUp
    | PageInput
    | ReleaseKeys
    | FrameShown
    | ChooseTask
    | Consent
    | ChooseLanguage
    | CheckAnswers
    | DeviceInfo
    | PageHidden
    | Withdraw
    | Command
)
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
RECEIVED = (
    *("down", "up", "hand", "release", "shown"),
    *("choose", "consent", "language", "answers", "device", "hidden", "withdraw"),
    *COMMANDS,
)


def parse(text: str | bytes) -> Message:
    """Parse a page's message; raises TutelageError with one line about the error."""
    if len(text) > LARGEST:
        raise TutelageError(f"expected a message of at most {LARGEST} bytes, got {len(text)}")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise TutelageError(_explain(error.errors()[0])) from None


def _explain(first: Any) -> str:
    if first["type"] == "union_tag_invalid":
        got = str(first["ctx"]["tag"])[:40]
        return f"expected a message of type {', '.join(RECEIVED)}, got {got!r}{nearest(got, RECEIVED)}"
    if first["type"] == "json_invalid":
        return "expected a message in JSON, got something else"
    place = ".".join(str(part) for part in first["loc"][1:]) or "the message"
    return f"expected another message: at {place}, {message_of(first)}"
