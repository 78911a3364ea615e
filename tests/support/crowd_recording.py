"""A recording written by hand, as the crowd's browsers wrote theirs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

BODY, FIELD, BUTTON, BOX, LABEL, LIST, PANEL = 11, 12, 13, 14, 15, 16, 17
ASSIGNMENT = "3X0H8UUIT1OHMZ6WDPSKLVNCA2GWS9"


class Hand:
    """Writes a recording as the crowd's browsers did: each event twice, with the page that it found."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {FIELD: "", BOX: False}
        self.kinds = {FIELD: "INPUT_text", LIST: "SELECT"}
        self.focus, self.top, self.root = BODY, 0.0, BODY
        self.states: list[dict[str, Any]] = []
        self.event(None)

    def event(self, target: int | None, **action: Any) -> Hand:
        for timing in (0,) if not action else (1,) if action["type"] == "scroll" else (1, 3):
            done = {**action, "timing": timing} if action else None
            self.states.append({"time": 10 * len(self.states), "action": done, "dom": self._page(target)})
        return self

    def down(self, ref: int, x: int = 20, y: int = 70) -> Hand:
        return self.event(ref, type="mousedown", x=x, y=y)

    def up(self, ref: int, x: int = 20, y: int = 70) -> Hand:
        return self.event(ref, type="mouseup", x=x, y=y)

    def tell(self, ref: int, x: int = 20, y: int = 70) -> Hand:
        return self.event(ref, type="click", x=x, y=y)

    def click(self, ref: int, x: int = 20, y: int = 70) -> Hand:
        self.down(ref, x, y)
        self.focus = ref
        return self.up(ref, x, y).tell(ref, x, y)

    def press(self, code: int, char: int = 0, up: bool = True) -> Hand:
        target = self.focus
        self.event(target, type="keydown", keyCode=code, charCode=0)
        if char:
            self.event(target, type="keypress", keyCode=char, charCode=char)
            self.values[target] = f"{self.values[target]}{chr(char)}"
        if code == 8 and isinstance(self.values.get(target), str):
            self.values[target] = self.values[target][:-1]
        return self.event(self.focus, type="keyup", keyCode=code, charCode=0) if up else self

    def type(self, text: str) -> Hand:
        for letter in text:
            self.press(ord(letter.upper()), ord(letter))
        return self

    def write(self, folder: Path, task: str = "enter-text", number: int = 1, **facts: Any) -> Path:
        document = {"utterance": 'Enter "Ann" and press Submit.', "reward": 0.5, "rawReward": 1, **facts}
        file = folder / "round" / task / f"{task}_{ASSIGNMENT}_d{number}.json.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(json.dumps({**document, "states": self.states}).encode()))
        return file

    def _page(self, target: int | None) -> dict[str, Any]:
        def one(ref: int, tag: str, box: tuple[float, ...], *children: Any, **facts: Any) -> dict[str, Any]:
            left, top, width, height = box
            facts |= {"value": self.values[ref]} if ref in self.values else {}
            facts |= {"focused": True} if ref == self.focus else {}
            facts |= {"recordingTarget": True} if ref == target else {}
            colors = {"bgColor": "rgba(0, 0, 0, 0)", "fgColor": "rgb(1, 2, 3)", "id": "", "classes": ""}
            place = {"left": left, "top": top, "width": width, "height": height}
            return {"tag": tag, "ref": ref, **place, **colors, "children": list(children)} | facts

        label = one(
            LABEL,
            "LABEL",
            (5, 100, 60, 12),
            one(BOX, "INPUT_checkbox", (5, 100, 12, 12)),
            one(-len(self.states) - 1, "t", (20, 100, 30, 12), text="tick"),
        )
        panel = one(PANEL, "DIV", (0, 120 - self.top, 150, 300), text="long")
        parts = [
            one(FIELD, self.kinds[FIELD], (10, 60, 100, 20)),
            label,
            one(LIST, self.kinds[LIST], (10, 85, 90, 19)),
            panel,
            one(BUTTON, "BUTTON", (10, 180, 80, 20), text="Submit", bgColor="rgb(255, 0, 0)"),
        ]
        return one(BODY, "BODY", (0, 0, 1200, 210), *parts) | {"ref": self.root}
