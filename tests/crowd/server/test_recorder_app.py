from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tutelage.crowd.hosting.frame_codec import unpack
from tutelage.crowd.seats.recorder import Recorder
from tutelage.crowd.server.recorder_app import listen, make_server, record, run
from tutelage.crowd.settings import Settings
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.command_line import run as run_command
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

KEYS = {"ArrowLeft": 0, "ArrowDown": 1, "ArrowRight": 2, "ArrowUp": 3}
LAKE = {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"is_slippery": False}, "controls": KEYS}
POLE = {
    "id": "pole",
    "env": "CartPole-v1",
    "controls": {"ArrowLeft": 0, "ArrowRight": 1},
    "pace": {"fps": 30, "idle": 0},
}
TO_THE_GOAL = ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight"]


@pytest.fixture
def suite() -> Suite:
    return suite_from({"suite": "small", "tasks": [LAKE, POLE]})


@contextlib.contextmanager
def serving(suite: Suite, out: Path, **options: Any) -> Iterator[str]:
    """Serve a recorder in a thread of this process; gives its address `host:port`."""
    with listen("127.0.0.1", 0) as listening:
        server = make_server(Recorder(Settings(suite, out, **options)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Page:
    """What a page knows: the last state, the frames, and what was told besides."""

    def __init__(self, address: str, cookie: str | None = None) -> None:
        self.cookie = cookie or cookie_of(address)
        headers = {"Cookie": self.cookie, "Origin": f"http://{address}"}
        self._opening = connect(f"ws://{address}/socket", additional_headers=headers, open_timeout=60)
        self.socket: ClientConnection
        self.state: dict[str, Any] = {}
        self.frames: list[bytes] = []
        self.told: list[dict[str, Any]] = []
        self.saved = 0

    def send(self, kind: str, **values: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **values}))

    def press(self, code: str) -> None:
        self.send("down", code=code, frame=0)
        self.send("up", code=code)

    def wait(self, *kinds: str, timeout: float = 60) -> dict[str, Any]:
        """Read on until a message of one of these kinds has come; a frame is a step."""
        while True:
            message = self.socket.recv(timeout=timeout)
            if isinstance(message, bytes):
                self.frames.append(message)
                _, number, saved = unpack(message)
                parsed: dict[str, Any] = {"type": "step", "step": number, "saved": saved}
            else:
                parsed = json.loads(message)
            self.told.append(parsed)
            if parsed["type"] == "state":
                self.state = parsed
                self.saved = parsed["episode"]["saved"] if parsed["episode"] else 0
            if parsed["type"] in ("saved", "step"):
                self.saved = parsed["saved"]
            if parsed["type"] in kinds:
                return parsed

    def until(self, phase: str) -> dict[str, Any]:
        while self.state["phase"] != phase:
            self.wait("state")
        return self.state

    def until_saved(self, number: int) -> None:
        while self.saved < number:
            self.wait("saved", "step", "state")

    def __enter__(self) -> Page:
        self.socket = self._opening.__enter__()
        self.wait("state")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opening.__exit__(*error)


def cookie_of(address: str) -> str:
    return httpx.get(f"http://{address}/", verify=False, timeout=60).headers["set-cookie"].split(";")[0]


