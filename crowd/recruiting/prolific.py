"""Client of Prolific's REST API, as far as a study needs it: submissions, completion, review, and bonuses.

After docs.prolific.com (API reference: Submissions, Bonuses, Studies; Core concepts: Managing high loads).
Transitions are idempotent there, so they are retried on 429, on 5xx and without an answer, with exponential
back-off. Paying a bonus is not ("participants being paid multiple times"), so it is retried only where it is
certain that nothing was done. Calls block for the network: call them from a worker thread.

Not covered: making and publishing studies, messages, participant groups, bulk approval, screen-outs and
dynamic payments, and undoing a rejection: do these at Prolific.
"""

from __future__ import annotations

import email.utils
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from ...errors import TutelageError
from .panels import ProlificPanel

try:
    import httpx

    from .authorities import authorities
except ImportError as error:
    raise TutelageError(f"expected httpx for Prolific, got: {error}; pip install 'tutelage[study]'") from None

TOKEN = "PROLIFIC_API_TOKEN"
"""The environment variable with the API key, which is stored nowhere else."""

UNDERWAY = ("RESERVED", "ACTIVE")
HANDED_IN = ("AWAITING REVIEW", "APPROVED", "PARTIALLY APPROVED", "SCREENED OUT")
STATUSES = (*UNDERWAY, *HANDED_IN, "REJECTED", "RETURNED", "TIMED-OUT", "UNKNOWN")
REJECTION_CATEGORIES = (
    "TOO_QUICKLY",
    "TOO_SLOWLY",
    "FAILED_INSTRUCTIONS",
    "INCOMP_LONGITUDINAL",
    "FAILED_CHECK",
    "LOW_EFFORT",
    "MALINGERING",
    "NO_CODE",
    "BAD_CODE",
    "NO_DATA",
    "UNSUPP_DEVICE",
    "OTHER",
)
SHORTEST_REASON = 100
RETURN_DAYS = 5
"""Days to wait for a requested return (researcher help, "Return vs Reject")."""

_BUSY = (429, 500, 502, 503, 504)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LONGEST = 60.0  # longest wait in seconds within a call; after a longer one the caller retries
_PAGE = 100
_IDS = re.compile(r"\b[0-9a-fA-F]{24}\b|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")


class ProlificError(TutelageError):
    """Prolific did not do what it was asked to.

    `status` is the HTTP status, 0 without an answer. `undone` says that certainly nothing was done. The text
    never names a participant or a submission.
    """

    def __init__(self, task: str, why: str, status: int = 0, undone: bool = True) -> None:
        super().__init__(f"expected Prolific to {task}, got {why}")
        self.status = status
        self.undone = undone

    @property
    def is_final(self) -> bool:
        """Whether a retry would get the same answer."""
        return 400 <= self.status < 500 and self.status not in (401, 403, 408, 429)


@dataclass(frozen=True)
class Submission:
    """One participant's place in a study at Prolific. `bonuses` are the paid ones, in pence or cents."""

    id: str = field(repr=False)
    status: str
    participant: str = field(default="", repr=False)
    study: str = ""
    code: str = field(default="", repr=False)
    bonuses: tuple[int, ...] = ()
    return_asked: float | None = None
    """When its return was requested, in seconds since 1970."""


