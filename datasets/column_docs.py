"""What every column of a store means: the text of docs/store-columns.md, which `make docs` writes."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

COLUMNS: Mapping[str, str] = {
    "episode": "Id of the episode, which no other has: 32 hexadecimal digits of what was played here; of "
    "what was imported a name of any length, such as `cart-rand-v0-17`.",
    "suite": "Name of the suite that the task is from.",
    "task": "Id of the task in the suite.",
    "env": "Gymnasium id of the environment.",
    "kwargs": "Arguments that the environment was made with, as a JSON object.",
    "versions": "Version of every package that decides what the environment does, as a JSON object.",
    "casts": "What casts to the declared dtypes changed, by leaf or `(action)`, as a JSON object.",
    "seed": "Seed of the reset; with the actions it gives the episode back.",
    "demonstrator": "Pseudonym of the person, or name of the program, that played.",
    "kind": "What played: `person`, `expert`, `simulated`, `policy` or `chance` (random actions).",
    "started": "When the episode began, ISO 8601 in UTC; empty where unknown.",
    "steps": "Number of actions, T.",
    "return": "Sum of all rewards.",
    "success": "Whether the task's success rule held at the end; null where the task has none.",
    "seconds": "Time from the reset to the last action, in seconds.",
    "terminated": "Whether the environment ended the episode.",
    "truncated": "Whether a limit of steps or time ended the episode.",
    "steps_per_second": "Measured rate of a real-time episode, steps a second; null elsewhere.",
    "study": "Name of the study that the episode was played in; empty outside of studies.",
    "consent": "Version of the consent text that the participant agreed to; empty without one.",
    "notes": "Free text about the episode, such as why it ended early.",
    "digest": "Chained BLAKE2b over every observation, reward and flag, 16 bytes; replay must give it again.",
    "stored": "Whether `observations` holds what was seen; if not, replay has proven that it comes back.",
    "action_size": "Numbers in one action, k.",
    "actions": "T × k numbers, action after action; of each, its leaves in the order of the space.",
    "rewards": "Reward of each step, T numbers.",
    "times_ms": "Milliseconds from the reset to each action, T numbers.",
    "controllers": "Who chose each action, T numbers: 0 a person, 1 a policy, 2 an expert.",
    "frames": "Number of the frame that was shown when each action was chosen, T numbers.",
    "observations": "NumPy `.npz` of T + 1 observations, an array a leaf; null where replay gives them back.",
    "infos": "NumPy `.npz` of what the success rule read from info; null where it reads none.",
}
"""Column → one sentence."""

HEAD = """# Columns of a store

Written by `make docs` from the schema (`datasets/schema.py`, version {version}) and `column_docs.py`.

One row is one episode, in the Parquet parts of a [store](demonstrations.md#look-at-a-store); T is its number
of steps. Columns are never null unless it says so.
"""


def page(schema: pa.Schema, version: int) -> str:
    """Return the page: a line a column, in the order of the schema, with its Arrow type."""
    lines = [HEAD.format(version=version), "| column | type | means |", "|---|---|---|"]
    for field in schema:
        kind = str(field.type).replace("list<element: ", "list<").replace("list<item: ", "list<")
        lines.append(f"| `{field.name}` | `{kind}` | {COLUMNS[field.name]} |")
    return "\n".join(lines) + "\n"
