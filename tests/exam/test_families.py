"""Environments of other packages by real keys in a real browser: recorded, trained on, evaluated, how fast.

`make exam` runs this in a virtual environment of its own, where these packages are installed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from tutelage.agents.policy import checkpoint
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, load_suite
from tutelage.envs.task_env import TaskEnv
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.command_line import run

pytestmark = [
    pytest.mark.exam,
    pytest.mark.timeout(3600),
    pytest.mark.skipif("exam" not in Path(sys.prefix).name, reason="the environment of `make exam` has them"),
]

PROGRAM = (sys.executable, "-c", "from tutelage.cli.main import main; main()")
STEPS = 100
WITHOUT = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "MUJOCO_GL", "TUTELAGE_DRIVERS")
FAMILIES = (
    "ale_py:ALE/Pong-v5",
    "ale_py:ALE/Breakout-v5",
    "HalfCheetah-v5",
    "Humanoid-v5",
    "highway_env:highway-fast-v0",
    "highway_env:parking-v0",
    "gymnasium_robotics:FetchReach-v4",
    "gymnasium_robotics:PointMaze_UMaze-v3",
    "LunarLander-v3",
    "CarRacing-v3",
    "MiniGrid-DoorKey-8x8-v0",
    "CartPole-v1",
    "FrozenLake-v1",
    "odd_worlds:odd/Insists-v0",
    "odd_worlds:odd/Gray-v0",
    "odd_worlds:odd/Spoken-v0",
    "odd_worlds:odd/Dark-v0",
    "odd_worlds:odd/Old-v0",
    "odd_worlds:odd/Crafter-v0",
)
UNREPEATABLE = ("odd_worlds:odd/Crafter-v0",)
"""Crafter goes through sets of objects, which memory orders; an episode where that changes nothing is
proven, the observations of any other are stored."""
SHAPES = ("CartPole-v1",)
"""What the page draws itself from shapes: near, but not the same to the pixel."""

PIXELS = """() => {
  const canvas = document.getElementById("picture");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  const size = 32768;
  for (let at = 0; at < data.length; at += size) text += String.fromCharCode(...data.subarray(at, at + size));
  return [canvas.width, canvas.height, btoa(text)];
}"""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_from_keys_in_a_browser_to_a_measured_policy(name: str, tmp_path: Path) -> None:
    suite = suite_file(name, tmp_path)
    shown, seconds = record(tmp_path, suite)
    (episode,) = Store.open(tmp_path / "store").trajectories()
    is_replayed = episode.observations is None
    assert is_replayed or name in UNREPEATABLE
    if name not in UNREPEATABLE:
        assert_same(shown, last_picture(episode, suite), name)

    sound = json.loads(tutelage(tmp_path, "inspect", "store", "--json"))
    assert (sound["problems"], sound["tasks"][0]["replayed"]) == ([], int(is_replayed))
    flags = ["--steps", "20", "--size", "1", "--batch-steps", "64", "--threads", "1", "--workers", "1"]
    flags += ["--evaluate-every", "1000", "--select-episodes", "2"]
    tutelage(tmp_path, "train", "store", "-o", "run", *flags)
    assert checkpoint.load(tmp_path / "run" / "kept").suite.source == suite.source
    tutelage(tmp_path, "evaluate", "run", "-o", "measured", "--episodes", "2", "--workers", "1")

    task = suite.tasks[0]
    rate = len(episode) / seconds if task.fps is None else episode.steps_per_second
    pace = f"of {task.fps:g}" if task.fps else "by key"
    print(f"\n{name}: {len(episode)} steps, {rate:.1f} a second ({pace}), success {task.success.text}")


def suite_file(name: str, folder: Path) -> Suite:
    """Write the suite of a bare id with a limit of a hundred steps; returns it as the commands load it."""
    task = {**load_suite(name).source["tasks"][0], "max_steps": STEPS}
    document = {"suite": "family", "tasks": [task], "evaluation": {"episodes": 2}}
    (folder / "family.yaml").write_text(json.dumps(document))
    return load_suite(folder / "family.yaml")


def record(folder: Path, suite: Suite) -> tuple[tuple[Any, str], float]:
    """Play an episode by keys; returns what the page shows at its end, and how long it took."""
    environment = TaskEnv(suite.tasks[0])
    codes = [binding.codes for binding in environment.controls().bindings]
    environment.close()
    with recorder(folder) as address, page_at(address) as page:
        page.click("[data-task]")
        page.wait_for_selector("#play:visible")
        page.wait_for_selector("#picture[data-frame]")
        began = play(page, codes, suite.tasks[0].fps is not None)
        seconds = time.monotonic() - began
        expect(page.locator("#saved")).to_have_text(re.compile(r"^Saved to step \d+$"))
        shown = picture(page)
        page.click("[data-choice=keep]")  # K may be a key of the task
        page.wait_for_function("() => document.body.dataset.phase !== 'finished'")
        deadline = time.monotonic() + 300
        while not (folder / "store").is_dir() or not len(Store.open(folder / "store")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    return shown, seconds


def play(page: Page, codes: list[tuple[str, ...]], real_time: bool) -> float:
    """Press keys that are drawn by lot until the episode is over; returns when the first was pressed."""
    dice = np.random.default_rng(0)
    page.keyboard.press("KeyG" if real_time else "Shift")  # any key lifts the curtain
    began = time.monotonic()
    while page.evaluate("document.body.dataset.phase") != "finished":
        before = page.get_attribute("#step", "data-step")
        chord = codes[dice.integers(len(codes))]
        for code in chord:
            page.keyboard.down(code)
        with contextlib.suppress(Exception):  # a key that changes nothing, or the end
            page.wait_for_function(MOVED, arg=before, timeout=2000)
        for code in chord:
            page.keyboard.up(code)
        assert time.monotonic() - began < 1800
    return began


MOVED = (
    "(before) => document.getElementById('step').dataset.step !== before || "
    "document.body.dataset.phase === 'finished'"
)


def picture(page: Page) -> tuple[Any, str]:
    """Return the pixels of the page's canvas, uint8 `[H, W, 3]`, and the text that it stands for, if any."""
    width, height, data = page.evaluate(PIXELS)
    pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]
    return pixels, page.evaluate("document.getElementById('picture').textContent")