def wait_for(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_keys_become_a_stored_demonstration(suite: Suite, tmp_path: Path) -> None:
    kept: list[Any] = []
    with serving(suite, tmp_path, on_kept=kept.append, demonstrator="ada") as address, Page(address) as page:
        page.send("choose", task="lake")
        page.until("playing")
        for code in TO_THE_GOAL:
            page.press(code)
        outcome = page.until("finished")["episode"]["outcome"]
        assert (outcome["success"], outcome["return"], outcome["steps"]) == (True, 1.0, 6)
        page.until_saved(6)
        page.send("keep")
        page.until("playing")
        wait_for(lambda: kept)
    [one] = Store.open(tmp_path).trajectories()
    assert one.actions.ravel().tolist() == [KEYS[code] for code in TO_THE_GOAL]
    assert (one.demonstrator, one.kind, one.success, one.observations) == ("ada", "person", True, None)
    assert set(one.controllers) == {0}
    assert one.episode == kept[0].episode


def test_a_frame_comes_only_when_the_picture_changed(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as page:
        page.send("choose", task="pole")
        page.until("ready")
        page.press("ArrowLeft")
        page.until("finished")
        page.send("discard")
        page.until("ready")
        page.send("leave")
        page.until("choosing")
        page.frames.clear()
        page.send("choose", task="lake")
        page.until("playing")
        page.wait("step") if page.press("ArrowDown") else page.wait("saved")
        moved = len(page.frames)
        for _ in range(3):  # against the wall
            page.press("ArrowLeft")
        page.until_saved(4)
        assert len(page.frames) <= moved + 1  # the elf may turn, once


def test_a_malformed_message_gets_one_line_and_closes_nothing(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as page:
        for text in ("{", '{"type":"fly"}', '{"type":"keep"}', '{"type":"choose","task":"moon"}'):
            page.socket.send(text)
            assert "expected" in page.wait("error")["text"]
        page.socket.send(b"\x00\xff")
        assert "JSON" in page.wait("error")["text"]
        page.send("choose", task="lake")
        assert page.until("playing")


@pytest.mark.parametrize("starts", [True, False])
def test_an_address_is_announced_once_people_can_play_there(
    suite: Suite, tmp_path: Path, starts: bool
) -> None:
    announced: list[int] = []

    class Starting(Recorder):
        async def start(self) -> None:
            if not starts:
                raise OSError("no disk")  # as a database that goes away in this very moment
            await super().start()

    with listen("127.0.0.1", 0) as listening:
        server = make_server(recorder := Starting(Settings(suite, tmp_path / "out")))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"

        def ask() -> None:
            announced.append(httpx.get(url, trust_env=False).status_code)
            server.should_exit = True

        def announce() -> None:
            threading.Thread(target=ask).start()

        if starts:
            run(server, recorder, listening, announce)
        else:
            with pytest.raises(TutelageError, match=r"expected to start serving from .*, got: no disk"):
                run(server, recorder, listening, announce)
    assert announced == [200] * starts


def test_the_same_seat_goes_on_after_a_restart(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as page:
        page.send("choose", task="lake")
        page.until("playing")
        page.press("ArrowDown")
        page.press("ArrowDown")
        page.until_saved(2)
        cookie, episode = page.cookie, page.state["episode"]["id"]
    with serving(suite, tmp_path) as address, Page(address, cookie) as page:
        assert page.state["episode"]["id"] == episode
        assert (page.state["episode"]["step"], page.state["episode"]["saved"]) == (2, 2)


def test_a_second_page_takes_over_kindly(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as first:
        first.send("choose", task="lake")
        first.until("playing")
        with Page(address, first.cookie) as second:
            assert second.state["episode"]["id"] == first.state["episode"]["id"]
            first.wait("replaced")
            with pytest.raises(ConnectionClosed) as closed:
                first.wait("state")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
            second.press("ArrowDown")
            second.until_saved(1)


@pytest.mark.alone
def test_real_time_waits_for_a_key_keeps_its_rate_and_pauses_on_release(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as page:
        page.send("choose", task="pole")
        assert page.until("ready")["episode"]["step"] == 0
        page.send("down", code="ArrowRight", frame=0)
        page.until("playing")
        page.wait("step")
        page.send("release")
        step = page.until("paused")["episode"]["step"]
        time.sleep(0.2)
        page.send("go")
        assert page.until("playing")["episode"]["step"] == step
        outcome = page.until("finished")["episode"]["outcome"]
        assert 0 < outcome["rate"] <= 33  # never faster; slower only on a busy machine


def test_a_full_disk_stops_play_and_nothing_is_lost(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address, Page(address) as page:
        page.send("choose", task="lake")
        page.until("playing")
        page.press("ArrowDown")
        page.until_saved(1)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "journal.sqlite-wal").stat().st_size, hard))
        try:
            page.press("ArrowDown")
            assert page.wait("saving")["failing"]
            page.until("paused")
            page.press("ArrowRight")
            assert "play waits" in page.wait("error")["text"]
            assert page.saved == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        while page.wait("saving")["failing"]:
            pass
        page.until_saved(2)
        page.until("playing")
        page.press("ArrowRight")
        page.until_saved(3)


def test_strangers_are_refused(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address:
        cookie = cookie_of(address)
        for origin in ("http://evil.example", None):
            headers = {"Cookie": cookie} | ({"Origin": origin} if origin else {})
            with (
                pytest.raises(InvalidStatus),
                connect(f"ws://{address}/socket", additional_headers=headers, open_timeout=60),
            ):
                pass
        answer = httpx.get(f"http://{address}/", verify=False, headers={"Host": "evil.example"})
        assert answer.status_code == 400
        with connect(f"ws://{address}/socket", origin=f"http://{address}") as stranger:  # type: ignore[arg-type]
            with pytest.raises(ConnectionClosed):
                stranger.recv(timeout=60)
            assert stranger.close_code == 4002


def test_the_page_is_served_with_a_strict_policy(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path) as address:
        answer = httpx.get(f"http://{address}/", verify=False)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "<style" not in answer.text
        assert "style=" not in answer.text
        assert "onclick" not in answer.text
        assert httpx.get(f"http://{address}/static/../app.py", verify=False).status_code == 404
        for name in ("main.js", "style.css", "icon.svg"):
            assert httpx.get(f"http://{address}/static/{name}", verify=False).status_code == 200


def test_extra_pages_are_served_fresh_and_in_a_sandbox(suite: Suite, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    with serving(suite, tmp_path, extra_pages={"/report": report}) as address, Page(address) as page:
        assert httpx.get(f"http://{address}/report", verify=False).status_code == 404
        report.write_text("<h1>Figures</h1>")
        answer = httpx.get(f"http://{address}/report", verify=False)
        assert answer.text == "<h1>Figures</h1>"
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert page.state["pages"] == [{"path": "/report", "title": "Report"}]


def test_a_port_in_use_is_one_clear_line(suite: Suite, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TutelageError, match=f"expected port {port} .* to be free"):
            record(suite, tmp_path, port=port, open_browser=False)


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("127.0.0.1", 80000, "expected a port from 1 to 65535, or 0 for any free one, got 80000"),
        ("127.0.0.1", -1, "expected a port from 1 to 65535"),
        ("192.0.2.1", 0, "expected --host to be an address of this machine"),
        ("a..b", 0, "expected --host to be an address of this machine"),
    ],
)
def test_where_it_cannot_be_listened_is_one_clear_line(host: str, port: int, line: str) -> None:
    with pytest.raises(TutelageError, match=line):
        listen(host, port)


@pytest.mark.parametrize("words", ["record CartPole-v1 -o out", "serve example", "browse store", "demo"])
def test_every_verb_that_listens_names_the_ports_there_are(words: str, tmp_path: Path) -> None:
    done = run_command(*words.split(), "--port", "80000", cwd=tmp_path)
    assert done.returncode == 2
    assert "65535" in done.stderr
    assert not any(tmp_path.iterdir())


def test_a_folder_in_use_is_one_clear_line(suite: Suite, tmp_path: Path) -> None:
    with serving(suite, tmp_path), pytest.raises(TutelageError, match="another recorder"):
        Recorder(Settings(suite, tmp_path))


@pytest.mark.slow
def test_recording_needs_no_torch_prints_its_address_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tutelage.crowd.server.recorder_app import record\n"
        "from tutelage.envs.suite import load_suite\n"
        f"record(load_suite('FrozenLake-v1'), Path({str(tmp_path)!r}), port=0, open_browser=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline(), process.stdout.readline()]
            address = lines[1].split("http://")[1].split("/")[0]
            with Page(address) as page:
                page.send("choose", task="FrozenLake-v1")
                page.until("playing")
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "everything is saved" in output
