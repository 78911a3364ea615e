"""Who leads a seat: what to play next, and what a page is told and may ask besides the episode."""

from __future__ import annotations

from typing import Any, Protocol

from ..translations import Translations
from .protocol import Message


class Flow(Protocol):
    """Leads one seat through its session; `FreeChoice` lets people choose, a study's leads them all the way.

    A guide drives the session (`enter`, `take_up`, `keep`, `put_aside`, `give_up`, `leave`), and sets its
    `number` and `target`. The seat calls one method at a time, and tells the page what came of it. What a
    guide does of its own accord, on a timer say, it does inside `async with seat.changing():`. A
    TutelageError becomes one line on the page. `texts` is the language that the page speaks.
    """

    texts: Translations

    async def arrive(self) -> None:
        """Take up what was underway: a page has opened the seat, for the first time or again."""
        ...

    async def answer(self, message: Message) -> bool:
        """Do what a message that is neither key nor frame asks for; False when it is none of ours."""
        ...

    async def finished(self) -> None:
        """Go on after the session's episode: it has just ended (the phase is FINISHED), or its
        environment failed and the session has given it up (the phase is CHOOSING)."""
        ...

    def tell(self) -> list[dict[str, Any]]:
        """Return the messages that draw the page's present stage.

        The seat itself sends `state` (see `view.session_message`); a message of type `state` here adds its
        fields to that one.
        """
        ...
