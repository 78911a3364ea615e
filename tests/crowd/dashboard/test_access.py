"""The dashboard's routes: who gets in, what comes out, and what never does."""

from __future__ import annotations

import concurrent.futures
import csv
import io
import json
import stat
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sql
from tutelage.crowd.dashboard.admin_token import HASH, SESSION_SECONDS, AdminToken, FailedAttempts, make_admin
from tutelage.crowd.storage.secret import Secret
from tutelage.crowd.storage.study_tables import events, people
from tutelage.crowd.studies.moderation import moderation_state
from tutelage.datasets.store import Store
from tutelage.errors import TutelageError
from tutelage.tests.crowd.dashboard.conftest import Browser
from tutelage.tests.support.busy import EXTERNAL, Busy
from tutelage.tests.support.busy_server import Served, serving

CROWD = {"careful": 10, "hostile": 1}
READ = ("figures", "people", "records.zip", "demonstrations.zip")


def test_the_token_is_seen_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    token = make_admin(folder)
    assert token is not None
    assert len(token) >= 40
    assert make_admin(folder) is None
    file = folder / HASH
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in file.read_text()
    admin = AdminToken(folder, Secret.load(folder))
    assert admin.knows(token)
    assert not admin.knows(token + "x")
    assert not admin.knows("")
    another = make_admin(folder, new=True)
    assert admin.knows(str(another))
    assert not admin.knows(token)
    assert list(folder.glob(".*")) == []


def test_a_session_ends_by_itself_and_with_its_token(tmp_path: Path) -> None:
    now = [1000.0]
    make_admin(tmp_path)
    admin = AdminToken(tmp_path, Secret.load(tmp_path), lambda: now[0])
    cookie = admin.sign_in()
    assert admin.session(cookie) is not None
    assert admin.session(admin.visit()) is None
    assert admin.session(cookie[:-1] + ("A" if cookie[-1] != "A" else "B")) is None
    assert admin.session("") is admin.session("session:a:9999999999:b.c") is None
    now[0] += SESSION_SECONDS - 1
    assert admin.session(cookie) is not None
    now[0] += 1
    assert admin.session(cookie) is None
    now[0] = 1000.0
    make_admin(tmp_path, new=True)
    assert admin.session(cookie) is None
    (tmp_path / HASH).unlink()
    assert admin.session(admin.sign_in()) is None
    assert not admin.knows("")


def test_wrong_tokens_cost_an_address_its_next_attempts_and_no_memory() -> None:
    now = [0.0]
    attempts = FailedAttempts(lambda: now[0])
    for _ in range(8):
        assert attempts.wait("a") == 0
        attempts.wrong("a")
    assert attempts.wait("a") == 60
    assert attempts.wait("b") == 0
    now[0] = 59.0
    assert attempts.wait("a") == 1
    now[0] = 61.0
    assert attempts.wait("a") == 0
    for address in range(10_000):
        attempts.wrong(str(address))
    assert len(attempts._wrong) <= 4096


