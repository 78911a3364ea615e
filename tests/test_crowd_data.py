"""The recordings of real crowd workers, where they are at hand, are what their README promises."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = {"ep", "task", "env_id", "round", "assignment", "utterance", "fields", "reward", "raw_reward"}
EPISODES, TASKS = 12_983, 61


def test_there_are_as_many_demonstrations_as_promised(crowd_data: Path) -> None:
    episodes = pq.read_table(crowd_data / "episodes.parquet")
    assert COLUMNS | {"n_actions", "duration_ms", "time_ok"} <= set(episodes.column_names)
    assert episodes.num_rows == EPISODES
    assert len(pc.unique(episodes["ep"])) == EPISODES
    assert len(pc.unique(episodes["task"])) == TASKS


def test_every_action_belongs_to_an_episode(crowd_data: Path) -> None:
    episodes = pq.read_table(crowd_data / "episodes.parquet", columns=["ep", "n_actions"])
    actions = pq.read_table(crowd_data / "actions.parquet", columns=["ep"])
    assert pc.all(pc.is_in(actions["ep"], value_set=episodes["ep"].combine_chunks())).as_py()
    assert actions.num_rows == pc.sum(episodes["n_actions"]).as_py()
