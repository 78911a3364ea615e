"""A study that has been played, with its dashboard behind a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from tutelage.crowd.dashboard.admin_token import make_admin
from tutelage.crowd.dashboard.dashboard import routes
from tutelage.crowd.dashboard.playback import Playbacks
from tutelage.crowd.page_templates import STATIC
from tutelage.crowd.server.host_check import HostCheck
from tutelage.crowd.server.host_names import AllowedHosts
from tutelage.crowd.server.recorder_app import atlas_route, listen
from tutelage.crowd.storage.study_tables import people
from tutelage.tests.support.busy import Busy, seat_of, world_of


@dataclass
class Served:
    """A study's dashboard at an address; `seat` is that of the person who can be watched."""

    url: str
    token: str
    watched: str


@contextmanager
def serving(busy: Busy) -> Iterator[Served]:
    """Serve the dashboard as a study's server does, in a thread; somebody's seat can be opened at /socket."""
    token = make_admin(busy.folder)
    assert token is not None
    watched = busy.playing[0]
    seats = {"seat-of-watched": seat_of(busy, watched)}
    with busy.database.write() as connection:
        connection.execute(people.update().where(people.c.person == watched).values(seat="seat-of-watched"))

    async def talk(page: WebSocket) -> None:
        await page.accept()
        await seats["seat-of-watched"].attend(page)

    playbacks = Playbacks(busy.study.name, busy.study.suite, busy.journal, busy.store, world_of)
    extra_routes = routes(
        busy.plan,
        busy.database,
        busy.journal,
        busy.store,
        busy.secret,
        folder=busy.folder,
        seats=seats.get,
        playbacks=playbacks,
        judge=busy.judge.verdicts,
    )
    static = Mount("/static", StaticFiles(directory=STATIC))
    app = HostCheck(
        Starlette(
            routes=[*extra_routes, WebSocketRoute("/socket", talk), atlas_route(busy.study.suite), static]
        ),
        AllowedHosts(),
    )
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}/admin", token, watched)
        finally:
            server.should_exit = True
            thread.join()
