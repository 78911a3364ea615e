"""Write the store, run, evaluation and study of this version, which later versions must open.

`python -m tutelage.tests.support.make_fixture tests/fixtures/VERSION`, into a folder that is not there yet.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tutelage as tt
from tutelage.files.safe_tree import remove_tree
from tutelage.tests.support import toy_study

EPISODES = 4


class TowardsTheGoal:
    """Cross the lake on the path that is known to be safe."""

    name = "walker"

    def reset(self) -> None:
        self.actions = iter(toy_study.ACROSS)

    def act(self, observation: int) -> int | None:
        return next(self.actions, None)


async def _study(folder: Path) -> None:
    """Let one person play through a study, and keep its folder as the server leaves it."""
    async with toy_study.serving(folder, episodes=2) as server:
        walker = await toy_study.walk_in(server)
        await walker.to_the_tasks()
        while walker.stage in ("play", "rest"):
            await walker.play()
            await walker.send("next")
        assert walker.stage == "done"
        await toy_study.until(lambda: len(server.store) == 2)


def make(folder: Path) -> None:
    """Write everything into a new folder named after the version."""
    folder.mkdir(parents=True)
    suite = tt.load_suite({"suite": "small", "tasks": [toy_study.LAKE], "evaluation": {"episodes": 2}})
    played = tt.evaluate(suite, [TowardsTheGoal()], episodes=EPISODES, seeds="record")
    store = tt.Store.create(folder / "store", suite)
    store.append(played.episodes)
    run = tt.train(store, folder / "run", steps=2, size=1, window=4, batch_steps=32, select_episodes=1)
    tt.evaluate(suite, [run, "random"], episodes=2, out=folder / "evaluation")
    for name in ("tensorboard", "last"):
        remove_tree(folder / "run" / name)
    (folder / "run" / "state.safetensors").unlink()
    remove_tree(store.path / "columns")
    toy_study.run(_study(folder / "study"))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
