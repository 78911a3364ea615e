"""Pictures of LeRobot datasets: image files in columns, and frames of video files, scaled down."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ....errors import TutelageError
from ....files.bounded_files import open_regular

_MOST_PIXELS = 1 << 25
_FORMATS = ["PNG", "JPEG"]


def scaled_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return height and width of a picture scaled down to at most `longest` pixels a side."""
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def decode_images(values: Sequence[Any], folder: Path, size: tuple[int, int]) -> np.ndarray:
    """Decode image files, mappings with `bytes`: uint8 `[n, height, width, 3]`; raises TutelageError."""
    return np.stack([_decode(value, folder, size) for value in values])


def _decode(value: Any, folder: Path, size: tuple[int, int]) -> np.ndarray:
    data = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(data, bytes):
        raise TutelageError(f"expected pictures in the columns of {folder}, got none, or only names of files")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise TutelageError(f"expected at most {_MOST_PIXELS:,} pixels in a picture, got more")
            if image.mode.startswith(("I", "F")):
                raise TutelageError(
                    f"expected pictures of 8 bits a color in {folder}, got {image.mode}; convert them first, "
                    "such as depth divided by its largest value"
                )
            return _scaled(image, size)
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise TutelageError(f"expected pictures (PNG, JPEG) in {folder}, got others: {error}") from None


def _scaled(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    picture = image.convert("RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture)


class VideoReader:
    """Reads frames of one video file by their times, fastest in rising order."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        import av  # of the extra `video`; the command line says how to install it

        self._path, self._tolerance, self._size = path, 0.5 / fps, size
        self._errors = (av.FFmpegError, ValueError, OSError, IndexError, AttributeError, StopIteration)
        self._file: Any = None
        self._container: Any = None
        self._open()

    def read(self, times: np.ndarray) -> np.ndarray:
        """Return the frames shown at some times in seconds, uint8 `[n, height, width, 3]`."""
        return np.stack([self._at(float(time)) for time in times])

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()
        self._container = self._file = None

    def _open(self) -> None:
        """Open the file at its first frame."""
        import av

        self.close()
        try:
            self._file = open_regular(self._path)
        except FileNotFoundError:
            raise TutelageError(
                f"expected a video at {self._path}, found none; copy the dataset again"
            ) from None
        try:
            self._container = av.open(self._file, "r")
            stream = self._container.streams.video[0]
            if stream.width * stream.height > _MOST_PIXELS:
                raise TutelageError(f"expected at most {_MOST_PIXELS:,} pixels a frame, got more")
            stream.thread_type = "AUTO"
            self._frames: Iterator[Any] = self._container.decode(stream)
            self._frame = next(self._frames)
        except TutelageError as error:
            self.close()
            raise TutelageError(f"{self._path}: {error}") from None
        except self._errors as error:
            self.close()
            raise self._damaged(error) from None

    def _at(self, time: float) -> np.ndarray:
        if self._shown > time + self._tolerance:
            self._open()
        try:
            while self._shown < time - self._tolerance:
                self._frame = next(self._frames)
            if self._shown <= time + self._tolerance:
                return _scaled(self._frame.to_image(), self._size)
        except StopIteration:
            pass
        except self._errors as error:
            raise self._damaged(error) from None
        raise TutelageError(f"expected a frame at {time:.6g} s in {self._path}, got none")

    @property
    def _shown(self) -> float:
        """The time of the present frame in seconds."""
        return float(self._frame.time or 0.0)

    def _damaged(self, error: Exception) -> TutelageError:
        text = " ".join(str(error).split()) or type(error).__name__
        return TutelageError(f"expected a video at {self._path}, got: {text}")
