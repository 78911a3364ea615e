"""JSON of requests, with a size limit, and of answers, where non-finite numbers are null."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from ...console.wording import counted
from ...files.finite_json import json_text


class JSONAnswer(JSONResponse):
    """A response with a JSON body, encoded as all JSON of this package."""

    def render(self, content: Any) -> bytes:
        """Return the body in UTF-8."""
        return json_text(content, is_compact=True, is_ascii=False).encode()


async def read_object(request: Request, most: int) -> dict[str, Any]:
    """Read a body of at most `most` bytes as a JSON object; raises HTTPException 413 or 400 otherwise."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"expected a body of at most {counted(most, 'byte')}, got more")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise HTTPException(400, "expected a JSON object, got something else")
    return document