@pytest.mark.parametrize("path", [*READ, "people/person-1", "replay/abc", "figures?window=week"])
def test_nothing_is_told_to_whoever_is_not_signed_in(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 401
    assert not browser.arrive()
    assert browser.get(path).status_code == 401


def test_nothing_is_done_for_whoever_is_not_signed_in(browser: Browser) -> None:
    browser.arrive()
    assert browser.post("decide", {"what": "pause", "reason": "mischief"}).status_code == 401
    assert browser.post("logout", {}).status_code == 401


def test_the_page_and_all_its_parts_hold_no_script_or_style_of_their_own(browser: Browser) -> None:
    response = browser.http.get(browser.url)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    for wrong in ("<style", " style=", " onclick", "javascript:", "<script>"):
        assert wrong not in response.text
    for part in ("dashboard.js", "dashboard.css", "charts.js", "people.js", "person.js", "player.js"):
        assert browser.http.get(f"{browser.origin}/static/{part}").is_success


def test_the_environment_may_say_which_token_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a token that several servers share"
    monkeypatch.setenv("TUTELAGE_ADMIN_TOKEN", token)
    secret = Secret(bytes(32))
    admins = []
    for name in ("a", "b"):
        assert make_admin(tmp_path / name) is None, "nothing is printed"
        admins.append(AdminToken(tmp_path / name, secret))
    assert all(one.knows(token) for one in admins)
    assert admins[0].cookie == admins[1].cookie
    assert admins[1].session(admins[0].sign_in()) is not None
    monkeypatch.setenv("TUTELAGE_ADMIN_TOKEN", "short")
    with pytest.raises(TutelageError, match="at least 32 characters"):
        make_admin(tmp_path / "a")


def test_a_sign_in_gives_a_cookie_that_no_script_and_no_other_site_can_use(
    served: Served, browser: Browser, busy_study: Busy
) -> None:
    response = browser.sign_in(served.token)
    cookie = response.headers["set-cookie"].lower()
    for wanted in ("httponly", "samesite=strict", "path=/admin", f"max-age={SESSION_SECONDS}"):
        assert wanted in cookie
    assert served.token not in str(response.headers) + response.text
    assert browser.arrive()
    assert all(browser.get(path).is_success for path in READ)
    assert all(browser.get(path).headers["cache-control"] == "no-store" for path in READ)
    plain = browser.get("people", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(plain.json()["people"]) == len(browser.get("people").json()["people"])
    latest = busy_study.database.rows(sql.select(events.c.what).order_by(events.c.id.desc()).limit(1))
    assert latest == [{"what": "sign-in"}]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"X-CSRF-Token": ""}, 403),
        ({"X-CSRF-Token": "0" * 32 + ".AAAA"}, 403),
        ({"X-CSRF-Token": "ünsinn"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_only_our_own_page_may_post(inside: Browser, change: dict[str, str], status: int) -> None:
    encoded = {name: value.encode() for name, value in change.items()}
    response = inside.post("decide", {"what": "pause", "reason": "mischief"}, **encoded)  # type: ignore[arg-type]
    assert response.status_code == status


def test_a_csrf_token_is_good_for_its_own_browser_only(
    served: Served, inside: Browser, open_browser: Callable[[Served], Browser]
) -> None:
    other = open_browser(served)
    other.arrive()
    inside.csrf = other.csrf
    assert inside.post("decide", {"what": "pause", "reason": "mischief"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"what": 3}', 400),
        (b'{"what": "pause", "reason": "\\u0000"}', 400),
        (b'{"what": "pause", "reason": "\\ud800"}', 400),
        (b"\xff", 400),
        (b"[" * 4000, 400),
        (b'{"what": "pause", "reason": "' + b"x" * 5000 + b'"}', 413),
        (b'{"what": "pause"}', 409),
        (b'{"what": "ban", "reason": "all"}', 409),
        (b'{"what": "pause", "person": "nobody", "reason": "who"}', 409),
    ],
)
def test_what_cannot_be_read_or_done_is_refused_in_words(inside: Browser, body: bytes, status: int) -> None:
    response = inside.post("decide", body)
    assert response.status_code == status
    assert response.text.startswith("expected ")


def test_wrong_tokens_are_refused_then_slowed_down(
    busy_study: Busy, tmp_path: Path, open_browser: Callable[[Served], Browser]
) -> None:
    with serving(replace(busy_study, folder=tmp_path)) as at:
        browser = open_browser(at)
        statuses = [browser.sign_in("guess").status_code for _ in range(10)]
        assert statuses == [403] * 8 + [429] * 2
        response = browser.sign_in(at.token)
        assert response.status_code == 429
        assert 0 < int(response.headers["retry-after"]) <= 61
        response = browser.http.get(
            f"{browser.origin}/metrics", headers={"Authorization": f"Bearer {at.token}"}
        )
        assert response.status_code == 429


def test_signing_out_ends_the_session_wherever_its_cookie_may_be(
    inside: Browser, served: Served, open_browser: Callable[[Served], Browser]
) -> None:
    [cookie] = [f"{one.name}={one.value}" for one in inside.http.cookies.jar]
    thief = open_browser(served)
    assert thief.get("figures", headers={"Cookie": cookie}).is_success
    assert inside.post("logout", {}).status_code == 204
    assert inside.get("figures").status_code == 401
    assert thief.get("figures", headers={"Cookie": cookie}).status_code == 401
    inside.arrive()
    assert inside.sign_in(served.token).is_success


@pytest.mark.alone
def test_many_dashboards_cost_no_more_than_one(inside: Browser, busy_study: Busy) -> None:
    asked: list[str] = []
    sql.event.listen(
        busy_study.database.engine,
        "before_cursor_execute",
        lambda *given: asked.append(given[2]),
        named=False,
    )
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: inside.get("figures").content, range(64)))
        seconds = time.monotonic() - began
    curves = [statement for statement in asked if "conduct.lag_ms" in statement]
    assert len(curves) <= 1 + seconds
    assert len({json.loads(answer)["at"] for answer in answers}) <= len(curves) + 1  # one may be from before


