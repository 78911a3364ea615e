"""The success rule of a task: one expression of comparisons and logic over the steps of an episode.

Covers: how the episode ended, numbers and flags in `info`, and whether a condition held at any step.
Does not cover: arithmetic, text, and observations.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import TutelageError, brief, nearest
from ..foreign_code.objects import ObjectSpec, foreign_errors, is_object_text, parse_object, parse_text
from .info_path import InfoPath

NAMES = ("reward", "return", "terminated", "truncated", "steps", "info", "ever")
UNKNOWN = "unknown"
"""Placeholder for the rule of a task whose success is not defined."""

_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_NODES = ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Name | ast.Constant
_GRAMMAR = ast.And | ast.Or | ast.Not | ast.USub | ast.Load | ast.cmpop


@dataclass(frozen=True)
class SuccessRule:
    """A rule such as `reward > 0`, `return >= 475` or `ever(info.success)`, or `unknown`.

    `reward` is the last reward, `return` the sum of all, `steps` the number of actions; `info.a.b` is a
    number or flag in the last step's info, and `ever(rule)` whether a rule held after any step. A path that
    is absent from info counts as false, and every comparison with it is false. The text is never
    evaluated as Python. A text such as `package.module:judge`, or `{"package.module:judge": {"keyword":
    value}}`, names a function instead, called at the end of an episode, see `function`. Raises
    TutelageError if the text is not such a rule.
    """

    text: str = "reward > 0"

    def __post_init__(self) -> None:
        if not self.is_known:
            return
        if self.function is not None:
            self.paths  # noqa: B018  (raises what is wrong with them)
            return
        try:
            self._check(self.tree)
            self(reward=0.0, total=0.0, terminated=False, truncated=False, steps=1)
        except RecursionError:
            raise TutelageError(self._complaint("it nests too deeply")) from None

    @property
    def is_known(self) -> bool:
        """Whether there is a rule; without one, the success of an episode is None."""
        return self.text.strip() != UNKNOWN

    def outcome(self, success: bool | None) -> bool | None:
        """Return the success of an episode that may have been abandoned (then False); None without a rule."""
        return bool(success) if self.is_known else None

    def __call__(
        self,
        *,
        reward: float,
        total: float,
        terminated: bool,
        truncated: bool,
        steps: int,
        info: Mapping[str, Any] | None = None,
    ) -> bool | None:
        """Evaluate the rule on the last step alone: `ever(rule)` holds if the rule holds there.

        Returns None without a rule.
        """
        monitor = SuccessMonitor(self)
        monitor.total, monitor.steps = total - reward, steps - 1
        monitor.add(reward, terminated, truncated, info or {})
        return monitor.success

    @cached_property
    def function(self) -> ObjectSpec | None:
        """The function that judges instead of a rule, None for a rule.

        It is called with rewards `[T]`, terminated, truncated, infos (path → float64 `[T]`) and the keyword
        arguments, and returns whether the episode was a success; None counts as none. The argument `infos`,
        a list such as `[info.distance]`, is not handed on: it says what of info is recorded and handed in.
        """
        return parse_text(self.text, "success") if is_object_text(self.text) else None

    def _call(
        self,
        rewards: Sequence[float] | np.ndarray,
        terminated: bool,
        truncated: bool,
        infos: Mapping[str, np.ndarray],
    ) -> bool:
        """Ask the function; raises Untrusted for a module that was not trusted."""
        assert self.function is not None
        judge = self.function.load(who="success")
        kwargs = {name: value for name, value in self.function.kwargs.items() if name != "infos"}
        with foreign_errors(
            f"expected {self.function.name} to judge an episode, got ",
            "; it is called with rewards, terminated, truncated, infos",
        ):
            verdict = judge(np.array(rewards, np.float64), terminated, truncated, dict(infos), **kwargs)
        if not (verdict is None or isinstance(verdict, bool | np.bool_)):
            raise TutelageError(
                f"expected {self.function.name} to return True, False or None, got {brief(verdict)}"
            )
        return bool(verdict)

    @cached_property
    def paths(self) -> tuple[InfoPath, ...]:
        """The info paths that the rule reads, without duplicates."""
        if self.function is not None:
            return _listed_paths(self.function)
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute | ast.Subscript)]
        inner = {id(node.value) for node in nodes}  # info.a within info.a.b is not a path of its own
        return tuple(dict.fromkeys(self.path(node) for node in nodes if id(node) not in inner))

    def no_infos(self, steps: int) -> dict[str, np.ndarray]:
        """Return `Trajectory.infos` of an environment with an empty info: NaN at each of the steps."""
        return {path.text: np.full(steps, np.nan) for path in self.paths}

    def judge(
        self,
        rewards: Sequence[float] | np.ndarray,
        terminated: bool,
        truncated: bool,
        infos: Mapping[str, np.ndarray],
    ) -> bool | None:
        """Return whether a finished episode was a success.

        `rewards` holds T numbers; `infos` maps paths to float64 `[T]`, see `SuccessMonitor.infos`. Returns
        None without a rule, and if `infos` lacks a path that the rule reads.
        """
        if any(path.text not in infos for path in self.paths):
            return None
        if self.function is not None:
            return self._call(
                rewards, terminated, truncated, {path.text: infos[path.text] for path in self.paths}
            )
        monitor, last = SuccessMonitor(self), len(rewards) - 1
        first = 0 if self.evers else last  # without ever, the last step decides
        if first:
            with np.errstate(over="ignore", invalid="ignore"):
                totals = np.cumsum(rewards[:first])  # sequential, to round as the step-by-step sum does
            monitor.total, monitor.steps = float(totals[-1]), first
        for step in range(first, last + 1):
            numbers = {path: float(infos[path.text][step]) for path in self.paths}
            is_last = step == last
            monitor.add_numbers(float(rewards[step]), terminated and is_last, truncated and is_last, numbers)
        return monitor.success

    @cached_property
    def evers(self) -> tuple[ast.Call, ...]:
        """The parts `ever(...)` of the rule."""
        if self.function is not None:
            return ()
        return tuple(node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    @cached_property
    def tree(self) -> ast.expr:
        if "return_" in self.text:  # stands for `return`, a Python keyword, while parsing
            raise TutelageError(self._complaint("unknown name 'return_'; did you mean 'return'?"))
        try:
            return ast.parse(re.sub(r"\breturn\b", "return_", self.text), mode="eval").body
        except (SyntaxError, ValueError):  # null bytes are a ValueError
            raise TutelageError(self._complaint("it does not parse")) from None
        except (RecursionError, MemoryError):
            raise TutelageError(self._complaint("it nests too deeply")) from None

    def _check(self, node: ast.AST, within: str = "") -> None:
        """Raise TutelageError for syntax outside the rule language; `within` is "ever" inside an ever()."""
        if isinstance(node, ast.Attribute | ast.Subscript):
            self.path(node)
            return
        if isinstance(node, ast.Call):
            self._check_ever(node, within)
            within, parts = "ever", [*node.args]
        else:
            self._check_plain(node)
            parts = [*ast.iter_child_nodes(node)]  # type: ignore[list-item]
        for part in parts:
            self._check(part, within)

    def _check_plain(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name) and node.id in ("info", "ever"):
            form = "info.success" if node.id == "info" else "ever(reward > 0)"
            raise TutelageError(self._complaint(f"{node.id!r} by itself says nothing; write it like {form}"))
        if isinstance(node, ast.Name) and node.id not in (*NAMES, "return_"):
            raise TutelageError(self._complaint(f"unknown name {node.id!r}{nearest(node.id, NAMES)}"))
        if not isinstance(node, _NODES | _GRAMMAR) or type(node) in (ast.In, ast.NotIn, ast.Is, ast.IsNot):
            raise TutelageError(self._complaint(f"{type(node).__name__} is not allowed"))
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            raise TutelageError(self._complaint(f"{node.value!r} is not a number"))

    def _check_ever(self, node: ast.Call, within: str) -> None:
        if not isinstance(node.func, ast.Name):
            raise TutelageError(self._complaint("Call is not allowed"))
        name = node.func.id
        if name != "ever":
            hint = nearest(name, ["ever"])
            raise TutelageError(
                self._complaint(f"Call is not allowed: {name!r}{hint or '; only ever(...) is'}")
            )
        if len(node.args) != 1 or node.keywords:
            raise TutelageError(
                self._complaint(f"ever takes one rule, got {len(node.args) + len(node.keywords)}")
            )
        if within:
            raise TutelageError(self._complaint("ever inside of ever says nothing more; write one"))

    def path(self, node: ast.AST) -> InfoPath:
        """Parse `info.a['b c'].d[0]`; raises TutelageError for a root other than info, or an invalid key."""
        keys: list[str | int] = []
        while isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Attribute):
                keys.append(node.attr.replace("return_", "return"))
            elif isinstance(node.slice, ast.Constant) and type(node.slice.value) in (str, int):
                key = node.slice.value
                keys.append(key.replace("return_", "return") if isinstance(key, str) else int(key))  # type: ignore[arg-type]
            else:
                raise TutelageError(
                    self._complaint("a key in [] must be a text in quotes, or a whole number")
                )
            node = node.value
        if not isinstance(node, ast.Name) or node.id != "info":
            raise TutelageError(self._complaint("Attribute is not allowed but of info, as in info.success"))
        return InfoPath(tuple(reversed(keys)))

    def _complaint(self, problem: str) -> str:
        return (
            f"expected a success rule like 'reward > 0' or 'return >= 475' over {', '.join(NAMES)}, "
            f"got {self.text!r}: {problem}"
        )


class SuccessMonitor:
    """Evaluates a rule over one episode, step by step."""

    def __init__(self, rule: SuccessRule) -> None:
        self.rule = rule
        self.total, self.steps = 0.0, 0
        self._now: Mapping[Any, Any] = {}
        self._rewards: list[float] = []  # for a function alone
        self._held = [False] * len(rule.evers)
        self._read: dict[InfoPath, list[float]] = {path: [] for path in rule.paths}

    def copied(self) -> SuccessMonitor:
        """Return a copy, which goes on by itself."""
        copy = SuccessMonitor(self.rule)
        copy.total, copy.steps, copy._now = self.total, self.steps, self._now
        copy._rewards, copy._held = list(self._rewards), list(self._held)
        copy._read = {path: list(numbers) for path, numbers in self._read.items()}
        return copy

    @property
    def success(self) -> bool | None:
        """The value of the rule after the last step; None without a rule."""
        if self.rule.function is not None:
            ends = self._now["terminated"], self._now["truncated"]
            return self.rule.judge(self._rewards, *ends, self.infos())
        return _truth(self._value(self.rule.tree)) if self.rule.is_known else None

    def add(self, reward: float, terminated: bool, truncated: bool, info: Mapping[str, Any]) -> None:
        """Add a step; raises TutelageError if a path in info holds neither a number nor a flag."""
        numbers = {path: path.read(info) for path in self.rule.paths}
        self.add_numbers(float(reward), terminated, truncated, numbers)

    def add_numbers(
        self, reward: float, terminated: bool, truncated: bool, numbers: Mapping[InfoPath, float]
    ) -> None:
        """Add a step whose info has been read already; NaN stands for an absent path."""
        self.total += reward
        self.steps += 1
        if self.rule.function is not None:
            self._rewards.append(reward)
        for path, number in numbers.items():
            self._read[path].append(number)
        self._now = {
            "reward": reward,
            "return_": self.total,
            "terminated": terminated,
            "truncated": truncated,
            "steps": self.steps,
            **{path: None if math.isnan(number) else number for path, number in numbers.items()},
        }
        for index, node in enumerate(self.rule.evers):
            self._held[index] = self._held[index] or _truth(self._value(node.args[0]))

    def infos(self) -> dict[str, np.ndarray]:
        """Return the values read from info: path → float64 `[T]`, 1 and 0 for flags, NaN if absent."""
        return {path.text: np.array(numbers, np.float64) for path, numbers in self._read.items()}

    def _value(self, node: ast.AST) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._now[node.id]
            case ast.Attribute() | ast.Subscript():
                return self._now[self.rule.path(node)]
            case ast.Call():
                return self._held[self.rule.evers.index(node)]
            case ast.UnaryOp():
                operand = self._value(node.operand)
                if isinstance(node.op, ast.USub):
                    return None if operand is None else -operand
                return not _truth(operand)
            case ast.BoolOp():
                results = (_truth(self._value(part)) for part in node.values)
                return all(results) if isinstance(node.op, ast.And) else any(results)
            case ast.Compare():
                terms = [self._value(part) for part in (node.left, *node.comparators)]
                pairs = zip(node.ops, terms, terms[1:], strict=False)
                return None not in terms and all(_COMPARE[type(op)](a, b) for op, a, b in pairs)
        raise AssertionError(f"unchecked node {node!r}")


def rule_text(document: str | Mapping[str, Any]) -> str:
    """Return the text of a suite's `success`: a rule, or a function's name, with arguments or without."""
    return document if isinstance(document, str) else str(parse_object(document, "success"))


def _listed_paths(function: ObjectSpec) -> tuple[InfoPath, ...]:
    """Return the places in info that the argument `infos` of a function lists."""
    listed = function.kwargs.get("infos", [])
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise TutelageError(
            f"expected infos of {function.name} to list places such as info.distance, got {brief(listed)}"
        )
    paths: list[InfoPath] = []
    for text in listed:
        try:
            node = ast.parse(re.sub(r"\breturn\b", "return_", text), mode="eval").body
            paths.append(SuccessRule().path(node))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise TutelageError(
                f"expected infos of {function.name} to list places such as info.distance, got {brief(text)}"
            ) from None
    return tuple(dict.fromkeys(paths))


def _truth(value: Any) -> bool:
    """Return the truth of a value; NaN and None (absent from info) are false."""
    return value is not None and value == value and bool(value)
