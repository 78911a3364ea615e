"""The documentation as a site: it builds without a warning, and its pages ask nothing of other servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from tutelage.tests.support.sources import FOLDERS, ROOT

pytestmark = pytest.mark.skipif(
    any(find_spec(module) is None for module in ("mkdocs", "material", "mkdocstrings")),
    reason="mkdocs-material and mkdocstrings are not installed: pip install -c constraints.txt -e '.[docs]'",
)

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Tags that make a browser load something, and the attribute that says what; `a` does not."""


class LoadedAddresses(HTMLParser):
    """Collect what a browser loads when it opens a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in LOADING and (address := attributes.get(LOADING[tag])):
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, warnings as errors; the package is read from links in a folder that is called tutelage.

    Never with `--quiet`: it silences warnings before `--strict` counts them.
    """
    folder = tmp_path_factory.mktemp("site")
    package = folder / "source" / "tutelage"
    package.mkdir(parents=True)
    for path in (*ROOT.glob("*.py"), *(ROOT / name for name in FOLDERS)):
        (package / path.name).symlink_to(path)
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder / "built"],
        cwd=ROOT,
        env=os.environ | {"TUTELAGE_SOURCE": str(folder / "source"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout[-3000:] + build.stderr[-3000:]
    return folder / "built"


@pytest.mark.slow
def test_every_page_is_built(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert pages
    assert not [page for page in pages if not (site / page).with_suffix(".html").is_file()]


def test_no_script_of_the_checkout_is_published(site: Path) -> None:
    assert not list(site.rglob("*.py"))


def test_a_page_loads_nothing_from_another_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        outside = [address for address in LoadedAddresses(page).addresses if re.match(r"(\w+:)?//", address)]
        assert not outside, f"{page.relative_to(site)} loads {outside}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(\w+:)?//", style.read_text("utf-8")), style


def test_the_reference_shows_signatures_and_docstrings(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    assert 'id="tutelage.api.evaluation.evaluate"' in page
    assert "doc-signature" in page
