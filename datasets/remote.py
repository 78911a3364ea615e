"""A folder elsewhere, by any fsspec URL: `s3://bucket/folder` with all versions of what lies in it."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import IO, Any

from ..errors import TutelageError


class RemoteFolder:
    """One folder at a URL; what goes wrong there raises whatever that file system raises.

    A bucket may keep what was overwritten or deleted: on S3 such versions are listed, opened and removed
    like the rest. Other stores' versions are not seen.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.url = url
        try:
            # a listing that is kept would hide what another thread, or another machine, puts there afterwards
            self._files, self._folder = fsspec.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise TutelageError(
                f"expected what {url.partition('://')[0]}:// needs, got: {error}; pip install 'tutelage[s3]'"
            ) from None
        except ValueError as error:
            raise TutelageError(f"expected a URL like s3://bucket/folder, got {url!r}: {error}") from None
        self._is_s3 = "s3" in (
            protocols if isinstance(protocols := self._files.protocol, tuple) else (protocols,)
        )

    def sizes(self) -> dict[str, int]:
        """Return the files there, by name: their sizes."""
        try:
            found = self._files.ls(self._folder, detail=True)
        except FileNotFoundError:
            return {}
        return {Path(one["name"]).name: int(one["size"]) for one in found if one["type"] == "file"}

    def versions(self) -> list[tuple[str, str]]:
        """List (name, version) of all that is kept there, deleted or not; version "" where none are."""
        if not self._is_s3:
            return [(name, "") for name in sorted(self.sizes())]
        bucket, folder, _ = self._files.split_path(self._folder)
        prefix = f"{folder}/" if folder else ""
        found: list[tuple[str, str]] = []
        marks: dict[str, Any] = {}
        while True:
            page = self._files.call_s3(
                "list_object_versions", Bucket=bucket, Prefix=prefix, Delimiter="/", **marks
            )
            found += [(Path(one["Key"]).name, one["VersionId"]) for one in page.get("Versions", ())]
            if not page.get("IsTruncated"):
                return sorted(found)
            marks = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def copy(self, file: Path) -> None:
        """Copy a file there and read it back; raises OSError unless every byte has arrived."""
        if not self._is_s3:  # which has no folders, and would get a bucket for every slip of the pen
            self._files.makedirs(self._folder, exist_ok=True)
        self._files.put_file(str(file), self._at(file.name))
        with file.open("rb") as here, self.open(file.name) as there:
            if _hash(here) != _hash(there):
                raise OSError(f"{file.name} did not arrive whole at {self.url}")

    def write(self, name: str, data: bytes) -> None:
        """Write a file there and read it back, as `copy` does."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            self.copy(file)

    def open(self, name: str, version: str = "") -> IO[bytes]:
        """Open a file to be read, in its present or another version."""
        if version in ("", "null"):
            return self._files.open(self._at(name), "rb")
        aware = type(self._files)(**{**self._files.storage_options, "version_aware": True})
        return aware.open(self._at(name), "rb", version_id=version)

    def remove(self, name: str) -> None:
        """Remove a file in every version."""
        if self._is_s3:
            bucket, key, _ = self._files.split_path(self._at(name))
            for version in [version for at, version in self.versions() if at == name]:
                self._files.call_s3("delete_object", Bucket=bucket, Key=key, VersionId=version)
        elif self._files.exists(self._at(name)):
            self._files.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._folder.rstrip('/')}/{name}"


def _hash(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
