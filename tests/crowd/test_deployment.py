"""The deployment as it is documented: nginx with TLS before two servers on PostgreSQL; one of them dies."""

from __future__ import annotations

import configparser
import contextlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from tutelage.datasets.maintenance.byte_search import ByteSearch
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.sources import ROOT
from tutelage.tests.support.stranger import (
    ADMIN,
    GONE,
    SECRET,
    TUTELAGE,
    Server,
    Stranger,
    check,
    check_stores,
    running,
    steps_in,
)
from tutelage.tests.support.toy_study import write

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "tutelage@.service"
NAME = "localhost"
CANARY = "5f3c9a-canary-7d61"
HTTP = """
pid {folder}/nginx.pid;
error_log {folder}/main-error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/tutelage.conf;
}}
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def replaced(text: str, changes: dict[str, str]) -> str:
    """Replace what a deployment's file says by what fits the test; whatever is not there any more is told."""
    for old, new in changes.items():
        assert old in text, f"expected {old!r} in the file"
        text = text.replace(old, new)
    return text


def unit() -> dict[str, list[str]]:
    """Read the unit's [Service] section, where a key may come several times."""
    found: dict[str, list[str]] = {}
    service = UNIT.read_text().split("[Service]")[1].split("[Install]")[0]
    for line in service.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


