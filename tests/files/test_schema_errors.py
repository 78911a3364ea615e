"""Errors of pydantic in our form, wherever a key stands."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from tutelage.errors import TutelageError
from tutelage.files.schema_errors import explain, fields_of, with_short_errors


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


@with_short_errors
@dataclass(config=ConfigDict(strict=True, extra="forbid"))
class Settings:
    size: int = Field(default=2, ge=1, description="Layers.")
    mode: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("values", "settings", "sentence"),
    [
        ((), {"size": 0}, "at 'size': input should be greater than or equal to 1, got 0"),
        ((0,), {}, "at 'size': input should be greater than or equal to 1, got 0"),
        ((3, "c"), {}, "at 'mode': input should be 'a' or 'b', got 'c'"),
        ((3, "a", 7), {}, "at '2': unexpected positional argument, got 7"),
        ((), {"sise": 3}, "unknown key 'sise'; allowed: size, mode; did you mean 'size'?"),
        ((), {"self": 3}, "unknown key 'self'; allowed: size, mode"),
    ],
)
def test_a_dataclass_is_made_or_refused_in_one_line(
    values: tuple[Any, ...], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TutelageError) as error:
        Settings(*values, **settings)
    assert str(error.value) == sentence


def test_fields_of_a_dataclass_and_of_a_model() -> None:
    assert (fields_of(Settings)["size"].default, fields_of(Settings)["size"].description) == (2, "Layers.")
    assert list(fields_of(Whole)) == ["parts", "by name"]
    assert fields_of(int) == {}
