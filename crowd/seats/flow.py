"""Protocol of a seat's flow: what to play next, and the page's messages besides the episode."""

from __future__ import annotations

from typing import Any, Protocol

from ..translations import Translations
from .protocol import Message


class Flow(Protocol):
    """Leads one seat through its session; `FreeChoice` lets people choose, a study prescribes the sequence.

    A flow drives the session (`enter`, `take_up`, `keep`, `put_aside`, `give_up`, `leave`), and sets its
    `number` and `target`. The seat calls one method at a time, and sends the page the result. A change that a
    flow makes on its own, on a timer for example, runs inside `async with seat.changing():`. A TutelageError
    becomes one line on the page. `texts` is the language of the page.
    """

    texts: Translations

    async def arrive(self) -> None:
        """Resume the episode underway: a page has opened the seat, for the first time or again."""
        ...

    async def answer(self, message: Message) -> bool:
        """Handle a message that is neither key nor frame; False if it is not one of the flow's."""
        ...

    async def finished(self) -> None:
        """Continue after the session's episode.

        It has just ended (the phase is FINISHED), or its environment failed and the session has given it up
        (the phase is CHOOSING).
        """
        ...

    def tell(self) -> list[dict[str, Any]]:
        """Return the messages that draw the page's present stage.

        The seat itself sends `state` (see `view.session_message`); a message of type `state` here adds its
        fields to that one.
        """
        ...