def test_a_decision_counts_at_once_and_is_on_record(inside: Browser, busy_study: Busy) -> None:
    person = busy_study.playing[0]
    assert inside.post("decide", {"what": "pause", "reason": "lunch"}).status_code == 204
    assert moderation_state(busy_study.database, busy_study.study.name).paused
    assert inside.get("figures").json()["study"]["paused"]
    assert inside.post("decide", {"what": "resume", "reason": "back"}).status_code == 204
    assert inside.post("decide", {"what": "pause", "person": person, "reason": "a word"}).status_code == 204
    [row] = [each for each in inside.get("people").json()["people"] if each["person"] == person]
    assert (row["standing"], row["why"]) == ("paused", "a word")
    told = inside.get(f"people/{person}").json()
    assert told["events"][0]["reason"] == "a word"
    assert inside.post("decide", {"what": "resume", "person": person, "reason": "done"}).status_code == 204
    assert inside.post("decide", {"what": "release", "person": person, "reason": ""}).status_code == 409
    assert inside.post("decide", {"what": "release", "person": "nobody", "reason": "lost"}).status_code == 409
    assert inside.post("decide", {"what": "release", "person": person, "reason": "lost"}).status_code == 204
    assert moderation_state(busy_study.database, busy_study.study.name).of(person) == ""


def test_records_leave_as_csv_without_anything_that_leads_to_a_name(
    inside: Browser, busy_study: Busy
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(inside.get("records.zip").content))
    files = {name: archive.read(name).decode() for name in archive.namelist()}
    tables = ("people", "consents", "conduct", "payments", "answers", "devices", "events")
    assert set(files) == {f"{name}.csv" for name in tables}
    assert files["payments.csv"].startswith("id,person,kind,number,state,minor_units,currency,reason,at")
    rows = {name: list(csv.DictReader(io.StringIO(text))) for name, text in files.items()}
    assert {row["person"] for row in rows["people.csv"]} >= set(busy_study.names)
    assert len(rows["conduct.csv"]) == len(busy_study.store)
    assert {row["what"] for row in rows["events.csv"]} >= {"pause", "resume", "sign-in"}
    everything = "".join(files.values())
    seats = [row["seat"] for row in busy_study.database.rows(sql.select(people.c.seat))]
    for secret in (EXTERNAL, "SECRET-CODE", *seats):
        assert secret not in everything


def test_no_cell_of_an_exported_file_is_computed_by_a_spreadsheet(inside: Browser, busy_study: Busy) -> None:
    formulas = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"]
    with busy_study.database.write() as connection:
        common = {"study": busy_study.study.name, "person": "", "what": "formula", "details": {}, "at": 0.0}
        connection.execute(events.insert(), [common | {"reason": formula} for formula in formulas])
    archive = zipfile.ZipFile(io.BytesIO(inside.get("records.zip").content))
    rows = csv.DictReader(io.StringIO(archive.read("events.csv").decode()))
    assert [row["reason"] for row in rows if row["what"] == "formula"] == [f"'{text}" for text in formulas]


def test_more_rows_than_one_piece_are_all_exported_once(inside: Browser, busy_study: Busy) -> None:
    with busy_study.database.write() as connection:
        many = [
            {
                "study": busy_study.study.name,
                "person": "",
                "what": "note",
                "reason": str(at),
                "details": {},
                "at": 0.0,
            }
            for at in range(2500)
        ]
        connection.execute(events.insert(), many)
    archive = zipfile.ZipFile(io.BytesIO(inside.get("records.zip").content))
    rows = list(csv.DictReader(io.StringIO(archive.read("events.csv").decode())))
    assert [row["reason"] for row in rows if row["what"] == "note"] == [str(at) for at in range(2500)]


def test_demonstrations_leave_as_a_store_that_opens_again(
    inside: Browser, busy_study: Busy, tmp_path: Path
) -> None:
    zipfile.ZipFile(io.BytesIO(inside.get("demonstrations.zip").content)).extractall(tmp_path)
    store = Store.open(tmp_path / busy_study.store.path.name)
    assert sorted(store.episodes()["episode"].to_pylist()) == sorted(
        busy_study.store.episodes()["episode"].to_pylist()
    )
    assert store.verify() == []
