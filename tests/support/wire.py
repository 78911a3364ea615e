"""The way to a PostgreSQL server, which a test can cut: a relay between two sockets in the file system."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class Wire:
    """Relays connections to the server in `folder`; `url(...)` leads through it.

    `lose_answer()` lets the next COMMIT reach the server, and cuts that connection before the server's
    answer gets back. `cut()` ends every connection, and refuses new ones until `mend()`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tutelage-wire-"))
        self.lost = threading.Event()
        self._server = folder / _NAME
        self._losing = self._is_cut = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.folder / _NAME))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str) -> str:
        """Return a database's URL with this way to it."""
        return url.partition("?")[0] + f"?host={self.folder}"

    def lose_answer(self) -> None:
        self.lost.clear()
        self._losing = True

    def cut(self) -> None:
        self._is_cut = True
        for pair in self._pairs:
            _end(*pair)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        _end(self._listening)
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                page, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    if self._is_cut:
                        raise OSError
                    server.connect(str(self._server))
                except OSError:
                    _end(page, server)
                    continue
                self._pairs.append((page, server))
                threading.Thread(target=self._ask, args=(page, server), daemon=True).start()
                threading.Thread(target=self._relay, args=(server, page), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self._losing and b"COMMIT" in data:
                    self._losing = False
                    _end(client)
                    server.sendall(data)
                    self.lost.set()
                    return
                server.sendall(data)
        _end(client, server)

    def _relay(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        _end(client, server)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
