"""Ways to spoil a file: by its structure, sealed again where it has a seal; byte by byte; as a whole."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load, save
from tutelage.datasets.schema import pack, unpack
from tutelage.tests.support.fuzz_database import spoil_database
from tutelage.tests.support.fuzz_seals import seal, write_yaml

Dice = random.Random
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, -(2**31) - 1, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), "", " ", "x", "nan", "\x1b[2J", "../../etc", "ü" * 50, "a" * 5000, [], {}, [[]], [None]),
    *({"": None}, {"a": {"b": []}}, [1, "x", None], {"x": 1}),
]


def spoil(path: Path, dice: Dice) -> str:
    """Spoil a file by its structure, else by its bytes; returns what was done, for the one who reads it."""
    structural = _KINDS.get(path.suffix)
    if structural and dice.random() < 0.75:
        try:
            return structural(path, dice)
        except (
            pa.ArrowException,
            ValueError,
            TypeError,
            OverflowError,
            KeyError,
            IndexError,
            OSError,
        ) as error:
            done = spoil_bytes(path, dice)
            return f"{done}, since its structure withstood ({type(error).__name__})"
    return spoil_bytes(path, dice) if dice.random() < 0.7 else spoil_place(path, dice)


def spoil_bytes(path: Path, dice: Dice) -> str:
    """Flip, cut, zero, splice or grow; a store's part and a checkpoint are sealed again afterwards."""
    data = bytearray(path.read_bytes())
    at = dice.randrange(len(data) or 1)
    what = dice.choice(["flip", "cut", "zero", "splice", "grow", "no UTF-8"])
    if what == "flip" and data:
        for _ in range(dice.choice([1, 1, 8])):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif what == "cut":
        del data[at:]
    elif what == "zero":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif what == "splice":
        data[at:at] = data[: dice.randrange(200)]
    elif what == "grow":
        data += dice.randbytes(300)
    else:
        data[at:at] = b"\xff\xfe\xc0"
    path.write_bytes(data)
    return f"{what} at {at} of {seal(path).name}"


def spoil_place(path: Path, dice: Dice) -> str:
    """Put something else in a file's place."""
    what = dice.choice(["missing", "empty", "folder", "pipe", "loop", "device"])
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path.name)
    elif what == "device":
        path.symlink_to("/dev/zero")
    return f"{what} in place of {path.name}"


def spoil_document(document: Any, dice: Dice) -> tuple[Any, str]:
    """Change one place of plain data: another value, gone, renamed, doubled, wrapped."""
    document = copy.deepcopy(document)
    places = [*_places(document)]
    if not places:
        return dice.choice(VALUES), "all of it"
    holder, key = dice.choice(places)
    what = dice.choice(["value", "value", "value", "gone", "renamed", "wrapped", "deep", "long"])
    if what == "gone":
        del holder[key]
    elif what == "renamed" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif what == "wrapped":
        holder[key] = [holder[key]]
    elif what == "deep":
        for _ in range(300):
            holder[key] = [holder[key]]
    elif what == "long":
        holder[key] = [holder[key]] * 300
    else:
        holder[key] = copy.deepcopy(dice.choice(VALUES))
    return document, f"{what} at {str(key)[:60]!r} ({str(holder)[:60]})"


def _places(document: Any) -> list[tuple[Any, Any]]:
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = [*holder] if isinstance(holder, dict) else range(len(holder))
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list) and holder[key]]
    return places


def _spoil_yaml(path: Path, dice: Dice) -> str:
    document, done = spoil_document(yaml.safe_load(path.read_text("utf-8")), dice)
    write_yaml(path, document)
    return f"{seal(path).name}: {done}"


def _spoil_json(path: Path, dice: Dice) -> str:
    document, done = spoil_document(json.loads(path.read_text("utf-8")), dice)
    path.write_text(json.dumps(document), "utf-8")
    return f"{seal(path).name}: {done}"


def _spoil_json_in(text: str, dice: Dice) -> tuple[str, str]:
    document, done = spoil_document(json.loads(text), dice)
    return json.dumps(document), done


def _spoil_lines(path: Path, dice: Dice) -> str:
    lines = path.read_text("utf-8").splitlines()
    at = dice.randrange(len(lines))
    lines[at], done = dice.choice([("", "blank"), ("{", "torn"), _spoil_json_in(lines[at], dice)])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return f"{seal(path).name}, line {at + 1}: {done}"


def _spoil_gz(path: Path, dice: Dice) -> str:
    document, done = spoil_document(json.loads(gzip.decompress(path.read_bytes())), dice)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return f"{path.name}: {done}"


def _spoil_parquet(path: Path, dice: Dice) -> str:
    table = pq.read_table(path)
    at = dice.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at)
    what = dice.choice(["gone", "renamed", "doubled", "nulls", "type", "values", "values", "values", "rows"])
    if what == "gone":
        table = table.remove_column(at)
    elif what == "renamed":
        table = table.rename_columns(
            [f"{heading}x" if heading == name else heading for heading in table.column_names]
        )
    elif what == "doubled":
        table = table.append_column(name, column)
    elif what == "nulls":
        table = table.set_column(at, name, pa.nulls(len(table), column.type))
    elif what == "type":
        table = table.set_column(at, name, _retyped(column, dice))
    elif what == "rows":
        table = pa.concat_tables([table] * dice.choice([0, 2])) if dice.random() < 0.7 else table.slice(1)
    else:
        values = column.to_pylist()
        row = dice.randrange(len(values) or 1)
        values[row] = _changed(values[row], dice)
        table = table.set_column(at, table.schema.field(at), pa.array(values, column.type))
    pq.write_table(table, path)
    return f"{seal(path).name}: {what} at {name}"


