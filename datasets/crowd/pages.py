"""Pages as a browser gets them: a file of `static` with its language and its texts filled in."""

from __future__ import annotations

import html
import json
from functools import lru_cache
from pathlib import Path

from starlette.responses import HTMLResponse

from .texts import Texts

STATIC = Path(__file__).parent / "static"
_FRESH = {"Cache-Control": "no-store"}


def page(name: str, texts: Texts, title: str, status: int = 200, **values: str) -> HTMLResponse:
    """Fill in a page: `{{language}}`, `{{title}}`, `{{texts}}` (as JSON), and what else it has in braces."""
    # a script element ends at the first "</", whatever its type
    data = json.dumps({"language": texts.code, "page": texts.page}, ensure_ascii=False).replace(
        "<", "\\u003c"
    )
    filled = {"language": texts.code, "title": title, "needs-script": texts.say("needs-script"), **values}
    text = _read(name).replace("{{texts}}", data)
    for key, value in filled.items():
        text = text.replace("{{" + key + "}}", html.escape(value))
    return HTMLResponse(text, status, headers=_FRESH)


@lru_cache(maxsize=8)
def _read(name: str) -> str:
    return (STATIC / name).read_text("utf-8")
