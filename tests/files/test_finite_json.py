"""Numbers that are not finite reach no JSON, table, report or metrics file; the store keeps them."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.training.sealed_lines import seal_line
from tutelage.cli.main import app
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Digest, plain_bytes
from tutelage.files.finite_json import exact_json, json_text, number_text
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.played import store_of
from tutelage.tests.support.sources import MODULES, ROOT
from tutelage.tests.support.toy_numbers import MODULE, SUITE
from typer.testing import CliRunner

WRITERS = {
    "json": {"dump", "dumps", "JSONEncoder"},
    "starlette.responses": {"JSONResponse"},
}
"""What writes JSON by itself, module by module."""
ALLOWED = {"files/finite_json.py", "crowd/server/json_response.py"}
EXACT = {
    "agents/training/distributed.py",  # from process to process of a run
    "agents/training/state.py",
    "crowd/storage/journal_tables.py",
    "crowd/storage/row_checksums.py",
    "datasets/arrays/array_cache.py",
    "datasets/arrays/task_arrays.py",
    "datasets/fingerprint.py",
    "datasets/formats/export_marker.py",
    "datasets/formats/facts.py",
    "datasets/formats/hdf5_process.py",
    "datasets/formats/miniwob/recording.py",
    "datasets/manifest.py",
    "datasets/schema.py",
    "datasets/sealed_yaml.py",
    "envs/drawing/rendering.py",
    "foreign_code/objects.py",
}
"""Hashes, and files that only this package reads back."""


def strict(text: str) -> Any:
    """Parse JSON as browsers do: NaN and Infinity are none."""

    def refuse(constant: str) -> None:
        pytest.fail(f"expected JSON, got {constant}")

    return json.loads(text, parse_constant=refuse)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(plain)
def test_all_plain_data_becomes_json_that_any_parser_takes(value: Any) -> None:
    def expected(part: Any) -> Any:
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {key: expected(item) for key, item in part.items()}
        return [expected(item) for item in part] if isinstance(part, list | tuple) else part

    assert strict(json_text(value)) == expected(value)
    assert strict(json_text(value, is_compact=True, is_ascii=False, is_sorted=True)) == expected(value)


def test_numpy_numbers_are_numbers_and_what_is_unknown_is_refused() -> None:
    value = {
        "a": np.float32("nan"),
        "b": np.array([1.5, np.inf]),
        "c": np.int64(3),
        "d": [np.float64("-inf")],
    }
    assert strict(json_text(value)) == {"a": None, "b": [1.5, None], "c": 3, "d": [None]}
    with pytest.raises(TypeError):
        json_text({"a": object()})
    assert strict(json_text({"a": Path("x"), "b": math.nan}, default=str)) == {"a": "x", "b": None}
    assert "NaN" in exact_json([math.nan])
    assert [number_text(value, ".1f") for value in (1.0, None, math.nan, -math.inf)] == ["1.0", "–", "–", "–"]


def sources() -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in MODULES}


@pytest.mark.slow
def test_nothing_writes_json_but_the_one_encoder() -> None:
    around = []
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in WRITERS:
                around += [(name, item.name) for item in node.names if item.name in WRITERS[node.module]]
            elif isinstance(node, ast.Attribute) and node.attr in {
                *WRITERS["json"],
                "send_json",
                "print_json",
            }:
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                around += [(name, node.attr)] if owner != "pickle" else []
            elif isinstance(node, ast.Import) and {item.name for item in node.names} & {"orjson", "ujson"}:
                around.append((name, "another encoder"))
    assert {name for name, _ in around} == ALLOWED, around


@pytest.mark.slow
def test_numbers_that_are_not_finite_stay_only_in_hashes_and_files_of_ours() -> None:
    calls = {
        name
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "exact_json"
    }
    assert calls == EXACT


def test_a_line_of_metrics_is_json() -> None:
    line, _ = seal_line({"step": 1, "loss": math.nan, "select": {"a": np.float32("inf")}}, "")
    assert strict(line)["loss"] is None
    assert strict(line)["select"] == {"a": None}


def test_a_digest_takes_every_nan_for_the_same() -> None:
    other = np.array([0xFFF8000000000001], np.uint64).view(np.float64)
    assert np.isnan(other).all()
    assert other.tobytes() != np.array([np.nan]).tobytes()
    observations: list[dict[str, Any]] = [{"x": other}, {"x": np.array([np.nan])}]
    first, second = (
        Digest().update(observation, float(observation["x"][0]), False, False) for observation in observations
    )
    assert first == second
    assert plain_bytes(np.array([1.5, -0.0])) == np.array([1.5, -0.0]).tobytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(VARIABLE, MODULE)
    return store_of(tmp_path / "store", SUITE, [(2, 3, 4, 1), (1, 1, 1, 1), (3, 3, 1, 1), (1, 2, 1, 1)])


def invoke(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None, result.output
    return result.stdout


def test_the_store_keeps_what_was_and_its_outputs_say_that_it_is_missing(store: Store) -> None:
    rewards = [trajectory.rewards for trajectory in store.trajectories()]
    np.testing.assert_array_equal(rewards[0], [np.nan, np.inf, -np.inf, 1.0])
    assert not any(store.episodes()["stored"].to_pylist()), "expected NaN to be proven equal to NaN"
    inspection = strict(invoke("inspect", store.path, "--json"))
    assert inspection["tasks"][0]["return_mean"] is None
    assert inspection["problems"] == []
    assert not re.search(r"\b(nan|inf)\b", invoke("inspect", store.path, "--workers", "1"))
    for person in strict(invoke("quality", store.path, "--json"))["people"]:
        assert person["episodes"]
    assert not re.search(r"\b(nan|inf)\b", invoke("quality", store.path))


def test_a_policy_learns_from_it_and_every_figure_of_it_is_json(store: Store, tmp_path: Path) -> None:
    run, measured = tmp_path / "run", tmp_path / "measured"
    small = ("--steps", "4", "--size", "1", "--batch-steps", "16", "--threads", "1")
    invoke("train", store.path, "-o", run, *small)
    for line in (run / "metrics.jsonl").read_text().splitlines():
        strict(line)
    figures = invoke("evaluate", run, "-o", measured, "--episodes", "4", "--actor", "random", "--json")
    cells = strict(figures)["tasks"]["numbers"]
    assert cells["random"]["return"]["estimate"] is None
    invoke("report", measured, "-o", tmp_path / "report.html", "--run", run, "--store", store.path)
    page = (tmp_path / "report.html").read_text("utf-8")
    replays = re.search(r'<script[^>]*id="replays"[^>]*>(.*?)</script>', page, re.S)
    assert replays is not None
    strict(replays[1])
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)
    shown = re.sub(r"<[^>]+>", " ", text)
    assert not re.search(r"(?i)\b−?(nan|inf)\b", shown)
    assert not re.search(r'"[^"]*\bnan\b[^"]*"', text), "a drawing has a place that is no number"


def test_an_exports_statistics_are_json_of_the_finite_numbers(store: Store, tmp_path: Path) -> None:
    invoke("export", store.path, "--to", "lerobot", "-o", tmp_path / "robot")
    statistics = strict((tmp_path / "robot/meta/stats.json").read_text("utf-8"))
    assert statistics["next.reward"]["max"] == [1.0]
    assert statistics["observation.dial"]["min"] == [0.0, 0.0]
    invoke("import", "lerobot", tmp_path / "robot", "-o", tmp_path / "again")
    for old, new in zip(store.trajectories(), Store.open(tmp_path / "again").trajectories(), strict=True):
        np.testing.assert_array_equal(old.rewards, new.rewards)
