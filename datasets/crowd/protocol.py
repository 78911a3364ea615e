"""What a page and the server say to each other; a test holds `static/protocol.js` to the same names.

A page sends JSON texts, one of `Down` ... `Command`. The server sends JSON texts whose `type` is one of
SENT, and binary messages: a frame (see `frames.pack`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...envs.errors import TutelageError, nearest

LARGEST = 4096
"""Bytes of the longest message that a page may send."""

SENT = ("state", "step", "saved", "saving", "note", "error", "replaced")
COMMANDS = ("pause", "go", "keep", "discard", "redo", "undo", "leave")
REPLACED = 4001
"""WebSocket close code: another page has taken this seat."""
UNKNOWN_SEAT = 4002
"""WebSocket close code: the page must be loaded anew, to be given a seat."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Down(_Message):
    """A key went down while frame `frame` was on the screen."""

    type: Literal["down"]
    code: str = Field(min_length=1, max_length=32)
    frame: int = Field(ge=0, lt=2**31)


class Up(_Message):
    """A key went up."""

    type: Literal["up"]
    code: str = Field(min_length=1, max_length=32)


class Release(_Message):
    """The page lost the focus: no key counts as held."""

    type: Literal["release"]


class Shown(_Message):
    """Frame `frame` is on the screen now."""

    type: Literal["shown"]
    frame: int = Field(ge=0, lt=2**31)


class Choose(_Message):
    """Go to a task."""

    type: Literal["choose"]
    task: str = Field(min_length=1, max_length=200)


class Command(_Message):
    """Do something with the episode at hand."""

    type: Literal["pause", "go", "keep", "discard", "redo", "undo", "leave"]


Message = Down | Up | Release | Shown | Choose | Command
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
RECEIVED = ("down", "up", "release", "shown", "choose", *COMMANDS)


def parse(text: str | bytes) -> Message:
    """Read what a page sent; raises TutelageError with one line about what is wrong with it."""
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
    return f"expected another message: at {place}, {first['msg'][:1].lower()}{first['msg'][1:]}"
