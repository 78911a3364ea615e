"""The page of whoever runs a study: what it asks for, and what may be done from it."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ...datasets.store import Store
from ...errors import TutelageError
from ...files.finite_json import json_text
from ..page_templates import STATIC
from ..privacy.people_search import find_people
from ..recruiting.browsers import RELEASE, release
from ..server.bounded_calls import bounded_call
from ..server.json_response import JSONAnswer
from ..storage.journal import Journal
from ..storage.study_tables import StudyDatabase
from ..studies.moderation import decide
from .admin_token import AdminToken, Signer
from .auth import Auth, same_origin
from .exports import export_demonstrations, export_records
from .fresh import CachedCall
from .live_view import NOBODY, SIGNED_OUT, JournalView, Seats, watch
from .monitor import WINDOWS, StudyTargets, figures
from .participants import Judge, ParticipantAssessment, one_person, roster
from .playback import Playbacks

_PAGE = STATIC / "dashboard.html"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_LONGEST_WORD = 256
_NO_STORE = {"Cache-Control": "no-store"}


def routes(
    plan: StudyTargets,
    ledger: StudyDatabase,
    journal: Journal,
    store: Store,
    secret: Signer,
    *,
    folder: Path,
    seats: Seats,
    playbacks: Playbacks,
    judge: Judge | None = None,
) -> list[BaseRoute]:
    """Make the routes of a study's dashboard, all below /admin, and /metrics.

    `folder` holds the admin token's hash (see `make_admin`); `seats` gives a seat that is open on this server
    by its id; `judge` says what is thought of everyone.
    """
    door = Auth(AdminToken(folder, secret), ledger, plan.study)
    room = _Dashboard(plan, ledger, journal, store, door, seats, playbacks, judge)
    return [
        Route("/admin", room.page),
        Route("/admin/session", room.session),
        Route("/admin/login", room.login, methods=["POST"]),
        Route("/admin/logout", room.logout, methods=["POST"]),
        Route("/admin/figures", room.figures),
        Route("/admin/people", room.people),
        Route("/admin/people/{person}", room.person),
        Route("/admin/find", room.find, methods=["POST"]),
        Route("/admin/decide", room.decide, methods=["POST"]),
        Route("/admin/replay/{episode}", room.replay),
        Route("/admin/records.zip", room.records),
        Route("/admin/demonstrations.zip", room.demonstrations),
        WebSocketRoute("/admin/watch/{person}", room.watch),
        Route("/metrics", room.metrics),
    ]


class _Dashboard:
    """What the routes share."""

    def __init__(
        self,
        plan: StudyTargets,
        ledger: StudyDatabase,
        journal: Journal,
        store: Store,
        door: Auth,
        seats: Seats,
        playbacks: Playbacks,
        judge: Judge | None,
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._journal = journal
        self._store = store
        self._door = door
        self._seats = seats
        self._playbacks = playbacks
        self._figures = {
            window: CachedCall(lambda window=window: _json(figures(ledger, plan, window)))  # type: ignore[misc]
            for window in WINDOWS
        }
        self._people = CachedCall(self._list_people)
        self._judged = CachedCall(judge or dict, seconds=4.0, share=0.05)
        self._thought: Mapping[str, ParticipantAssessment] = {}
        self._metrics = CachedCall(self._expose)

    async def page(self, _: Request) -> Response:
        return FileResponse(_PAGE, headers=_NO_STORE)

    async def session(self, request: Request) -> Response:
        """Tell a page whether it is signed in, and the token that its POSTs must carry."""
        admin = self._door.admin
        cookie = self._door.cookie(request)
        known = await self._door.session(request) is not None
        new = cookie if admin.is_ours(cookie) else admin.visit()
        response = JSONAnswer({"signedIn": known, "csrf": admin.csrf(new)}, headers=_NO_STORE)
        if new != cookie:
            self._door.set_cookie(request, response, new)
        return response

    async def login(self, request: Request) -> Response:
        read = await self._door.read(request)
        await self._door.token(request, read.get("token", ""))
        cookie = self._door.admin.sign_in()
        response = JSONAnswer({"signedIn": True, "csrf": self._door.admin.csrf(cookie)}, headers=_NO_STORE)
        self._door.set_cookie(request, response, cookie)
        await bounded_call(self._ledger.note, self._plan.study, "sign-in")
        return response

    async def logout(self, request: Request) -> Response:
        session = await self._door.enter(request)
        await self._door.read(request)
        await self._door.end(session)
        response = Response(status_code=204)
        self._door.set_cookie(request, response, self._door.admin.visit())
        return response

    async def figures(self, request: Request) -> Response:
        await self._door.enter(request)
        window = request.query_params.get("window", "hour")
        if window not in self._figures:
            raise HTTPException(400, f"expected a window of {', '.join(WINDOWS)}")
        return _fresh(await self._figures[window].get(), request)

    async def people(self, request: Request) -> Response:
        await self._door.enter(request)
        self._thought = await self._judged.get()
        return _fresh(await self._people.get(), request)

    async def person(self, request: Request) -> Response:
        await self._door.enter(request)
        person = _name(request, "person")
        judged = (await self._judged.get()).get(person)
        profile = await bounded_call(one_person, self._ledger, self._journal, self._plan, person, judged)
        if profile is None:
            raise HTTPException(404, "expected a person of this study, got another")
        return _fresh(_json(profile), request)

    async def find(self, request: Request) -> Response:
        """Find people by completion code or id at the panel; a POST, for ids stand in no address or log."""
        await self._door.enter(request)
        word = (await self._door.read(request)).get("word", "")
        rows = await bounded_call(find_people, self._ledger, self._plan.study, word[:_LONGEST_WORD])
        return JSONAnswer({"people": [row["person"] for row in rows]}, headers=_NO_STORE)

    async def decide(self, request: Request) -> Response:
        await self._door.enter(request)
        read = await self._door.read(request)
        wanted = {name: read.get(name, "") for name in ("what", "person", "reason")}
        try:
            await bounded_call(lambda: self._decide(**wanted))
        except TutelageError as error:
            raise HTTPException(409, str(error)) from None
        for fresh in (*self._figures.values(), self._people):
            fresh.forget()
        return Response(status_code=204)

    async def replay(self, request: Request) -> Response:
        await self._door.enter(request)
        episode = _name(request, "episode")
        played = await self._playbacks.find(episode)
        if played is None:
            raise HTTPException(404, "expected an episode of this study, got another")
        return StreamingResponse(
            self._playbacks.stream(played), media_type="application/octet-stream", headers=_NO_STORE
        )

    async def records(self, request: Request) -> Response:
        await self._door.enter(request)
        return _download(export_records(self._ledger, self._plan.study), f"{self._plan.study}-records.zip")

    async def demonstrations(self, request: Request) -> Response:
        await self._door.enter(request)
        return _download(export_demonstrations(self._store), f"{self._plan.study}-demonstrations.zip")

    async def watch(self, page: WebSocket) -> None:
        """Show what a person sees, until either goes."""
        await page.accept()
        if not same_origin(page.headers) or await self._door.session(page) is None:
            await page.close(SIGNED_OUT)
            return
        name = page.path_params["person"]
        participant = await bounded_call(self._ledger.person, person=name) if _NAME.fullmatch(name) else None
        if participant is None or participant.study != self._plan.study:
            await page.close(NOBODY)
            return
        elsewhere = JournalView(participant.seat, self._plan.suite, self._journal, self._playbacks.make_world)
        await watch(page, lambda: self._seats(participant.seat) or elsewhere)

    async def metrics(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(401, "expected a bearer token", {"WWW-Authenticate": "Bearer"})
        await self._door.token(request, token)
        from .metrics import CONTENT_TYPE

        return Response(await self._metrics.get(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    def _decide(self, what: str, person: str, reason: str) -> None:
        if what == RELEASE:
            release(self._ledger, self._plan.study, person, reason, time.time())
        else:
            decide(self._ledger, self._plan.study, what, person, reason)

    def _list_people(self) -> bytes:
        return _json(roster(self._ledger, self._plan, self._thought))

    def _expose(self) -> bytes:
        from .metrics import exposition  # an extra package: needed only where it is scraped

        return exposition(self._ledger, self._plan)


def _name(request: Request, which: str) -> str:
    """Return a part of the path that a pseudonym or an episode's id may be."""
    name = str(request.path_params[which])
    if not _NAME.fullmatch(name):
        raise HTTPException(404, f"expected a known {which}, got another")
    return name


def _json(value: Any) -> bytes:
    """Write a value down, compressed: a thousand people are asked for again and again."""
    text = json_text(value, is_compact=True, is_ascii=False)
    return gzip.compress(text.encode(), compresslevel=1)


def _fresh(body: bytes, request: Request) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(gzip.decompress(body), media_type="application/json", headers=_NO_STORE)
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding", **_NO_STORE}
    return Response(body, media_type="application/json", headers=headers)


def _download(chunks: Iterator[bytes], name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **_NO_STORE}
    return StreamingResponse(chunks, media_type="application/zip", headers=headers)
