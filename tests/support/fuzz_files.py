"""Draw hostile cases: a spoiled specimen and a verb that reads it; run them, and say what broke the contract.

`python -m tutelage.tests.support.fuzz_files FIRST LAST` runs cases by number and prints those that failed.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.tests.support.fuzz_mutators import spoil, spoil_tree

SECONDS, BYTES = 10.0, 1 << 30
_TRAIN = "train store -o out --steps 2 --size 1 --batch-steps 32 --threads 1 --workers 1 --select-episodes 1"
_PLAY = "--episodes 1 --actor random"
_RESUME = "train store -o run --config config.yaml --resume"
_RECORD = "record short.yaml -o recorded --port 0 --no-browser"
_SERVE = "serve study.yaml -o studied --port 0"
_WHO = "forget person-ann"
VERBS: list[tuple[str, str, int]] = [
    ("suite.yaml", "tasks suite.yaml", 4),
    ("suite.yaml", "simulate suite.yaml -o out -n 2 --workers 1", 3),
    ("suite.yaml", f"evaluate run --suite suite.yaml -o out {_PLAY}", 2),
    ("rooms.yaml", "tasks rooms.yaml", 2),
    ("short.yaml", "record short.yaml -o out --port 0 --no-browser", 3),
    ("study.yaml", "serve study.yaml -o out --port 0", 2),
    ("pilot.yaml", "serve pilot.yaml --check", 5),
    ("small.yaml", "serve pilot.yaml --check", 2),
    ("translated", "serve translated/pilot.yaml --check", 6),
    ("studied", _SERVE, 3),
    ("studied", f"{_WHO} --study studied --dry-run", 3),
    ("studied", f"{_WHO} --study studied", 4),
    ("recorded", _RECORD, 3),
    ("recorded", "repair recorded --dry-run", 4),
    ("robbed", "repair robbed --json", 5),
    ("recorded", "repair robbed --journal recorded", 2),
    ("config.yaml", f"{_TRAIN} --config config.yaml", 3),
    ("store", "inspect store --workers 1", 8),
    ("store", "inspect store --no-verify --json", 4),
    ("store", "quality store", 4),
    ("store", "repair store --dry-run", 5),
    ("store", "repair store", 6),
    ("store", "repair store --from copy", 3),
    ("copy", "repair lacking --from copy", 5),
    ("store", "forget careful-01 --store store --dry-run", 3),
    ("copy", "forget careful-01 --store copy --json", 4),
    ("store", _TRAIN, 8),
    ("store", _RESUME, 2),
    ("store", "export store --to lerobot -o out", 4),
    ("store", "export store --to minari -o out", 4),
    ("store", "import lerobot lerobot -o store", 2),
    ("store", "report measured --store store -o out.html", 3),
    ("grid", "inspect grid --workers 1", 4),
    ("grid", "quality grid", 2),
    ("grid", _TRAIN.replace("store", "grid"), 3),
    ("grid", "export grid --to lerobot -o out", 2),
    ("run/kept", f"evaluate run -o out {_PLAY}", 8),
    ("run", _RESUME, 12),
    ("run", "report measured --run run -o out.html", 5),
    ("measured", "report measured -o out.html", 6),
    ("minari", "import minari minari -o out", 6),
    ("minari", "import minari minari -o out --changed", 4),
    ("foreign", "import minari foreign -o out", 6),
    ("lerobot", "import lerobot lerobot -o out", 6),
    ("lerobot", "import lerobot lerobot -o out --changed", 4),
    ("robot", "import lerobot robot -o out", 6),
    ("older", "import lerobot older -o out", 3),
    ("raw", "import miniwob-turk raw -o out", 4),
    ("tables", "import miniwob-turk tables -o out", 5),
    ("web", "inspect web --workers 1", 2),
    ("web", "quality web", 2),
]
"""What is spoiled, the verb that reads it, and how often it is drawn."""
_SUITES = {"pilot.yaml": "small.yaml", "study.yaml": "short.yaml"}
_WRITTEN = (".lock", ".lock-shared", "columns", ".exports", ".stdout", ".stderr", ".modules", ".home")


@dataclass(frozen=True)
class Outcome:
    """What came of a case: what was spoiled, what was run, what broke the contract."""

    number: int
    done: str
    verb: str
    answer: dict[str, Any]
    faults: list[str]

    def __str__(self) -> str:
        errors = (self.answer["defect"] or self.answer["errors"]).strip()
        return f"case {self.number}: {self.verb}\n  {self.done}\n  {'; '.join(self.faults)}\n{errors[-1500:]}"


class Fuzzer:
    """Specimens, and the process that runs verbs on spoiled copies of them."""

    def __init__(self, folder: Path) -> None:
        self._sound = folder / "sound"
        self._folder = folder
        self._sound.mkdir()
        (folder / "canary").write_text("unchanged", "utf-8")
        command = [sys.executable, "-m", "tutelage.tests.support.fuzz_worker"]
        self._worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )
        self._answer()
        made = self._ask(f"make {self._sound}", folder)
        assert made["status"] == 0, made

    def close(self) -> None:
        """End the process."""
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        self._worker.wait(30)
        assert self._worker.stdout is not None
        self._worker.stdout.close()

    def case(self, number: int) -> Outcome:
        """Draw and run the case of a number: the same one every time."""
        dice = random.Random(number)
        what, verb, _ = dice.choices(VERBS, [weight for *_, weight in VERBS])[0]
        return self.run(number, what, verb, dice)

    def run(self, number: int, what: str, verb: str, dice: random.Random) -> Outcome:
        """Copy what the verb needs, spoil a file of `what`, run the verb, hold the answer to the contract."""
        with self.copy(verb, what) as folder:
            target = folder / what
            if target.is_file():
                done = spoil(target, dice)
            elif dice.random() < 0.05:
                done = spoil_tree(target, dice)
            else:
                files = sorted(path for path in target.rglob("*") if path.is_file() and _is_read(path))
                done = spoil(dice.choice(files), dice)
            return self.judge(number, done, verb, folder)

    @contextmanager
    def copy(self, verb: str, what: str = "") -> Iterator[Path]:
        """Give a folder with copies of `what` and of what a verb names; remove it afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        words = {part for word in (*verb.split(), what) for part in word.split("/")[:1]}
        words |= {suite for study, suite in _SUITES.items() if study in words}
        for source in self._sound.iterdir():
            if source.name in words:
                (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / source.name)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def judge(self, number: int, done: str, verb: str, folder: Path) -> Outcome:
        """Run a verb in a folder and list what breaks the contract."""
        before = _hashes(folder)
        answer = self._ask(verb, folder)
        faults = _faults(answer)
        after = _hashes(folder)
        writes = _written_by(verb)
        if odd := [name for name in before if after.get(name) != before[name] and not writes(name)]:
            faults.append(f"changed {odd[0]}")
        if new := [name for name in after if name not in before and not writes(name)]:
            faults.append(f"made {new[0]}")
        if (self._folder / "canary").read_text("utf-8") != "unchanged":
            faults.append("wrote outside of its folder")
        return Outcome(number, done, verb, answer, faults)

    def _ask(self, verb: str, folder: Path) -> dict[str, Any]:
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps({"arguments": verb.split(), "folder": str(folder)}) + "\n")
        self._worker.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._worker.stdout is not None
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        return answer


