"""Compile the kernels of grid worlds once, before the processes of the tests all do it at the same time."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tutelage.crowd.hosting.grid_host import GridHost, SharedGridLevel
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite


def main() -> None:
    """Play an episode of a level and show a world to a person: what that compiles is kept in files."""
    suite = load_suite("babyai-small")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store", suite)
        simulate(suite, store, {suite.tasks[0].id: 1}, workers=1)
    GridHost(SharedGridLevel(suite.tasks[0])).warm_up()


if __name__ == "__main__":
    main()