def last_picture(episode: Trajectory, suite: Suite) -> Any:
    """Return what the environment's own `render()` gives after the recorded actions."""
    environment = TaskEnv(suite.tasks[0], rgb=True)
    environment.reset(episode.seed)
    for row in episode.actions:
        environment.step(row)
        frame = environment.frame()  # of every step: what is drawn once may look different the next time
    environment.close()
    return frame


def assert_same(shown: tuple[Any, str], expected: Any, name: str) -> None:
    pixels, text = shown
    if isinstance(expected, str):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", expected)
        assert text == plain
        assert inked_cells(pixels, plain) == plain
        return
    assert text == ""
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) > 1
    if name not in SHAPES:
        assert pixels.shape == expected.shape
        assert np.array_equal(pixels, expected)
        return
    height, width, _ = expected.shape  # shapes are drawn in as many pixels as the screen has
    assert abs(pixels.shape[1] / pixels.shape[0] - width / height) < 0.01
    scaled = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    assert (np.abs(scaled.astype(int) - expected.astype(int)) > 40).any(axis=2).mean() < 0.03


def inked_cells(pixels: Any, text: str) -> str:
    """Return the text with a space for every letter whose cell of the picture is white."""
    lines = text.split("\n")
    width = max(map(len, lines))
    read = []
    for line, band in zip(lines, np.array_split(pixels, len(lines), axis=0), strict=True):
        cells = np.array_split(band, width, axis=1)[: len(line)]
        read.append(
            "".join(letter if (cell < 200).any() else " " for letter, cell in zip(line, cells, strict=True))
        )
    return "\n".join(read)


@contextlib.contextmanager
def recorder(folder: Path) -> Iterator[str]:
    """Run `tutelage record`; gives its address once it serves."""
    words = [*PROGRAM, "record", "family.yaml", "-o", "store", "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    told: list[str] = []
    rest: threading.Thread | None = None
    try:
        for line in process.stdout:
            told.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+/\S*", line):
                rest = threading.Thread(target=told.extend, args=(process.stdout,), daemon=True)
                rest.start()
                yield address[0]
                break
        else:
            pytest.fail("".join(told))
    finally:
        process.terminate()
        process.wait(120)
        if rest is not None:
            rest.join()
        process.stdout.close()
        print("".join(told))


@contextlib.contextmanager
def page_at(address: str) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(300_000)
        expect.set_options(timeout=300_000)
        page.goto(address)
        page.wait_for_selector("body:not([data-phase=loading])")
        yield page
        browser.close()


def tutelage(folder: Path, *words: str) -> str:
    done = run(*words, cwd=folder, seconds=1800)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a machine without a display, where the modules of the suite are trusted."""
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)
    modules = ("ale_py", "highway_env", "gymnasium_robotics", "odd_worlds")
    monkeypatch.setenv(VARIABLE, os.pathsep.join(modules))