def _written_by(verb: str) -> Callable[[str], bool]:
    """Return what says of a file's relative path whether a verb may change it."""
    words = verb.split()
    if "--dry-run" in words or "--check" in words:
        places = set()
    elif words[0] == "repair":
        places = {words[1], *(words[at + 1] for at, word in enumerate(words) if word == "--journal")}
    elif words[0] == "forget":
        places = {words[3]}
    else:
        places = {words[at + 1] for at, word in enumerate(words) if word == "-o"}
    return lambda name: name.split("/")[0] in places


def _faults(answer: dict[str, Any]) -> list[str]:
    faults = []
    lines = [line for line in answer["errors"].splitlines() if line.startswith("tutelage: ")]
    if answer["status"] not in (0, 2):
        faults.append(f"status {answer['status']}")
    if "Traceback" in answer["errors"] + answer["out"]:
        faults.append("a traceback")
    if answer["status"] == 2 and len(lines) != 1:
        faults.append(f"{len(lines)} lines")
    if answer["status"] == 0 and "Warning" in answer["errors"]:
        faults.append("a warning")
    if answer["seconds"] > SECONDS:
        faults.append(f"{answer['seconds']:.0f} s")
    if answer["bytes"] > BYTES:
        faults.append(f"{answer['bytes']:,} bytes")
    return faults


def _is_read(path: Path) -> bool:
    return path.suffix not in (".md", "") and "tensorboard" not in path.parts and "last" not in path.parts


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if not {*path.relative_to(folder).parts} & {*_WRITTEN}
        and not path.name.endswith(("-wal", "-shm"))  # SQLite makes them to read, too
        and not path.is_symlink()
        and path.is_file()
    }


def main() -> None:
    """Run the cases from FIRST to LAST, and print those that failed."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        failed = 0
        for number in range(first, last):
            outcome = fuzzer.case(number)
            print(f"{number}", end=" ", file=sys.stderr, flush=True)
            if outcome.faults:
                failed += 1
                print(f"{outcome}\n", flush=True)
        print(f"{failed} of {last - first} cases failed")
        fuzzer.close()


if __name__ == "__main__":
    main()
