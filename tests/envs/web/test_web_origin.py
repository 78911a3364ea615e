"""What is answered to a page's requests: files of its folder, and nothing else."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from tutelage.envs.web.devtools import DevToolsCall
from tutelage.envs.web.origin import CONTENT_POLICY, Origin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text("outside")
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    for name in ("a.html", "sub/b c.js", "ü.css", "no suffix"):
        (inside / name).write_text(name)
    (inside / "link.txt").symlink_to(tmp_path / "outside.txt")
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe.txt")
    return inside


def ask(origin: Origin, url: str, method: str = "GET", kind: str = "Image") -> DevToolsCall:
    return origin.answer({"requestId": "7", "request": {"url": url, "method": method}, "resourceType": kind})


def headers(call: DevToolsCall) -> dict[str, Any]:
    return {header["name"]: header["value"] for header in call.params["responseHeaders"]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("sub/b c.js", "text/javascript; charset=utf-8"),
        ("ü.css", "text/css; charset=utf-8"),
        ("no suffix", "application/octet-stream"),
    ],
)
def test_a_file_of_the_folder_is_given_with_its_kind_and_what_it_may_load(
    folder: Path, name: str, kind: str
) -> None:
    origin = Origin(folder)
    for more in ("", "?again", "#part"):
        answer = ask(origin, origin.url(folder / name) + more)
        assert answer.method == "Fetch.fulfillRequest"
        assert base64.b64decode(answer.params["body"]).decode() == name
        assert (headers(answer)["Content-Type"], headers(answer)["Cache-Control"]) == (kind, "no-cache")
        assert headers(answer)["Content-Security-Policy"] == CONTENT_POLICY


def test_a_file_that_changes_is_given_as_it_is_now(folder: Path) -> None:
    origin = Origin(folder)
    for text in ("a", "changed"):
        (folder / "a.html").write_text(text)
        assert base64.b64decode(ask(origin, origin.url(folder / "a.html")).params["body"]).decode() == text


@pytest.mark.parametrize(
    "path",
    [
        *("../outside.txt", "%2e%2e/outside.txt", "..%2foutside.txt", "sub/../../outside.txt", "link.txt"),
        *("/etc/hostname", "%2fetc%2fhostname", "//etc/hostname", "sub", "", "pipe.txt", "none.txt", "loop"),
        *("a.html%00", "%ff", "..%5coutside.txt", "a.html/../../outside.txt", "x" * 5000),
    ],
)
def test_what_is_no_file_of_the_folder_is_refused(folder: Path, path: str) -> None:
    origin = Origin(folder)
    url = f"{origin.url(folder / 'a.html').removesuffix('a.html')}{path}"
    assert ask(origin, url).method == "Fetch.failRequest"
    assert ask(origin, url, kind="Document").params == {"requestId": "7", "responseCode": 204}


def test_other_addresses_and_methods_are_refused(folder: Path, tmp_path: Path) -> None:
    origin, other = Origin(folder), Origin(tmp_path)
    page = origin.url(folder / "a.html")
    assert other.url(folder / "a.html") != page
    for url in (
        *(page.replace("http:", "https:"), page.replace("http:", "ws:"), other.url(tmp_path / "outside.txt")),
        *(page.replace("://", "://user@"), page.replace(".invalid", ".invalid:80")),
        *("http://[x", "about:blank"),
        *(f"file://{folder}/a.html", "http://127.0.0.1/a.html", "data:text/html,x", "blob:x", ""),
    ):
        assert ask(origin, url).method == "Fetch.failRequest", url
    for method in ("POST", "PUT", "HEAD", "get"):
        assert ask(origin, page, method).method == "Fetch.failRequest"