class Nginx:
    """nginx with the configuration that is documented, on ports of its own."""

    def __init__(self, folder: Path, servers: list[int]) -> None:
        self.folder = folder
        self.plain, self.port = free_ports(2)
        folder.mkdir()
        folder.chmod(0o755)
        certificate(folder)
        changes = {
            "listen 80;": f"listen 127.0.0.1:{self.plain};",
            "    listen [::]:80;\n": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl http2;",
            "    listen [::]:443 ssl;\n": "",
            "server 127.0.0.1:8001": f"server 127.0.0.1:{servers[0]}",
            "server 127.0.0.1:8002": f"server 127.0.0.1:{servers[1]}",
            "study.example.org;": f"{NAME};",
            "/etc/letsencrypt/live/study.example.org": str(folder),
            "/var/log/nginx": str(folder),
        }
        (folder / "tutelage.conf").write_text(replaced((DEPLOY / "nginx.conf").read_text(), changes))
        (folder / "nginx.conf").write_text(HTTP.format(folder=folder))
        self.address = f"{NAME}:{self.port}"
        self.trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        self._command = [
            "nginx",
            "-p",
            str(folder),
            "-e",
            str(folder / "main-error.log"),
            "-c",
            str(folder / "nginx.conf"),
        ]

    def __enter__(self) -> Nginx:
        if shutil.which("nginx") is None:
            pytest.fail("expected nginx for these tests, found none; install it: apt-get install nginx-light")
        tried = subprocess.run([*self._command, "-t"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr
        self._process = subprocess.Popen([*self._command, "-g", "daemon off;"])
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            assert time.monotonic() < deadline, (self.folder / "main-error.log").read_text()
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def certificate(folder: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME} -keyout privkey.pem -out fullchain.pem"
    )
    subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def deployed(folder: Path, url: str, **changes: object) -> Iterator[tuple[Nginx, list[Server]]]:
    """Run what the files in deploy/ say, with names, ports and folders of the test."""
    study = write(folder, **{"people": 40, "check": None, "practice": None, **changes})
    ports = free_ports(2)
    with Nginx(folder / "nginx", ports) as nginx:
        servers = []
        for port in ports:
            out = folder / str(port)
            command = replaced(
                unit()["ExecStart"][0],
                {
                    "/opt/tutelage/bin/tutelage": TUTELAGE,
                    "/etc/tutelage/study.yaml": str(study),
                    "/var/lib/tutelage/%i": str(out),
                    "%i": str(port),
                    "https://study.example.org": f"https://{nginx.address}",
                },
            )
            servers.append(Server(shlex.split(command), out, port=port, TUTELAGE_DATABASE=url))
        with running(servers):
            try:
                yield nginx, servers
            except Exception as error:
                for server in servers:
                    error.add_note(server.process.errors[-2000:])
                error.add_note((folder / "nginx" / "tutelage-error.log").read_text()[-4000:])
                raise


@pytest.fixture
def url(postgres: PostgreSQL) -> Iterator[str]:
    with postgres.database() as one:
        yield one


def whose(url: str, stranger: Stranger) -> str:
    """Return the seat that a stranger's cookie names, and from the database the server that has it."""
    seat = stranger.cookie.split("=")[1].split(".")[0]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT server FROM leases WHERE seat = %s", [seat]).fetchall()
    return str(rows[0][0]) if rows else ""


@pytest.mark.slow
def test_people_play_through_tls_and_go_on_when_their_server_is_killed(url: str, tmp_path: Path) -> None:
    strangers = [Stranger() for _ in range(4)]
    with deployed(tmp_path, url) as (nginx, servers):
        moved = httpx.get(f"http://{NAME}:{nginx.plain}/join", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (301, f"https://{NAME}/join")
        page = httpx.get(f"https://{nginx.address}/healthz", verify=nginx.trust)
        assert page.json() == {"status": "ok"}
        assert "max-age" in page.headers["strict-transport-security"]
        for one in strangers:
            one.join(nginx.address, verify=nginx.trust)
        with contextlib.ExitStack() as stack:
            sockets = [
                (one, stack.enter_context(one.at(nginx.address, ssl=nginx.trust))) for one in strangers
            ]
            for one, there in sockets:
                one.play(there, 4)
            before = {one: whose(url, one) for one in strangers}
            assert len(set(before.values())) == 2, "both servers have people"
            servers[0].kill()
            for one, there in sockets:
                with contextlib.suppress(*GONE):
                    one.play(there, 2)
        for one in strangers:
            again_at(nginx, one)
            assert one.way["stage"] == "done"
        assert len({whose(url, one) for one in strangers}) == 1
        check(url, strangers)
        check_stores(servers, strangers)
    assert len(steps_in(url)) == 3 * len(strangers)


def again_at(nginx: Nginx, stranger: Stranger, tries: int = 5) -> None:
    """Play to the end; where the connection does not come about or is lost, try again, as the page does."""
    for left in reversed(range(tries)):
        try:
            with stranger.at(nginx.address, ssl=nginx.trust) as there:
                stranger.play(there, 100)
            return
        except GONE:
            if not left:
                raise
            time.sleep(1)


def seconds_until_closed(line: socket.socket) -> float:
    """Wait until the other side closes a connection."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while line.recv(1000):
            pass
    return time.monotonic() - began


@pytest.mark.slow
def test_one_address_cannot_join_for_ever_nor_hold_lines_that_say_nothing(url: str, tmp_path: Path) -> None:
    with deployed(tmp_path, url) as (nginx, _), contextlib.ExitStack() as stack:
        script = stack.enter_context(httpx.Client(verify=nginx.trust, base_url=f"https://{nginx.address}"))
        closing = stack.enter_context(ThreadPoolExecutor(2))
        lines = []
        for beginning in (b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: "):
            lines.append(stack.enter_context(socket.create_connection(("127.0.0.1", nginx.plain), 60)))
            lines[-1].sendall(beginning)
        ages = [closing.submit(seconds_until_closed, line) for line in lines]
        asked = time.monotonic()

        def join(_: int) -> tuple[int, bool]:
            answer = httpx.get(f"https://{nginx.address}/join", verify=nginx.trust, timeout=60)
            return answer.status_code, "nginx" in answer.text

        with ThreadPoolExecutor(20) as pool:
            answers = Counter(pool.map(join, range(300)))
        assert answers[429, True]
        allowed = 100 + 2 * (time.monotonic() - asked) + 1
        assert 100 <= answers[303, False] <= allowed, "a class behind one address, and no more for ever"
        assert script.get("/healthz").status_code == 200  # whatever else is asked for is answered
        assert max(age.result() for age in ages) < 20


@pytest.mark.slow
def test_a_seat_is_carried_by_a_cookie_that_only_tls_sees(url: str, tmp_path: Path) -> None:
    with deployed(tmp_path, url) as (nginx, _):
        answer = httpx.get(f"https://{nginx.address}/join", verify=nginx.trust)
        assert {"secure", "httponly", "samesite=lax"} <= {
            part.strip().lower() for part in answer.headers["set-cookie"].split(";")
        }
        assert answer.headers["location"] == "/"
        foreign = httpx.get(f"https://{nginx.address}/", headers={"Host": "evil.example"}, verify=nginx.trust)
        assert foreign.status_code == 400


@pytest.mark.slow
def test_who_runs_the_study_signs_in_at_all_servers_at_once(url: str, tmp_path: Path) -> None:
    with deployed(tmp_path, url) as (nginx, servers):
        origin = f"https://{nginx.address}"
        with httpx.Client(verify=nginx.trust, base_url=f"{origin}/admin/") as browser:
            csrf = browser.get("session").json()["csrf"]
            sent = {"Origin": origin, "X-CSRF-Token": csrf}
            assert browser.post("login", json={"token": SECRET}, headers=sent).status_code == 403
            answer = browser.post("login", json={"token": ADMIN}, headers=sent)
            assert answer.status_code == 200, answer.text
            for _ in range(6):  # now this server answers, now that
                assert browser.get("session").json()["signedIn"]
    assert all(ADMIN not in server.printed for server in servers)


@pytest.mark.slow
def test_an_external_id_is_in_one_table_and_nowhere_else(
    url: str, postgres: PostgreSQL, tmp_path: Path
) -> None:
    panel = {"name": "sona", "parameters": {"survey_code": "participant"}}
    ann = Stranger(f"?survey_code={CANARY}")
    with deployed(tmp_path, url, recruiting={"panel": panel}) as (nginx, servers):
        ann.join(nginx.address, verify=nginx.trust)
        assert CANARY not in ann.cookie
        with ann.at(nginx.address, ssl=nginx.trust) as there:
            ann.play(there, 100)
        assert CANARY not in str(ann.way)
        # what goes wrong is logged: the ids must not be
        link = f"https://{nginx.address}/join"
        assert (
            httpx.get(f"{link}?survey_code={CANARY}&survey_code={CANARY}", verify=nginx.trust).status_code
            == 403
        )
        httpx.get(f"https://{nginx.address}/nowhere?survey_code={CANARY}", verify=nginx.trust)
        with httpx.Client(verify=nginx.trust, timeout=30) as browser:
            other = f"{link}?survey_code={CANARY}-other"
            assert browser.get(other).status_code == 200
            postgres.stop("immediate")
            try:
                page = browser.get(other)  # which needs no database, where it is not yet known to be away
                away = browser.post(other, headers={"Origin": f"https://{nginx.address}"})
                assert page.status_code in (200, 503)
                assert away.status_code == 503
            finally:
                postgres.start()
        check_stores(servers, [ann])
        for one in servers:
            one.kill()
        assert httpx.get(f"{link}?survey_code={CANARY}", verify=nginx.trust).status_code == 502
    assert (tmp_path / "nginx" / "tutelage.log").read_text().count("/join") == 7
    search = ByteSearch((CANARY,))
    search.folder(tmp_path)
    with (postgres.folder / "log").open("rb") as log:
        search.file(log, "PostgreSQL's log")
    assert search.found == []
    assert tables_with(url, CANARY) == {"identities"}


def tables_with(url: str, word: str) -> set[str]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            name
            for (name,) in names
            if connection.execute(
                f'SELECT 1 FROM "{name}" AS one WHERE strpos(one::text, %s) > 0',
                [word],  # type: ignore[arg-type]
            ).fetchone()
        }


def test_the_unit_is_sound_and_keeps_to_itself(tmp_path: Path) -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(UNIT.read_text())
    assert set(parsed) == {"DEFAULT", "Unit", "Service", "Install"}
    service = unit()
    assert service["User"] != ["root"]
    assert service["EnvironmentFile"] == ["/etc/tutelage/environment"]
    assert not re.search(r"secret|password|postgres://|postgresql://", service["ExecStart"][0], re.IGNORECASE)
    assert len(SECRET) == 64
    if shutil.which("systemd-analyze") is None:
        return
    copy = tmp_path / UNIT.name
    copy.write_text(replaced(UNIT.read_text(), {"/opt/tutelage/bin/tutelage": TUTELAGE}))
    verified = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=25", copy]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-2000:]
