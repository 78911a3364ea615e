"""Arrays of one task's training columns, in memory or as memory-mapped .npy files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TutelageError
from ...files.bounded_archives import npy_header
from ...files.bounded_files import open_regular, read_json
from ...files.finite_json import json_text
from ..proof import ReplayResult
from ..trajectory import Trajectory
from .text_files import MappedTexts, TextFiles, Texts

_LEAF = "observations/"


@dataclass(frozen=True)
class ArrayChunk:
    """n steps of one task: array name → `[n, ...]`, and the vocabulary of each array of text codes."""

    arrays: dict[str, np.ndarray]
    words: dict[str, list[str]]

    @classmethod
    def bare(cls, episodes: Sequence[Trajectory]) -> ArrayChunk:
        """Concatenate whole episodes without their observations."""
        names = ("actions", "controllers")
        return cls(
            {name: np.concatenate([getattr(episode, name) for episode in episodes]) for name in names}, {}
        )

    @classmethod
    def join(cls, replayed: Sequence[tuple[Trajectory, ReplayResult]]) -> ArrayChunk:
        """Concatenate whole episodes, each without its last observation."""
        arrays = {
            "actions": np.concatenate([episode.actions for episode, _ in replayed]),
            "controllers": np.concatenate([episode.controllers for episode, _ in replayed]),
        }
        words: dict[str, list[str]] = {}
        for path in replayed[0][1].observations:
            leaves = [result.observations[path][:-1] for _, result in replayed]
            if leaves[0].dtype.kind in "UO":
                codes: dict[str, int] = {}
                texts = [text for leaf in leaves for text in leaf.tolist()]
                arrays[_LEAF + path] = np.array([codes.setdefault(text, len(codes)) for text in texts])
                words[_LEAF + path] = [*codes]
            else:
                arrays[_LEAF + path] = np.concatenate(leaves)
        masks = [result.legal for _, result in replayed]
        if any(mask is not None for mask in masks):
            arrays["legal"] = np.concatenate([_legal_mask(result, masks) for _, result in replayed])
        return cls(arrays, words)


class ColumnArrays:
    """Arrays of `size` steps, filled chunk by chunk. Text is stored as codes into `Texts`."""

    def __init__(self, size: int, folder: Path | None = None) -> None:
        self._size = size
        self._folder = folder
        self._arrays: dict[str, np.ndarray] = {}
        self._texts: dict[str, Texts | TextFiles | MappedTexts] = {}

    def get(self, name: str) -> np.ndarray | None:
        """Return an array, or None when no chunk contained it."""
        return self._arrays.get(name)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def put(self, first: int, chunk: ArrayChunk) -> None:
        """Write a chunk's steps, beginning at step `first`."""
        for name, array in chunk.arrays.items():
            if (words := chunk.words.get(name)) is not None:
                texts = self._texts_of(name)
                array = np.array([texts.number(word) for word in words], np.int32)[array]
            if name not in self._arrays:
                self._arrays[name] = self._allocate(name, array)
            target = self._arrays[name]
            if target.shape[1:] != array.shape[1:] or target.dtype != array.dtype:
                raise TutelageError(
                    f"expected {name} to be {target.dtype} {target.shape[1:]} in every episode, "
                    f"got {array.dtype} {array.shape[1:]}; keep such episodes in stores of their own"
                )
            target[first : first + len(array)] = array

    def observations(self) -> dict[str, Any]:
        """Return leaf path → `[N, ...]`; text leaves as object arrays of shared `str`, or as `TextLeaf`."""
        leaves: dict[str, Any] = {}
        for name, array in self._arrays.items():
            texts = self._texts.get(name)
            assert not isinstance(texts, TextFiles)  # these are loaded after they are saved
            if name.startswith(_LEAF):
                leaves[name.removeprefix(_LEAF)] = array if texts is None else texts.leaf(array)
        return leaves

    def save(self) -> None:
        """Flush the files, and write the index of the names of arrays and texts."""
        assert self._folder is not None
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        for texts in self._texts.values():
            if isinstance(texts, TextFiles):
                texts.close()
        contents = {"arrays": list(self._arrays), "texts": list(self._texts)}
        (self._folder / "columns.json").write_text(json_text(contents), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ColumnArrays:
        """Open the files of `save`, memory-mapped; raises TutelageError when they cannot be read."""
        try:
            names, with_texts = _read_contents(folder / "columns.json")
            arrays = {name: _map_array(folder / f"{index}.npy") for index, name in enumerate(names)}
            texts = {name: MappedTexts(folder / str(index)) for index, name in enumerate(with_texts)}
        except (OSError, ValueError) as error:
            raise TutelageError(f"expected columns in {folder}, got {error}; remove that folder") from None
        _check_columns(arrays, texts, folder)
        loaded = cls(len(arrays["actions"]))
        loaded._arrays = arrays
        loaded._texts = dict(texts)
        return loaded

    def _texts_of(self, name: str) -> Texts | TextFiles:
        if name not in self._texts and self._folder is not None:
            self._folder.mkdir(exist_ok=True)
            self._texts[name] = TextFiles(self._folder / str(len(self._texts)))
        texts = self._texts.setdefault(name, Texts())
        assert not isinstance(texts, MappedTexts)
        return texts

    def _allocate(self, name: str, like: np.ndarray) -> np.ndarray:
        shape, dtype = (self._size, *like.shape[1:]), like.dtype
        fill = np.ones if name == "legal" else np.empty  # without a mask, every action is legal
        if self._folder is None:
            return fill(shape, dtype)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{len(self._arrays)}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if name == "legal":
            array[:] = True
        return array


def _read_contents(path: Path) -> tuple[list[str], list[str]]:
    """Read the names of the arrays, and of those that are codes of texts; raises TutelageError."""
    document = read_json(path)
    arrays, texts = (document.get(key) if isinstance(document, dict) else None for key in ("arrays", "texts"))
    for names in (arrays, texts):
        if not isinstance(names, list) or not {*map(type, names)} <= {str}:
            raise TutelageError(f"arrays and texts that {path.name} does not name")
    assert isinstance(arrays, list)
    assert isinstance(texts, list)
    return arrays, texts


def _map_array(path: Path) -> np.ndarray:
    """Map an array into memory after its header is checked to be numeric; raises TutelageError."""
    with open_regular(path) as file:
        npy_header(file, path.name)
    # plain arrays over the mapping: numpy's memmap class makes every slice slow
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _check_columns(arrays: dict[str, np.ndarray], texts: dict[str, MappedTexts], folder: Path) -> None:
    """Raise TutelageError unless every array has one row per step, and every code a text."""
    sound = {"actions", "controllers"} <= arrays.keys() and texts.keys() <= arrays.keys()
    sound = sound and all(array.ndim for array in arrays.values())
    sound = sound and len({len(array) for array in arrays.values()}) == 1
    for name, listed in texts.items() if sound else ():
        codes = arrays[name]
        sound = sound and codes.dtype.kind in "iu" and codes.ndim == 1
        sound = sound and codes.min(initial=0) >= 0 and codes.max(initial=-1) < len(listed)
    if not sound:
        raise TutelageError(
            f"expected columns in {folder} that belong together, got others; remove that folder"
        )


def _legal_mask(result: ReplayResult, masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return a replay's legal-action mask without its last row; all true where it has none."""
    if result.legal is not None:
        return result.legal[:-1]
    width = next(mask.shape[1] for mask in masks if mask is not None)
    return np.ones((len(result.rewards), width), bool)
