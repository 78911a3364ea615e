"""Pages are templates: what strangers wrote stays text, and a forgotten placeholder is an error."""

from __future__ import annotations

import json
import re

import pytest
from jinja2 import UndefinedError
from starlette.responses import HTMLResponse
from tutelage.crowd.page_templates import english_page, page
from tutelage.crowd.translations import Translations, load_texts

MARKUP = "</title></script><script>alert('1')</script>\"&"
HOSTILE = MARKUP + "{{ texts }}{% endblock %}"


def text_of(response: HTMLResponse) -> str:
    return bytes(response.body).decode()


def texts_with(sentence: str) -> Translations:
    english = load_texts("en")
    return Translations("en", "English", {**english.page, "needs-script": sentence})


@pytest.mark.parametrize("name", ["index.html", "join.html", "refused.html"])
def test_a_hostile_text_stays_text_wherever_it_stands(name: str) -> None:
    made = page(name, texts_with(MARKUP), HOSTILE, heading=HOSTILE, sentence=HOSTILE)
    text = text_of(made)
    assert made.headers["cache-control"] == "no-store"
    assert "<script>" not in text
    assert "{{ texts }}" in text  # no template within a template
    assert text.count("</title>") == 1
    texts = re.search(r'<script type="application/json" id="texts">(.*?)</script>', text)
    assert texts is None or json.loads(texts[1])["page"]["needs-script"] == MARKUP


def test_an_undefined_placeholder_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="sentence"):
        page("refused.html", load_texts("en"), "title", heading="heading")


@pytest.mark.parametrize(("name", "title"), [("browse.html", "Store"), ("dashboard.html", "Study")])
def test_pages_for_researchers_are_whole(name: str, title: str) -> None:
    text = text_of(english_page(name))
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert f"<title>{title} · Tutelage</title>" in text
    assert '<meta name="robots" content="noindex">' in text
    assert text.endswith("</html>")
    assert "{" not in text
