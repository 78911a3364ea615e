"""The dashboard's HTTP routes: queries, moderation decisions, exports and live views."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ...datasets.store import Store
from ...errors import TutelageError
from ...files.finite_json import json_text
from ..page_templates import english_page
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
from .participants import Judge, ParticipantAssessment, describe_participant, list_participants
from .playback import Playbacks

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_LONGEST_WORD = 256
_NO_STORE = {"Cache-Control": "no-store"}


def routes(
    targets: StudyTargets,
    database: StudyDatabase,
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

    `folder` holds the admin token's hash (see `make_admin`); `seats` returns a seat that is open on this
    server by its id; `judge` returns the assessment of every participant.
    """
    auth = Auth(AdminToken(folder, secret), database, targets.study)
    dashboard = _Dashboard(targets, database, journal, store, auth, seats, playbacks, judge)
    return [
        Route("/admin", dashboard.page),
        Route("/admin/session", dashboard.session),
        Route("/admin/login", dashboard.login, methods=["POST"]),
        Route("/admin/logout", dashboard.logout, methods=["POST"]),
        Route("/admin/figures", dashboard.figures),
        Route("/admin/people", dashboard.people),
        Route("/admin/people/{person}", dashboard.person),
        Route("/admin/find", dashboard.find, methods=["POST"]),
        Route("/admin/decide", dashboard.decide, methods=["POST"]),
        Route("/admin/replay/{episode}", dashboard.replay),
        Route("/admin/records.zip", dashboard.records),
        Route("/admin/demonstrations.zip", dashboard.demonstrations),
        WebSocketRoute("/admin/watch/{person}", dashboard.watch),
        Route("/metrics", dashboard.metrics),
    ]


