from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.action_parts import BINS, ActionPart, targets
from tutelage.agents.policy.encoding import (
    Encoding,
    ObservationSpec,
    feature_count,
    fit_vector,
    ground_and_things,
    quantile_features,
)
from tutelage.agents.policy.interface_checks import expect_fits
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_page import page_columns
from tutelage.tests.support.toy_policy import random_columns

SEEN: dict[str, spaces.Space[Any]] = {
    "floats": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "integers": spaces.Box(-5, 5, (4,), np.int32),
    "picture": spaces.Box(0, 255, (40, 50, 3), np.uint8),
    "grid": spaces.Box(0, 9, (5, 4, 2), np.uint8),
    "number": spaces.Discrete(4, start=-1),
    "numbers": spaces.MultiDiscrete([3, 5]),
    "many": spaces.Discrete(1 << 40),
    "many of each": spaces.MultiDiscrete([3, 1 << 30]),
    "bits": spaces.MultiBinary(6),
    "pair": spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (1,), np.float64)]),
    "nested": spaces.Dict({"where": spaces.Box(-1, 1, (2,), np.float32), "said": spaces.Text(20)}),
    "text": spaces.Text(30),
}
DONE: dict[str, spaces.Space[Any]] = {
    "one": spaces.Discrete(5, start=2),
    "several": spaces.MultiDiscrete([3, 4]),
    "bits": spaces.MultiBinary(3),
    "push": spaces.Box(-2, 2, (2,), np.float32),
    "notches": spaces.Box(-2, 7, (2,), np.int64),
    "both": spaces.Dict({"turn": spaces.Box(-1, 1, (1,), np.float32), "fire": spaces.Discrete(2)}),
    "pair": spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 9, (2,), np.float32)]),
}


class AnySpace(gymnasium.Env[Any, Any]):
    """A world that shows and takes random members of whatever spaces it is given."""

    def __init__(self, seen: str, done: str, render_mode: str | None = None) -> None:
        self.observation_space = SEEN[seen]
        self.action_space = spaces.Discrete(1 << 40) if done == "countless" else DONE[done]
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 1.0, False, False, {}


gymnasium.register("toys/AnySpace-v0", entry_point=AnySpace, max_episode_steps=9)  # type: ignore[arg-type]


def toy(seen: str, done: str, name: str = "toy") -> Task:
    return Task(name, "toys/AnySpace-v0", kwargs={"seen": seen, "done": done})


@pytest.mark.parametrize("seen", SEEN)
def test_every_kind_of_observation_is_fitted_and_survives_yaml(seen: str) -> None:
    encoding = Encoding.fit({"toy": random_columns(toy(seen, "one"), 4)})
    written = yaml.safe_dump(encoding.to_dict())
    assert Encoding.from_dict(yaml.safe_load(written)) == encoding


def test_a_number_of_many_values_is_read_as_a_number() -> None:
    for seen in ("many", "many of each"):
        task = toy(seen, "one")
        encoding = Encoding.fit({"toy": random_columns(task, 4)})
        [spec] = encoding.interface("toy").seen
        assert spec.kind == "vector"
        expect_fits(encoding.interface("toy"), TaskEnv(task))


def test_whole_numbers_of_a_small_box_are_choices() -> None:
    task = toy("number", "notches")
    parts = Encoding.fit({"toy": random_columns(task, 4)}).interface("toy").parts
    assert [(part.kind, part.low, part.size) for part in parts] == [("choice", -2.0, 10)] * 2
    expect_fits(Encoding.fit({"toy": random_columns(task, 4)}).interface("toy"), TaskEnv(task))


def test_too_many_actions_to_choose_from_are_one_line() -> None:
    task = Task("toy", "toys/AnySpace-v0", kwargs={"seen": "number", "done": "countless"})
    with pytest.raises(TutelageError, match="expected at most 65,536 actions to choose from, got Discrete"):
        Encoding.fit({"toy": random_columns(task, 4)})


