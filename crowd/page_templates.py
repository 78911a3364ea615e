"""HTML pages: a Jinja2 template of `templates` with its language and texts filled in."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from ..files.html_templates import template_environment
from .translations import ENGLISH, Translations, best_language, language_names, load_texts

STATIC = Path(__file__).parent / "static"
_FRESH = {"Cache-Control": "no-store"}
_ENVIRONMENT = template_environment(Path(__file__).parent / "templates")


def page(name: str, texts: Translations, title: str, status: int = 200, **values: str) -> HTMLResponse:
    """Render a page with its `language`, `title` and `texts` (as JSON), and its other placeholders."""
    return _rendered(
        name,
        status,
        language=texts.code,
        title=title,
        # a script element ends at the first "</", whatever its type
        texts=Markup(texts.page_json.replace("<", "\\u003c")),
        needs_script=texts.say("needs-script"),
        **values,
    )


def english_page(name: str) -> HTMLResponse:
    """Render a page for researchers, which exists in English only."""
    return _rendered(name, 200)


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


def _rendered(name: str, status: int, **values: object) -> HTMLResponse:
    text = _ENVIRONMENT.get_template(name).render(values)
    return HTMLResponse(text, status, headers=_FRESH)
