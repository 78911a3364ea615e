"""JSON as an answer of the server: what is not finite is null."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from ...envs.finite_json import json_text


class JSONAnswer(JSONResponse):
    """A response with a JSON body, written as every other JSON of this package is."""

    def render(self, content: Any) -> bytes:
        """Return the body, UTF-8."""
        return json_text(content, is_compact=True, is_ascii=False).encode()