class ProlificClient:
    """Client of Prolific's API with one token, for any number of threads.

    `attempts` is the number of tries per call; `wait` sleeps between them.
    """

    def __init__(
        self,
        token: str,
        address: str = "https://api.prolific.com",
        *,
        timeout: float = 10.0,
        attempts: int = 6,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs addresses, which contain ids
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Token {token}"},
            timeout=timeout,
            verify=authorities(),
        )
        self._attempts = attempts
        self._wait = wait
        self._free_at = 0.0  # monotonic time of the next allowed request

    def submission(self, submission: str) -> Submission:
        """Read a submission."""
        return _submission(self._call("tell of a submission", "GET", f"submissions/{_quoted(submission)}/"))

    def submissions(self, study: str) -> Iterator[Submission]:
        """List a study's submissions, page by page; without bonuses, which only `submission` returns."""
        page = 1
        while True:
            query = {"study": study, "page": page, "page_size": _PAGE}
            results = self._call("list submissions", "GET", "submissions/", params=query).get("results") or []
            yield from (_submission(result) for result in results)
            if len(results) < _PAGE:
                return
            page += 1

    def study(self, study: str) -> Mapping[str, Any]:
        """Read a study, as Prolific describes it."""
        return self._call("tell of the study", "GET", f"studies/{_quoted(study)}/")

    def complete(self, submission: str, code: str) -> Submission:
        """Report that a submission is complete, with a code whose actor is the researcher."""
        return self._transition("complete a submission", submission, action="COMPLETE", completion_code=code)

    def approve(self, submission: str) -> Submission:
        """Approve a submission, which pays its reward."""
        return self._transition("approve a submission", submission, action="APPROVE")

    def ask_return(self, submission: str, *reasons: str) -> None:
        """Ask a participant to return their submission; each reason is a sentence for them."""
        path, body = f"submissions/{_quoted(submission)}/request-return/", {"request_return_reasons": reasons}
        self._call("ask for a return", "POST", path, json=body)

    def reject(self, submission: str, message: str, category: str) -> Submission:
        """Reject a submission: it is not paid, and it counts against the participant.

        Raises TutelageError, before anything is sent, unless Prolific's rules are met: a message to the
        participant of at least 100 characters, one of its categories, a submission that awaits review, and
        five days after a requested return.
        """
        if len(message.strip()) < SHORTEST_REASON:
            raise TutelageError(
                f"expected a message of at least {SHORTEST_REASON} characters to whoever is rejected, "
                f"got {len(message.strip())}; say what was wrong, so that they can learn from it"
            )
        if category not in REJECTION_CATEGORIES:
            raise TutelageError(f"expected one of {', '.join(REJECTION_CATEGORIES)}, got {category!r}")
        current = self.submission(submission)
        if current.status != "AWAITING REVIEW":
            raise TutelageError(f"expected a submission that awaits review, got one that is {current.status}")
        if current.return_asked and time.time() - current.return_asked < RETURN_DAYS * 24 * 3600:
            raise TutelageError(
                f"expected {RETURN_DAYS} days between asking for a return and a rejection, got fewer; wait"
            )
        return self._transition(
            "reject a submission",
            submission,
            action="REJECT",
            message=message.strip(),
            rejection_category=category,
        )

    def set_up_bonus(self, study: str, amounts: Mapping[str, Decimal]) -> str:
        """Set bonuses up, submission → amount in the study's currency; returns the id to pay them by.

        Nothing is paid by this call: a bonus that is set up twice and paid once is paid once.
        """
        lines = "\n".join(f"{_quoted(submission)},{amount:.2f}" for submission, amount in amounts.items())
        body = {"study_id": study, "csv_bonuses": lines}
        answer = self._call("set a bonus up", "POST", "submissions/bonus-payments/", json=body)
        if not answer.get("id"):
            raise ProlificError("set a bonus up", "an answer without an id")
        return str(answer["id"])

    def pay_bonus(self, bulk: str) -> None:
        """Pay what was set up. Raises ProlificError; unless `undone`, it may have been paid all the same."""
        self._call("pay a bonus", "POST", f"bulk-bonus-payments/{_quoted(bulk)}/pay/", json={}, again=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _transition(self, task: str, submission: str, **body: str) -> Submission:
        return _submission(
            self._call(task, "POST", f"submissions/{_quoted(submission)}/transition/", json=body)
        )

    def _call(self, task: str, method: str, path: str, again: bool = True, **request: Any) -> dict[str, Any]:
        """Send a request until it is answered; `again=False`: retry only if it was certainly not received."""
        failure = ProlificError(task, "no attempt")
        for attempt in range(self._attempts):
            self._pause(task, attempt)
            try:
                answer = self._http.request(method, f"/api/v1/{path}", **request)
            except httpx.TransportError as error:
                was_received = not isinstance(error, _NEVER_SENT)
                failure = ProlificError(task, f"no answer ({type(error).__name__})", undone=not was_received)
            else:
                if answer.is_success:
                    return _json_object(answer)
                failure = _failure(task, answer)
                self._free_at = max(self._free_at, time.monotonic() + _retry_after(answer))
            if failure.status not in (0, *_BUSY) or not (again or failure.undone):
                break
        raise failure from None

    def _pause(self, task: str, attempt: int) -> None:
        """Wait before an attempt: as long as Prolific asks for, plus exponential back-off with jitter."""
        delay = self._free_at - time.monotonic()
        if delay > _LONGEST:
            raise ProlificError(task, f"the wish to be asked again in {delay:.0f} s", 429)
        seconds = max(delay, 0.0)
        if attempt:
            seconds += min(0.5 * 2**attempt, _LONGEST) * secrets.SystemRandom().uniform(0.5, 1.0)
        if seconds:
            self._wait(seconds)


def status_of(text: object) -> str:
    """Return one of STATUSES for any spelling ("AWAITING_REVIEW", ...); UNKNOWN for any other."""
    status = str(text).upper().replace("_", " ").replace("TIMED OUT", "TIMED-OUT")
    return status if status in STATUSES else "UNKNOWN"


def client_from_environment(prolific: ProlificPanel) -> ProlificClient:
    """Make a client with the environment's key; raises TutelageError when there is none."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise TutelageError(
            f"expected {TOKEN} in the environment, got none; make one in Prolific's settings and export it"
        )
    return ProlificClient(token, prolific.api)


def _submission(data: Mapping[str, Any]) -> Submission:
    return Submission(
        str(data.get("id", "")),
        status_of(data.get("status")),
        str(data.get("participant") or data.get("participant_id") or ""),
        str(data.get("study_id") or ""),
        str(data.get("entered_code") or data.get("study_code") or ""),
        tuple(round(bonus) for bonus in data.get("bonus_payments") or []),
        _timestamp(data.get("return_requested")),
    )


def _timestamp(date: object) -> float | None:
    """Read a date, in UTC unless it has another zone."""
    try:
        parsed = datetime.fromisoformat(str(date))
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _failure(task: str, answer: httpx.Response) -> ProlificError:
    """Describe Prolific's error by its title: the details may contain ids."""
    error = _json_object(answer).get("error")
    title = _IDS.sub("...", str(error.get("title", ""))[:100]) if isinstance(error, dict) else ""
    why = f"status {answer.status_code}" + (f" ({title})" if title else "")
    return ProlificError(task, why, answer.status_code, undone=answer.status_code < 500)


def _retry_after(answer: httpx.Response) -> float:
    """Read `Retry-After`: seconds, or a date; 0 if there is none."""
    header = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,7}", header):
        return float(header)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
