"""Errors of pydantic in our form, wherever a key stands."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tutelage.files.schema_errors import explain


class Pace(BaseModel):
    model_config = ConfigDict(extra="forbid")
    fps: float = Field(gt=0)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    pace: str | Pace = "turn"
    size: int | None = None


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: list[Part] = []
    by_name: dict[str, Part] = Field(default={}, alias="by name")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"part": []}, "unknown key 'part'; allowed: parts, by name; did you mean 'parts'?"),
        ({"str": 1}, "unknown key 'str'; allowed: parts, by name"),
        ({"parts": [{}]}, "missing key 'parts.0.name'; add it"),
        ({"parts": [{"name": "a", "str": 1}]}, "unknown key 'parts.0.str'; allowed: name, pace, size"),
        ({"parts": [{"name": "a", "nme": 1}]}, "did you mean 'name'?"),
        ({"parts": [{"name": "a", "pace": {"fps": -1, "Pace": 2}}]}, "at 'parts.0.pace'"),
        ({"by name": {"x": {"name": "a", "sise": 1}}}, "unknown key 'by name.x.sise'"),
        ({"by name": {"x": {"name": "a", "size": "big"}}}, "at 'by name.x.size': "),
        ({"parts": 7}, ", got 7"),
    ],
)
def test_place_and_keys(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(document)
    assert sentence in explain(error.value.errors()[0], Whole)


def test_a_union_s_branch_is_no_part_of_the_place() -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate({"parts": [{"name": "a", "pace": {"fps": 1, "str": 2}}]})
    sentences = [explain(detail, Whole) for detail in error.value.errors()]
    assert any(sentence.startswith("unknown key 'parts.0.pace.str'; allowed: fps") for sentence in sentences)