class _Dashboard:
    """State shared by the routes."""

    def __init__(
        self,
        targets: StudyTargets,
        database: StudyDatabase,
        journal: Journal,
        store: Store,
        auth: Auth,
        seats: Seats,
        playbacks: Playbacks,
        judge: Judge | None,
    ) -> None:
        self._targets = targets
        self._database = database
        self._journal = journal
        self._store = store
        self._auth = auth
        self._seats = seats
        self._playbacks = playbacks
        self._figures = {
            window: CachedCall(lambda window=window: _json(figures(database, targets, window)))  # type: ignore[misc]
            for window in WINDOWS
        }
        self._people = CachedCall(self._list_people)
        self._cached_assessments = CachedCall(judge or dict, seconds=4.0, share=0.05)
        self._assessments: Mapping[str, ParticipantAssessment] = {}
        self._metrics = CachedCall(self._expose_metrics)

    async def page(self, _: Request) -> Response:
        return english_page("dashboard.html")

    async def session(self, request: Request) -> Response:
        """Return whether the page is signed in, and the CSRF token that its POSTs must carry."""
        admin = self._auth.admin
        cookie = self._auth.cookie(request)
        is_signed_in = await self._auth.session(request) is not None
        current = cookie if admin.is_ours(cookie) else admin.visit()
        response = JSONAnswer({"signedIn": is_signed_in, "csrf": admin.csrf(current)}, headers=_NO_STORE)
        if current != cookie:
            self._auth.set_cookie(request, response, current)
        return response

    async def login(self, request: Request) -> Response:
        fields = await self._auth.read(request)
        await self._auth.token(request, fields.get("token", ""))
        cookie = self._auth.admin.sign_in()
        response = JSONAnswer({"signedIn": True, "csrf": self._auth.admin.csrf(cookie)}, headers=_NO_STORE)
        self._auth.set_cookie(request, response, cookie)
        await bounded_call(self._database.note, self._targets.study, "sign-in")
        return response

    async def logout(self, request: Request) -> Response:
        session = await self._auth.enter(request)
        await self._auth.read(request)
        await self._auth.end(session)
        response = Response(status_code=204)
        self._auth.set_cookie(request, response, self._auth.admin.visit())
        return response

    async def figures(self, request: Request) -> Response:
        await self._auth.enter(request)
        window = request.query_params.get("window", "hour")
        if window not in self._figures:
            raise HTTPException(400, f"expected a window of {', '.join(WINDOWS)}")
        return _json_response(await self._figures[window].get(), request)

    async def people(self, request: Request) -> Response:
        await self._auth.enter(request)
        self._assessments = await self._cached_assessments.get()
        return _json_response(await self._people.get(), request)

    async def person(self, request: Request) -> Response:
        await self._auth.enter(request)
        person = _name(request, "person")
        assessment = (await self._cached_assessments.get()).get(person)
        profile = await bounded_call(
            describe_participant, self._database, self._journal, self._targets, person, assessment
        )
        if profile is None:
            raise HTTPException(404, "expected a person of this study, got another")
        return _json_response(_json(profile), request)

    async def find(self, request: Request) -> Response:
        """Find people by completion code or panel id; a POST, so that ids appear in no address or log."""
        await self._auth.enter(request)
        word = (await self._auth.read(request)).get("word", "")
        rows = await bounded_call(find_people, self._database, self._targets.study, word[:_LONGEST_WORD])
        return JSONAnswer({"people": [row["person"] for row in rows]}, headers=_NO_STORE)

    async def decide(self, request: Request) -> Response:
        await self._auth.enter(request)
        fields = await self._auth.read(request)
        decision = {name: fields.get(name, "") for name in ("what", "person", "reason")}
        try:
            await bounded_call(lambda: self._decide(**decision))
        except TutelageError as error:
            raise HTTPException(409, str(error)) from None
        for cached in (*self._figures.values(), self._people):
            cached.forget()
        return Response(status_code=204)

    async def replay(self, request: Request) -> Response:
        await self._auth.enter(request)
        episode = _name(request, "episode")
        playback = await self._playbacks.find(episode)
        if playback is None:
            raise HTTPException(404, "expected an episode of this study, got another")
        return StreamingResponse(
            self._playbacks.stream(playback), media_type="application/octet-stream", headers=_NO_STORE
        )

    async def records(self, request: Request) -> Response:
        await self._auth.enter(request)
        return _download(
            export_records(self._database, self._targets.study), f"{self._targets.study}-records.zip"
        )

    async def demonstrations(self, request: Request) -> Response:
        await self._auth.enter(request)
        return _download(export_demonstrations(self._store), f"{self._targets.study}-demonstrations.zip")

    async def watch(self, page: WebSocket) -> None:
        """Stream what a person's page shows, until either page closes."""
        await page.accept()
        if not same_origin(page.headers) or await self._auth.session(page) is None:
            await page.close(SIGNED_OUT)
            return
        name = page.path_params["person"]
        participant = (
            await bounded_call(self._database.person, person=name) if _NAME.fullmatch(name) else None
        )
        if participant is None or participant.study != self._targets.study:
            await page.close(NOBODY)
            return
        elsewhere = JournalView(
            participant.seat, self._targets.suite, self._journal, self._playbacks.make_host
        )
        await watch(page, lambda: self._seats(participant.seat) or elsewhere)

    async def metrics(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(401, "expected a bearer token", {"WWW-Authenticate": "Bearer"})
        await self._auth.token(request, token)
        from .metrics import CONTENT_TYPE

        return Response(await self._metrics.get(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    def _decide(self, what: str, person: str, reason: str) -> None:
        if what == RELEASE:
            release(self._database, self._targets.study, person, reason, time.time())
        else:
            decide(self._database, self._targets.study, what, person, reason)

    def _list_people(self) -> bytes:
        return _json(list_participants(self._database, self._targets, self._assessments))

    def _expose_metrics(self) -> bytes:
        from .metrics import exposition  # an optional package: needed only when metrics are scraped

        return exposition(self._database, self._targets)


def _name(request: Request, which: str) -> str:
    """Return a path parameter that is a valid pseudonym or episode id."""
    name = str(request.path_params[which])
    if not _NAME.fullmatch(name):
        raise HTTPException(404, f"expected a known {which}, got another")
    return name


def _json(value: Any) -> bytes:
    """Encode a value as compressed JSON: a thousand rows are requested again and again."""
    text = json_text(value, is_compact=True, is_ascii=False)
    return gzip.compress(text.encode(), compresslevel=1)


def _json_response(body: bytes, request: Request) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(gzip.decompress(body), media_type="application/json", headers=_NO_STORE)
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding", **_NO_STORE}
    return Response(body, media_type="application/json", headers=headers)


def _download(chunks: Iterator[bytes], name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **_NO_STORE}
    return StreamingResponse(chunks, media_type="application/zip", headers=headers)
