"""What is installed: the package list agrees with the folders, and a built wheel runs by itself."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import tutelage
from tutelage.tests.support.sources import FOLDERS, ROOT

OUTSIDE = ("tests", "benchmarks", "docs")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_package_list_is_the_folders() -> None:
    folders = {
        one.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for folder in FOLDERS
        for one in (ROOT / folder).rglob("__init__.py")
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == {"tutelage"} | {
        f"tutelage.{one}" for one in folders
    }


def test_every_folder_with_code_or_data_is_a_package() -> None:
    for folder in FOLDERS:
        for one in (ROOT / folder).rglob("*"):
            if one.is_dir() and one.name != "__pycache__" and any(part.is_file() for part in one.iterdir()):
                assert (one / "__init__.py").is_file(), one


def test_the_version_is_said_once() -> None:
    assert tutelage.__version__ == project()["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "a checkout"
    wanted = (
        *(path.name for path in ROOT.glob("*.py")),
        "py.typed",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    )
    copy.mkdir()
    for name in wanted:
        shutil.copy(ROOT / name, copy / name)
    for name in (*FOLDERS, *OUTSIDE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("tutelage-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_code_and_the_data_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = (
        {"py.typed"}
        | {path.name for path in ROOT.glob("*.py")}
        | {
            path.relative_to(ROOT).as_posix()
            for folder in FOLDERS
            for path in (ROOT / folder).rglob("*")
            if path.suffix in (".py", ".yaml", ".html", ".css", ".js", ".svg")
        }
    )
    assert inside == {f"tutelage/{name}" for name in expected}
    assert any(name.startswith("tutelage/envs/suites/") and name.endswith(".yaml") for name in inside)
    assert "tutelage/crowd/templates/index.html" in inside
    assert "tutelage/agents/evaluation/report/templates/report.html" in inside
    assert not any(name.split("/")[1] in OUTSIDE for name in inside)


@pytest.mark.slow
def test_the_wheel_runs_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    binaries = home / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run(
        [*install, "install", "-q", "--no-deps", "--no-index", "--no-compile", str(wheel)],
        check=True,
        timeout=120,
    )
    own = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    # the dependencies are the test environment's; its .pth files, and so an editable install, are not read
    (Path(own.strip()) / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(python, "-c", "import tutelage; print(tutelage.__file__)")
    assert Path(where.strip()).is_relative_to(home)
    assert run(binaries / "tutelage", "--version").strip() == f"tutelage {tutelage.__version__}"
    assert "CartPole" in run(binaries / "tutelage", "tasks", "first-steps", "--json")


def test_a_missing_program_is_noticed_whatever_machine_the_environment_was_made_on(tmp_path: Path) -> None:
    """Without apt-get to install it, the way out is said."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    for marker in ("made", "torch", "installed-dev", "programs"):  # as on a machine that had them all
        (tmp_path / ".venv" / marker).touch()
    path = tmp_path / "path"
    path.mkdir()
    for name in ("ls", "id"):
        (path / name).symlink_to(str(shutil.which(name)))
    command = [str(shutil.which("make")), "programs"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected chromium" in done.stderr
    assert "apt-get install chromium" in done.stderr
