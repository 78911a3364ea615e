"""The success rule of a task: one comparison-and-logic expression over how an episode ended."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .errors import TutelageError, nearest

NAMES = ("reward", "return", "terminated", "truncated", "steps")
UNKNOWN = "unknown"
"""What stands instead of a rule where nothing says what a success is."""

_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class SuccessRule:
    """A rule such as `reward > 0`, `return >= 475` or `terminated and steps < 100`, or `unknown`.

    `reward` is the last reward, `return` the sum of all, `steps` the number of actions.
    Raises TutelageError when the text is not such a rule. Nothing is ever evaluated as Python.
    """

    text: str = "reward > 0"

    def __post_init__(self) -> None:
        if not self.is_known:
            return
        self._check(self._tree)
        try:
            self(reward=0.0, total=0.0, terminated=False, truncated=False, steps=1)
        except RecursionError:
            raise TutelageError(self._complaint("it nests too deeply")) from None

    @property
    def is_known(self) -> bool:
        """Whether there is a rule; without one, whether an episode succeeded is None."""
        return self.text.strip() != UNKNOWN

    def outcome(self, success: bool | None) -> bool | None:
        """Return how an episode counts that may have been given up before its end: None without a rule."""
        return bool(success) if self.is_known else None

    def __call__(
        self, *, reward: float, total: float, terminated: bool, truncated: bool, steps: int
    ) -> bool | None:
        if not self.is_known:
            return None
        values = {
            "reward": reward,
            "return_": total,
            "terminated": terminated,
            "truncated": truncated,
            "steps": steps,
        }
        return bool(_value(self._tree, values))

    @cached_property
    def _tree(self) -> ast.expr:
        if "return_" in self.text:  # what `return`, a keyword of Python, is called while it is parsed
            raise TutelageError(self._complaint("unknown name 'return_'; did you mean 'return'?"))
        try:
            return ast.parse(re.sub(r"\breturn\b", "return_", self.text), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # null bytes, deep nesting
            raise TutelageError(self._complaint("it does not parse")) from None

    def _check(self, node: ast.AST) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in (*NAMES, "return_"):
                raise TutelageError(self._complaint(f"unknown name {part.id!r}{nearest(part.id, NAMES)}"))
            known = ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Name | ast.Constant
            grammar = ast.And | ast.Or | ast.Not | ast.USub | ast.Load | ast.cmpop
            if not isinstance(part, known | grammar) or type(part) in (ast.In, ast.NotIn, ast.Is, ast.IsNot):
                raise TutelageError(self._complaint(f"{type(part).__name__} is not allowed"))
            if isinstance(part, ast.Constant) and not isinstance(part.value, int | float):
                raise TutelageError(self._complaint(f"{part.value!r} is not a number"))

    def _complaint(self, what: str) -> str:
        return (
            f"expected a success rule like 'reward > 0' or 'return >= 475' over {', '.join(NAMES)}, "
            f"got {self.text!r}: {what}"
        )


def _value(node: ast.expr, values: dict[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.UnaryOp():
            operand = _value(node.operand, values)
            return -operand if isinstance(node.op, ast.USub) else not operand
        case ast.BoolOp():
            results = (bool(_value(part, values)) for part in node.values)
            return all(results) if isinstance(node.op, ast.And) else any(results)
        case ast.Compare():
            terms = [_value(part, values) for part in (node.left, *node.comparators)]
            return all(_COMPARE[type(op)](a, b) for op, a, b in zip(node.ops, terms, terms[1:], strict=False))
    raise AssertionError(f"unchecked node {node!r}")