def _retyped(column: pa.ChunkedArray, dice: Dice) -> pa.Array:
    size = len(column)
    return dice.choice(
        [
            pa.array([str(value)[:30] for value in column.to_pylist()]),
            pa.array(range(size), pa.int64()),
            pa.array([[1, 2]] * size),
            pa.array([{"a": 1}] * size),
            pa.array([b"\xff\xfe"] * size, pa.binary()),
            pa.array([1e300] * size),
        ]
    )


def _changed(value: Any, dice: Dice) -> Any:
    """Give another value of the same kind."""
    if isinstance(value, str):
        if value.startswith("{") and dice.random() < 0.8:
            return _spoil_json_in(value, dice)[0]
        return dice.choice(["", "x", "\x1b[31m", "../..", "[", "{}", "[]", "null", "[bold]", "é" * 200])
    if isinstance(value, bytes):
        return _changed_blob(value, dice)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice([0, -1, 127, -128, value + 1])
    if isinstance(value, float):
        return dice.choice([float("nan"), float("inf"), -1e308, 1e308, 0.5, -1.0])
    if isinstance(value, list) and value:
        what = dice.choice(["empty", "shorter", "longer", "null", "value", "value"])
        if what in ("null", "value"):
            at = dice.randrange(len(value))
            new = None if what == "null" else _changed(value[at], dice)
            return [*value[:at], new, *value[at + 1 :]]
        return {"empty": [], "shorter": value[:-1], "longer": [*value, value[-1]]}[what]
    return dice.choice([None, "x", 1, [], b""])


def _changed_blob(value: bytes, dice: Dice) -> bytes:
    if len(value) < 100 or dice.random() < 0.4:
        data = bytearray(value or b"x")
        data[dice.randrange(len(data))] ^= 255
        return bytes(dice.choice([data, data[:-1], data * 2, b""]))
    arrays = unpack(value)
    name = dice.choice([*arrays])
    array = arrays[name]
    what = dice.choice(["gone", "renamed", "type", "shape", "shorter", "nan", "scalar"])
    if what == "gone":
        del arrays[name]
    elif what == "renamed":
        arrays[f"{name}x"] = arrays.pop(name)
    else:
        arrays[name] = {
            "type": array.astype("U5"),
            "shape": array[None],
            "shorter": array[:-1],
            "nan": np.full(array.shape, np.nan),
            "scalar": np.array(5),
        }[what]
    return pack(arrays)


def _spoil_tensors(path: Path, dice: Dice) -> str:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if dice.random() < 0.5:
        state = header.get("__metadata__", {}).get("state")
        if state and dice.random() < 0.7:  # what a training state says of itself is text within text
            header["__metadata__"]["state"], done = _spoil_json_in(state, dice)
        else:
            header, done = spoil_document(header, dice)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    else:
        tensors = load(data)
        name = dice.choice([*tensors])
        done = dice.choice(["gone", "renamed", "type", "shape", "nan"])
        new = {"type": tensors[name].astype("int8"), "shape": tensors[name][None]}
        new["nan"] = np.full_like(tensors[name], 1) * np.float32(np.nan)
        array = new.get(done, tensors.pop(name))
        if done != "gone":
            tensors[f"{name}x" if done == "renamed" else name] = array
        path.write_bytes(save(tensors, header.get("__metadata__")))
    return f"{seal(path).name}: {done}"


def _spoil_hdf5(path: Path, dice: Dice) -> str:
    with h5py.File(path, "a") as file:
        places: list[str] = []
        file.visit(places.append)
        place = dice.choice(places)
        what = dice.choice(["gone", "type", "shape", "nan", "text", "link", "attribute", "group"])
        thing = file[place]
        if what == "attribute":
            holder = dice.choice([thing, file, file[place.partition("/")[0]]])
            name = dice.choice([*holder.attrs, "seed"])
            holder.attrs[name] = dice.choice(["x", -1, 1.5, [1, 2, 3], "[", float("nan")])
            place = f"{name} of {holder.name}"
        else:
            _put_another(file, place, what, dice)
    return f"{seal(path).name}: {what} at {place}"


def _put_another(file: h5py.File, place: str, what: str, dice: Dice) -> None:
    """Put something else where a group or a dataset is, or nothing."""
    shape = getattr(file[place], "shape", (3,))
    del file[place]
    if what == "type":
        file[place] = np.full(shape, "x", "S3")
    elif what == "shape":
        file[place] = np.zeros((*shape, 2))
    elif what == "nan":
        file[place] = np.full(shape, np.nan)
    elif what == "text":
        file[place] = "text"
    elif what == "link":
        file[place] = dice.choice([h5py.ExternalLink("other.hdf5", "/"), h5py.SoftLink("/nowhere")])
    elif what == "group":
        file.create_group(place)


def spoil_tree(folder: Path, dice: Dice) -> str:
    """Spoil the names in a folder: one file twice, one gone, a stranger among them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    path = dice.choice(files)
    what = dice.choice(["gone", "twice", "stranger"])
    if what == "gone":
        path.unlink()
    elif what == "twice":
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    else:
        path.with_name(f"part-{dice.choice(['x', '1' * 300])[:100]}.parquet").write_bytes(
            io.BytesIO(b"x").read()
        )
    return f"{what}: {path.name}"


_KINDS: dict[str, Callable[[Path, Dice], str]] = {
    ".yaml": _spoil_yaml,
    ".json": _spoil_json,
    ".jsonl": _spoil_lines,
    ".gz": _spoil_gz,
    ".parquet": _spoil_parquet,
    ".safetensors": _spoil_tensors,
    ".hdf5": _spoil_hdf5,
    ".sqlite": spoil_database,
}