@pytest.mark.parametrize("done", DONE)
def test_every_kind_of_action_has_a_part_a_number(done: str) -> None:
    columns = random_columns(toy("number", done), 4)
    encoding = Encoding.fit({"toy": columns})
    parts = encoding.interface("toy").parts
    assert len(parts) == columns.actions.shape[1]
    for part, column in zip(parts, columns.actions.T, strict=True):
        assert _read(part, targets(part, column)) == pytest.approx(column, abs=1e-5)
    assert Encoding.from_dict(yaml.safe_load(yaml.safe_dump(encoding.to_dict()))) == encoding


def _read(part: ActionPart, column: np.ndarray) -> np.ndarray:
    if part.kind == "choice":
        return column + part.low
    return part.low + (column @ np.arange(part.size)) / (part.size - 1) * (part.high - part.low)


def test_tasks_that_see_and_do_alike_share_an_interface() -> None:
    tasks = [toy("pair", "one", "a"), toy("pair", "one", "b"), toy("pair", "push", "c")]
    encoding = Encoding.fit({task.id: random_columns(task, 4) for task in tasks})
    assert len(encoding.interfaces) == 2
    assert encoding.interface("a") is encoding.interface("b")


def test_an_untaught_task_is_named() -> None:
    encoding = Encoding.fit({"toy": random_columns(toy("number", "one"), 4)})
    with pytest.raises(TutelageError, match=r"toy.*got 'other'"):
        encoding.interface("other")


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_two_bins_share_a_number_so_that_their_mean_is_it(numbers: list[float]) -> None:
    part = ActionPart("bins", BINS, -2.0, 2.0)
    soft = targets(part, np.array(numbers))
    assert soft.sum(1) == pytest.approx(np.ones(len(numbers)), abs=1e-6)
    assert ((soft > 0).sum(1) <= 2).all()
    assert _read(part, soft) == pytest.approx(np.clip(numbers, -2, 2), abs=1e-5)


def test_things_on_a_grid_are_found_where_they_lie_and_the_ground_is_the_rest() -> None:
    grid = np.zeros((2, 3, 4, 2), np.uint8)
    grid[1, 2, 1] = (5, 3)
    seen = ObservationSpec("", "grid", (3, 4, 2), common=((0, 0),))
    ground, step, cell, values = ground_and_things(seen, grid)
    assert (step.tolist(), cell.tolist(), values.tolist()) == ([1], [2 * 4 + 1], [[5, 3]])
    assert ground.shape == (2, 12)
    assert ground.sum() == 23


def test_common_symbols_become_ground_and_rare_ones_things() -> None:
    columns = random_columns(toy("grid", "one"), 4)
    grids = np.zeros_like(columns.observations[""])
    grids[:, 0, 0] = (7, 1)
    grids[3, 2, 2] = (8, 0)
    fitted = Encoding.fit({"toy": _with(columns, grids)}).interface("toy").seen[0]
    assert fitted.common == ((0, 0), (7, 1))


def _with(columns: TaskArrays, observations: np.ndarray) -> TaskArrays:
    return TaskArrays(**{**vars(columns), "observations": {"": observations}})


@given(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=30, unique=True))
def test_quantile_features_are_finite_bounded_and_never_fall(numbers: list[int]) -> None:
    values = np.array(sorted(numbers))[:, None] / 1000
    seen = ObservationSpec(
        "", "vector", (1,), edges=(tuple(np.unique(np.quantile(values, np.linspace(0, 1, 9)))),)
    )
    features = quantile_features(seen, values)
    assert features.shape == (len(numbers), feature_count(seen))
    assert (np.abs(features) <= 4).all()
    assert (np.diff(features, axis=0) >= -1e-5).all()


def test_a_vector_that_is_not_finite_gives_finite_features() -> None:
    seen = ObservationSpec("", "vector", (1,), edges=((0.0, 1.0, 2.0),))
    assert np.isfinite(quantile_features(seen, np.array([[np.nan], [np.inf], [-np.inf]]))).all()


