"""HTML pages: a template of `static` with its language and texts filled in."""

from __future__ import annotations

import html
from functools import lru_cache
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from ..files.finite_json import json_text
from .translations import ENGLISH, Translations, best_language, language_names, load_texts

STATIC = Path(__file__).parent / "static"
_FRESH = {"Cache-Control": "no-store"}


def page(name: str, texts: Translations, title: str, status: int = 200, **values: str) -> HTMLResponse:
    """Fill in a page: `{{language}}`, `{{title}}`, `{{texts}}` (as JSON), and its other placeholders."""
    # a script element ends at the first "</", whatever its type
    texts_json = json_text({"language": texts.code, "page": texts.page}, is_ascii=False).replace(
        "<", "\\u003c"
    )
    placeholders = {
        "language": texts.code,
        "title": title,
        "needs-script": texts.say("needs-script"),
        **values,
    }
    text = _read(name).replace("{{texts}}", texts_json)
    for key, value in placeholders.items():
        text = text.replace("{{" + key + "}}", html.escape(value))
    return HTMLResponse(text, status, headers=_FRESH)


def language(request: HTTPConnection) -> str:
    """Choose the language of a page: the user's earlier choice, else the browser's."""
    choice, languages = request.cookies.get("language", ""), [ENGLISH, *language_names()]
    return (
        choice
        if choice in languages
        else best_language(request.headers.get("accept-language", ""), languages)
    )


def refusal_page(request: HTTPConnection, reason: str, status: int, **values: str) -> HTMLResponse:
    """Return the page that says why a request is refused and what to do (`door.{reason}`)."""
    texts = load_texts(language(request))
    return page(
        "refused.html",
        texts,
        texts.say("brand"),
        status,
        heading=texts.say(f"door.{reason}.title"),
        sentence=texts.say(f"door.{reason}", **values),
    )


@lru_cache(maxsize=8)
def _read(name: str) -> str:
    return (STATIC / name).read_text("utf-8")
