"""A real PostgreSQL server for the tests: Debian's package, a folder of its own, a socket and no port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

MISSING = "expected PostgreSQL's server for these tests, found none; install it: apt-get install postgresql"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_error_statement": "panic",  # the tests read the log: what was written stays out of it
}


class PostgreSQL:
    """One server; a test may stop it and start it again as it likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._binaries = binaries()
        # the server refuses to be root
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        command = [
            "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        self._run(*command)

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.folder)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: fast rolls back and writes everything, immediate is a crash."""
        self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database for a while; gives its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.administer(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg://postgres@/{name}?host={self.folder}"
        finally:
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def administer(self, statement: str) -> None:
        """Run a statement as the server's administrator."""
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,  # a server that is started holds on to it
            stderr=subprocess.PIPE,
            text=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def binaries() -> Path:
    """Find the folder of the server's programs; Debian keeps them off the path."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)]
    if (found := shutil.which("initdb")) is not None:
        places.append(Path(found).resolve().parent)
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    pytest.fail(MISSING)


def _version(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """Run a server in a folder of its own until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="tutelage-postgres-"))  # a socket's path has to be short
    try:
        server = PostgreSQL(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