@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=32)
        | st.sampled_from([1e9, -1e30, np.inf, np.nan]),
        min_size=1,
        max_size=30,
    )
)
def test_values_of_the_data_keep_their_order_and_stay_distinct(numbers: list[float]) -> None:
    values = np.array(numbers, np.float64)[:, None]
    seen = fit_vector("", (1,), values)
    features = quantile_features(seen, values)
    assert features.shape == (len(numbers), feature_count(seen))
    assert np.isfinite(features).all()
    finite = np.isfinite(values[:, 0])
    order = np.argsort(values[finite, 0])
    climbed = features[finite][order]
    assert (np.diff(climbed, axis=0) >= 0).all()
    different = np.diff(values[finite, 0][order]) > 0
    assert (np.abs(np.diff(climbed, axis=0)).sum(1) > 0)[different].all()
    if len(seen.missing):
        assert (features[:, -1] == ~finite).all()


@pytest.mark.parametrize("sentinel", [np.inf, -np.inf, np.nan, 1e9, 1e30, -1e300])
@pytest.mark.parametrize("share", [0.001, 0.3])
def test_one_sentinel_does_not_hide_all_other_values(sentinel: float, share: float) -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(0, 10, (1000, 2))
    values[: int(1000 * share), 0] = sentinel
    seen = fit_vector("", (2,), values)
    shown = quantile_features(seen, np.array([[1.0, 1.0], [5.0, 5.0], [9.0, 9.0], [sentinel, 1.0]]))
    for first, second in itertools.combinations(shown[:3], 2):
        assert np.abs(first - second).sum() > 2, (
            "as many edges between them as without the sentinel, or nearly"
        )
    assert np.abs(shown[3] - shown[0]).sum() > 0.5


@pytest.mark.parametrize("rare", [0.3, 0.1, 0.03])
@pytest.mark.parametrize("outliers", [[], [1e9, -1e30]], ids=["alone", "beside outliers"])
def test_rare_states_that_values_lead_to_keep_their_resolution(rare: float, outliers: list[float]) -> None:
    generator = np.random.default_rng(
        0
    )  # as a pendulum's speed: at rest nearly always, and it swings up first
    at_rest = generator.normal(0, 0.01, int(20_000 * (1 - rare)))
    swinging = generator.uniform(-8, 8, int(20_000 * rare))
    seen = fit_vector("", (1,), np.concatenate([at_rest, swinging, outliers])[:, None])
    assert seen.spans[0] == pytest.approx((-8, 8), abs=0.1)
    assert np.diff([edge for edge in seen.edges[0] if -8 < edge < 8]).max() < 16 / 30
    steps = quantile_features(seen, np.linspace(-7.9, 7.9, 64)[:, None])
    assert (np.abs(np.diff(steps, axis=0)).sum(1) > 0.2).all()


@pytest.mark.parametrize(
    "values",
    [
        np.full(100, 3.5),
        np.repeat([0.0, 1.0], 50),
        1.7e9 + np.linspace(0, 1, 100),
        np.linspace(0, 1e-12, 100),
        1e8 + np.arange(100.0),
        np.geomspace(1e-20, 1e20, 100),
    ],
    ids=["constant", "two values", "time of day", "tiny range", "offset", "twenty decades"],
)
def test_odd_columns_keep_their_information(values: np.ndarray) -> None:
    seen = fit_vector("", (1,), values[:, None])
    features = quantile_features(seen, values[:, None])
    assert len(np.unique(features, axis=0)) == len(np.unique(values))


def test_pages_of_tasks_without_data_are_seen_as_all_pages_are() -> None:
    columns = {"click": page_columns(False, 4)}
    web = Task("elsewhere", "tutelage/web.click-button-v0")
    fitted = Encoding.fit(columns, [web, Task("cartpole", "CartPole-v1")])
    assert fitted.interface("elsewhere") == fitted.interface("click")
    assert Encoding.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(TutelageError, match="got 'cartpole'"):
        fitted.interface("cartpole")
