"""A remote folder at any fsspec URL, such as `s3://bucket/folder`, including old versions of its files."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import IO, Any

from ..errors import TutelageError


class RemoteFolder:
    """One folder at a URL; errors are those of its file system.

    An S3 bucket may keep overwritten and deleted versions: these are listed, opened and removed too. Versions
    of other file systems are not supported.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.url = url
        try:
            # a cached listing would hide files that another thread or machine adds later
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
        """Return name → size in bytes of the files in the folder."""
        try:
            entries = self._files.ls(self._folder, detail=True)
        except FileNotFoundError:
            return {}
        return {Path(entry["name"]).name: int(entry["size"]) for entry in entries if entry["type"] == "file"}

    def versions(self) -> list[tuple[str, str]]:
        """List (name, version) of all files, including deleted ones; version is "" without versioning."""
        if not self._is_s3:
            return [(name, "") for name in sorted(self.sizes())]
        bucket, folder, _ = self._files.split_path(self._folder)
        prefix = f"{folder}/" if folder else ""
        versions: list[tuple[str, str]] = []
        marks: dict[str, Any] = {}
        while True:
            page = self._files.call_s3(
                "list_object_versions", Bucket=bucket, Prefix=prefix, Delimiter="/", **marks
            )
            versions += [(Path(entry["Key"]).name, entry["VersionId"]) for entry in page.get("Versions", ())]
            if not page.get("IsTruncated"):
                return sorted(versions)
            marks = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def copy(self, file: Path) -> None:
        """Upload a file and read it back; raises OSError unless the bytes are equal."""
        if not self._is_s3:  # S3 has no folders, and would create a bucket for a mistyped name
            self._files.makedirs(self._folder, exist_ok=True)
        self._files.put_file(str(file), self._remote_path(file.name))
        with file.open("rb") as local, self.open(file.name) as remote:
            if _hash(local) != _hash(remote):
                raise OSError(f"{file.name} did not arrive whole at {self.url}")

    def write(self, name: str, data: bytes) -> None:
        """Upload bytes as a file and read it back, as `copy` does."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            self.copy(file)

    def open(self, name: str, version: str = "") -> IO[bytes]:
        """Open a file for reading, in its current or another version."""
        if version in ("", "null"):
            return self._files.open(self._remote_path(name), "rb")
        aware = type(self._files)(**{**self._files.storage_options, "version_aware": True})
        return aware.open(self._remote_path(name), "rb", version_id=version)

    def remove(self, name: str) -> None:
        """Remove a file in every version."""
        if self._is_s3:
            bucket, key, _ = self._files.split_path(self._remote_path(name))
            for version in [version for versioned_name, version in self.versions() if versioned_name == name]:
                self._files.call_s3("delete_object", Bucket=bucket, Key=key, VersionId=version)
        elif self._files.exists(self._remote_path(name)):
            self._files.rm_file(self._remote_path(name))

    def _remote_path(self, name: str) -> str:
        return f"{self._folder.rstrip('/')}/{name}"


def _hash(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
