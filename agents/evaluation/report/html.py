"""HTML of the report: Jinja2 templates of `templates`, which escape all text."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ....console.printable import printable
from ....files.finite_json import MISSING, json_text
from ....files.html_templates import template_environment
from ..comparison import MANY
from .svg_style import MARKERS


def _finalize(value: object) -> object:
    """Escape control characters in whatever a template shows; HTML of other templates stays."""
    return value if hasattr(value, "__html__") else printable(value, lines=True)


_ENVIRONMENT = template_environment(Path(__file__).parent / "templates", finalize=_finalize)
_ENVIRONMENT.globals.update(many=MANY, markers=MARKERS, missing=MISSING)
_ENVIRONMENT.policies["json.dumps_function"] = json_text
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"is_compact": True}


def render_template(template: str, **values: object) -> Markup:
    """Render a template; every value is text, unless it is Markup."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))
