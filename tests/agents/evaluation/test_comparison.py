"""The figures of a report follow from the rows alone, pair by seed, and weigh tasks equally."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tutelage.agents.evaluation.comparison import Comparison
from tutelage.agents.evaluation.rows import SCHEMA
from tutelage.errors import TutelageError


def rows(
    task: str, actor: str, kind: str, success: list[int], returns: list[float] | None = None
) -> pa.Table:
    count = len(success)
    columns = {
        "suite": ["toy-suite"] * count,
        "task": [task] * count,
        "actor": [actor] * count,
        "kind": [kind] * count,
        "demonstrator": [actor] * count,
        "seed": range(count),
        "success": [bool(one) for one in success],
        "return": returns or [float(one) for one in success],
        "steps": [10] * count,
        "seconds": [1.0] * count,
        "episode": [f"{task}/{actor}/{i}" for i in range(count)],
        "failed": [""] * count,
    }
    return pa.table(columns, SCHEMA)


def both(*tables: pa.Table) -> Comparison:
    return Comparison(pa.concat_tables(tables))


def test_policies_stand_first_and_chance_last() -> None:
    made = both(
        rows("a", "chance", "chance", [0]), rows("a", "bot", "expert", [1]), rows("a", "bc", "policy", [1])
    )
    assert made.actors == ["bc", "bot", "chance"]
    assert made.subject == "bc"


def test_pairs_are_matched_by_seed_whatever_the_order_of_the_rows() -> None:
    shuffled = rows("a", "bot", "expert", [1, 0, 1, 1]).take([3, 1, 0, 2])
    (pair,) = both(rows("a", "bc", "policy", [1, 1, 0, 1]), shuffled).pairs
    counts = (pair.success.both, pair.success.only_first, pair.success.only_second, pair.success.neither)
    assert counts == (2, 1, 1, 0)
    assert (pair.first, pair.second) == ("bc", "bot")


def test_only_shared_seeds_are_paired_and_each_of_them_once() -> None:
    twice = pa.concat_tables([rows("a", "people", "person", [0, 1]), rows("a", "people", "person", [1, 1])])
    made = both(rows("a", "bc", "policy", [1, 1, 1]), twice)
    (pair,) = made.pairs
    assert pair.success.difference.n == 2
    assert pair.success.only_first == 1  # the first attempt at seed 0 counts
    assert made.cells["a", "people"].success.n == 4


def test_scores_put_chance_at_0_and_the_expert_at_1() -> None:
    made = both(
        rows("a", "bc", "policy", [1, 1], [5.0, 15.0]),
        rows("a", "bot", "expert", [1, 1], [20.0, 20.0]),
        rows("a", "chance", "chance", [0, 0], [-2.0, 2.0]),
    )
    assert made.scores("a", "bc").tolist() == [0.25, 0.75]
    assert made.scores("a", "bot").mean() == 1
    assert made.scores("a", "chance").mean() == 0


def test_without_an_expert_the_score_is_the_success() -> None:
    made = both(rows("a", "bc", "policy", [1, 0], [5.0, 15.0]), rows("a", "chance", "chance", [0, 0]))
    assert made.scores("a", "bc").tolist() == [1.0, 0.0]


def test_the_mean_weighs_tasks_not_episodes_and_needs_all_of_them() -> None:
    made = both(
        rows("a", "bc", "policy", [1] * 30),
        rows("b", "bc", "policy", [0] * 10),
        rows("a", "bot", "expert", [1]),
    )
    assert made.overall["bc"].success.estimate == 0.5
    assert "bot" not in made.overall


def test_the_same_rows_give_the_same_figures_and_another_actor_changes_none() -> None:
    generator = np.random.default_rng(0)
    mine = rows("a", "bc", "policy", [1] * 20, generator.normal(size=20).tolist())
    alone, again = both(mine).cells["a", "bc"], both(mine).cells["a", "bc"]
    beside = both(rows("a", "zz", "policy", [1] * 5), mine).cells["a", "bc"]
    assert alone == again == beside
    assert Comparison(mine, seed=1).cells["a", "bc"].returns != alone.returns


def test_a_shipped_suite_says_where_the_return_is_what_counts() -> None:
    table = rows("cartpole", "bc", "policy", [1, 0])
    assert not Comparison(table).by_return("cartpole")
    named = table.set_column(0, "suite", pa.array(["first-steps"] * 2))
    assert Comparison(named).by_return("cartpole")


def test_no_rows_are_refused() -> None:
    with pytest.raises(TutelageError, match="expected rows to compare"):
        Comparison(SCHEMA.empty_table())
