"""Write and read Minari's storage: functions that `Hdf5Process` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space

from ....console.wording import counted
from ....errors import TutelageError
from ..export_marker import ExportMarker
from ..facts import join_actions, unnest
from ..reading_back import ReadEpisode, first_change
from .limits import check_infos, read_along


def create(
    folder: Path, observations: Space[Any], actions: Space[Any], spec: Any, about: Mapping[str, Any]
) -> None:
    """Create an empty dataset in `folder`, with the metadata `about`."""
    storage = _storage_class().new(
        folder,
        observation_space=observations,
        action_space=actions,
        env_spec=spec,
        jpeg_encoding=False,  # Minari's own default loses image data
    )
    storage.update_metadata(dict(about))


def add_episodes(
    folder: Path, episodes: Sequence[Mapping[str, Any]], metadata: Sequence[Mapping[str, Any]]
) -> None:
    """Append episodes, given as the arguments of Minari's `EpisodeBuffer`, and their metadata."""
    from minari.data_collector import EpisodeBuffer

    storage = _storage_class().read(folder)
    first = storage.total_episodes
    storage.update_episodes([EpisodeBuffer(**episode) for episode in episodes])
    storage.update_episode_metadata([dict(facts) for facts in metadata], range(first, first + len(episodes)))


def find_change(folder: Path) -> str:
    """Describe the first changed episode of an export, as `first_change` does; `folder` is its `data`."""
    import minari

    try:
        marker = ExportMarker.read(folder.parent, "minari")
    except TutelageError:
        return ""
    return first_change(written_episodes(minari.MinariDataset(folder), marker))


def written_episodes(dataset: Any, marker: ExportMarker) -> Iterator[ReadEpisode]:
    """Read the episodes of an export unchanged."""
    order = dataset.storage.metadata["tutelage"]["leaves"]
    if len(dataset.episode_indices) != marker.episodes:
        raise TutelageError(
            f"expected {counted(marker.episodes, 'episode')} in {dataset.id}, got "
            f"{len(dataset.episode_indices)}"
        )
    where = f"Minari dataset {dataset.id}"
    described = read_along(iter(dataset.storage.get_episode_metadata(dataset.episode_indices)), where)
    for episode, metadata in zip(read_along(dataset.iterate_episodes(), where), described, strict=True):
        check_infos(episode.infos, where)
        flat = unnest(dataset.observation_space, episode.observations, is_escaped=True)
        facts = {key: value.item() if hasattr(value, "item") else value for key, value in metadata.items()}
        steps = {name: episode.infos[name][1:] for name in ("times_ms", "controllers", "frames")}
        actions = join_actions(unnest(dataset.action_space, episode.actions, is_escaped=True))
        steps["actions"] = episode.infos["action_rows"][1:] if "action_rows" in episode.infos else actions
        steps["rewards"] = np.asarray(episode.rewards)
        if odd := [path for path in order if path not in flat]:
            raise TutelageError(f"{where}: expected leaf {odd[0]!r} in the observations, got none")
        yield ReadEpisode(facts, steps, {path: flat[path] for path in order})


def _storage_class() -> Any:
    from minari.dataset.minari_storage import MinariStorage

    return MinariStorage
