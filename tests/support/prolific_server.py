"""A server that behaves as Prolific's REST API is documented to, for the tests: over HTTP, on this machine.

Submissions have their state machine and refuse wrong transitions, the API wants its token, keys are real
RSA keys that can be rotated, bonuses are paid as often as one asks (the real one is not idempotent), and
any call can be made to fail before or after it took effect, or to hang. Control it from the test by its
attributes; it runs in a thread.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import anyio
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tutelage.crowd.server.recorder_app import listen

TOKEN = "a-very-private-token"
STUDY = "65f0aaaaaaaaaaaaaaaaaaaa"
CODES = {"completed": "DONE1234", "declined": "NOCONSENT", "failed-check": "CHECK999"}
TYPES = {"completed": "COMPLETED", "declined": "NO_CONSENT", "failed-check": "FAILED_ATTENTION_CHECK"}
MOVES = {
    ("ACTIVE", "COMPLETE"): "AWAITING REVIEW",
    ("AWAITING REVIEW", "APPROVE"): "APPROVED",
    ("TIMED-OUT", "APPROVE"): "APPROVED",
    ("AWAITING REVIEW", "REJECT"): "REJECTED",
}


@dataclass
class Place:
    """A submission, as the server keeps it."""

    id: str
    participant: str
    status: str = "ACTIVE"
    code: str | None = None
    bonuses: list[int] = field(default_factory=list)
    return_requested: str | None = None
    messages: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "participant": self.participant,
            "study_id": STUDY,
            "status": self.status,
            "started_at": "2026-11-23T10:00:00Z",
            "entered_code": self.code,
            "bonus_payments": self.bonuses,
            "return_requested": self.return_requested,
        }


@dataclass
class Fault:
    """What goes wrong, with which calls, and how often: a status, an answer that is lost, or a hang."""

    path: str
    times: int
    status: int = 500
    after: bool = False  # whether the call takes effect all the same
    hang: bool = False
    skip: int = 0  # so many of these calls go well first
    headers: dict[str, str] = field(default_factory=dict)


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Make key number so and so; each takes a while, so they are shared by all tests of a run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class ProlificServer:
    """The server's state, and what a test may do to it."""

    def __init__(self) -> None:
        self.address = ""
        self.places: dict[str, Place] = {}
        self.bulks: dict[str, list[tuple[str, int]]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.faults: list[Fault] = []
        self.held = threading.Event()  # a hanging call has come
        self.release = threading.Event()  # hanging calls go on
        self.study: dict[str, Any] = {
            "id": STUDY,
            "external_study_url": "https://play.example.org/join?PROLIFIC_PID={{%PROLIFIC_PID%}}"
            "&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
            "is_external_study_url_secure": True,
            "completion_codes": [
                {"code": code, "code_type": TYPES[outcome], "actor": "researcher", "actions": []}
                for outcome, code in CODES.items()
            ],
        }
        self.keys = {"key-0": rsa_key(0)}
        self.others: list[dict[str, Any]] = []  # what else stands in the key set
        self.kid = "key-0"

    def join(self, number: int = 1, status: str = "ACTIVE") -> Place:
        """Let participant `number` take a place."""
        place = Place(f"5e55{number:020x}", f"60ff{number:020x}", status)
        self.places[place.id] = place
        return place

    def fail(self, path: str, times: int = 1, status: int = 500, **more: Any) -> None:
        self.faults.append(Fault(path, times, status, **more))

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish only that one."""
        number = int(self.kid.split("-")[1]) + 1
        self.kid = f"key-{number}"
        self.keys = {self.kid: rsa_key(number)}

    def token(self, place: Place, audience: str = "https://play.example.org/join", **claims: Any) -> str:
        """Sign the word that a participant is sent along with."""
        names = {"PROLIFIC_PID": place.participant, "STUDY_ID": STUDY, "SESSION_ID": place.id}
        now = int(time.time())
        said = {
            "iss": "https://www.prolific.com",
            "aud": audience,
            "sub": place.id,
            "iat": now,
            "exp": now + 300,
            "prolific": {**names, "workspace_id": "63722982f9cc073ecc730f6b"},
        }
        payload = {key: value for key, value in {**said, **claims}.items() if value is not None}
        return jwt.encode(payload, self.keys[self.kid], "RS256", {"kid": self.kid})

    def address_of(self, place: Place, **claims: Any) -> dict[str, str]:
        """Give the parameters of the address that a participant opens."""
        ids = {"PROLIFIC_PID": place.participant, "STUDY_ID": STUDY, "SESSION_ID": place.id}
        return {**ids, "prolific_token": self.token(place, **claims)}

    def told(self, part: str) -> int:
        return sum(part in path for _, path, _ in self.calls)

    def app(self) -> ASGIApp:
        routes = [
            Route("/.well-known/study/jwks.json", self._jwks),
            Route("/api/v1/submissions/", self._list),
            Route("/api/v1/submissions/bonus-payments/", self._set_up, methods=["POST"]),
            Route("/api/v1/submissions/{id}/", self._show),
            Route("/api/v1/submissions/{id}/transition/", self._transition, methods=["POST"]),
            Route("/api/v1/submissions/{id}/request-return/", self._ask_return, methods=["POST"]),
            Route("/api/v1/bulk-bonus-payments/{id}/pay/", self._pay, methods=["POST"]),
            Route("/api/v1/studies/{id}/", self._study),
        ]
        return _Gate(self, Starlette(routes=routes))

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": self.others + [public_jwk(*one) for one in self.keys.items()]})

    async def _study(self, request: Request) -> Response:
        return JSONResponse(self.study) if request.path_params["id"] == STUDY else _error(404, "Not found")

    async def _list(self, request: Request) -> Response:
        page, size = (int(request.query_params.get(name, n)) for name, n in (("page", 1), ("page_size", 20)))
        if request.query_params.get("study") != STUDY:
            return _error(400, "A study id is required")
        shown = [{**one.shown(), "participant_id": one.participant} for one in self.places.values()]
        for one in shown:
            del one["bonus_payments"], one["participant"]
        return JSONResponse({"results": shown[(page - 1) * size : page * size]})

    async def _show(self, request: Request) -> Response:
        place = self.places.get(request.path_params["id"])
        return JSONResponse(place.shown()) if place else _error(404, "Not found")

    async def _transition(self, request: Request) -> Response:
        place = self.places.get(request.path_params["id"])
        if place is None:
            return _error(404, "Not found")
        body = await request.json()
        action, code = body.get("action"), body.get("completion_code")
        codes = {one["code"]: one for one in self.study["completion_codes"]}
        if action == "COMPLETE" and (code not in codes or codes[code]["actor"] != "researcher"):
            return _error(400, f"Wrong completion code for {place.participant}")
        if action == "REJECT" and (len(body.get("message", "")) < 100 or not body.get("rejection_category")):
            return _error(400, "A message of at least 100 characters and a category are required")
        if place.status == MOVES.get((place.status, action)) or self._is_again(place, action, code):
            return JSONResponse(place.shown())
        if (place.status, action) not in MOVES:
            return _error(400, f"{place.status} cannot {action}")
        place.status = MOVES[place.status, action]
        place.code = code or place.code
        if action == "COMPLETE" and "AUTOMATICALLY_APPROVE" in codes[code]["actions"]:
            place.status = "APPROVED"
        return JSONResponse(place.shown())

    def _is_again(self, place: Place, action: str, code: str | None) -> bool:
        """Whether this was done before: the second request is ignored."""
        done = {
            "APPROVE": ("APPROVED",),
            "REJECT": ("REJECTED",),
            "COMPLETE": ("AWAITING REVIEW", "APPROVED"),
        }
        return place.status in done.get(action, ()) and (action != "COMPLETE" or place.code == code)

    async def _ask_return(self, request: Request) -> Response:
        place = self.places.get(request.path_params["id"])
        reasons = (await request.json()).get("request_return_reasons")
        if place is None or not reasons:
            return _error(400, "Reasons are required")
        place.messages += reasons
        place.return_requested = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return JSONResponse(place.shown())

    async def _set_up(self, request: Request) -> Response:
        body = await request.json()
        rows = [line.split(",") for line in body["csv_bonuses"].splitlines()]
        if wrong := [one for one, _ in rows if one not in self.places]:
            return _error(400, f"These took no part: {', '.join(wrong)}")
        bulk = f"b0b0{len(self.bulks):020x}"
        self.bulks[bulk] = [(one, round(float(amount) * 100)) for one, amount in rows]
        total = sum(pence for _, pence in self.bulks[bulk])
        return JSONResponse({"id": bulk, "study": STUDY, "amount": total, "total_amount": total * 4 / 3}, 201)

    async def _pay(self, request: Request) -> Response:
        if (bulk := request.path_params["id"]) not in self.bulks:
            return _error(404, "Not found")
        for submission, pence in self.bulks[bulk]:
            self.places[submission].bonuses.append(pence)
        return JSONResponse(f"Bulk bonus payment with ID {bulk} is being processed asynchronously.", 202)


class _Gate:
    """Stands before the API: notes each call, wants the token, and makes go wrong what shall go wrong."""

    def __init__(self, server: ProlificServer, app: ASGIApp) -> None:
        self._server = server
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope, receive)
        body = await request.body()
        self._server.calls.append((request.method, request.url.path, json.loads(body) if body else None))
        if request.url.path.startswith("/api/") and request.headers.get("authorization") != f"Token {TOKEN}":
            return await _error(401, "Unauthorized")(scope, receive, send)
        fault = self._fault(request.url.path)

        async def again() -> Message:
            return {"type": "http.request", "body": body}

        if fault is None:
            return await self._app(scope, again, send)
        if fault.after:
            await self._app(scope, again, _nowhere)
        if fault.hang:
            self._server.held.set()
            await anyio.to_thread.run_sync(self._server.release.wait)
        return await PlainTextResponse("oh", fault.status, headers=fault.headers)(scope, receive, send)

    def _fault(self, path: str) -> Fault | None:
        for fault in self._server.faults:
            if fault.times and fault.path in path:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


@contextmanager
def prolific_server() -> Iterator[ProlificServer]:
    """Run Prolific in a thread."""
    server = ProlificServer()
    with serving(server.app()) as server.address:
        try:
            yield server
        finally:
            server.release.set()


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve an application in a thread; gives its address."""
    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join()


def public_jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """Write a public key down as Prolific's key set does."""
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {
        "kty": "RSA",
        "kid": kid,
        "alg": "RS256",
        "n": jwk["n"],
        "e": jwk["e"],
        "use": "sig",
        "key_ops": ["verify"],
    }


def _error(status: int, title: str) -> Response:
    said = {"status": status, "error_code": 140000 + status, "title": title, "detail": title}
    return JSONResponse({"error": said}, status)


async def _nowhere(_: Message) -> None: ...
