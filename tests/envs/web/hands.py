"""Hands that do a task of MiniWoB++ as people do, key by key, and the recorder that the crowd's pages had."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import read_columns
from tutelage.envs.web.page_sources import miniwob_folder

_KEEP = """
recorder.endRecording = () => {
  recorder.isRecording = false;
  core.cover_div.classList.remove("transparent");
  const rewards = { reward: WOB_REWARD_GLOBAL, rawReward: WOB_RAW_REWARD_GLOBAL };
  window.recorded = JSON.stringify({ ...recorder.data, ...rewards });
};
"""


class Page:
    """What is seen now, and ways to find things in it."""

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self.look(seen)

    def look(self, seen: Mapping[str, Any]) -> None:
        """See what there is now."""
        self.instruction: str = seen["instruction"]
        self.columns = read_columns(seen["elements"])

    def quoted(self) -> list[str]:
        """Return what stands in quotation marks in the instruction."""
        return re.findall(r'"([^"]*)"', self.instruction)

    def all(self, tag: str) -> list[int]:
        """Return the places of all elements of a tag."""
        return [at for at, one in enumerate(self.columns["tag"]) if one == tag]

    def reads(self, text: str) -> int:
        """Return the place of the element that reads so."""
        return self.columns["text"].index(text)


FORMS = frozenset(
    (
        *("click-checkboxes", "click-option", "enter-text", "enter-password", "login-user"),
        *("enter-date", "enter-time", "use-spinner"),
    )
)
"""Tasks that end when a button is pressed, whatever was done before."""

Hand = Callable[[Page], Iterator[WebAction]]


def keys(*names: str) -> Iterator[WebAction]:
    """Press keys one after another; a text is pressed letter by letter."""
    for name in names:
        yield WebAction("key", key=name)


def typed(field: int, text: str) -> Iterator[WebAction]:
    """Click a field and type into it, with a slip of the finger that is put right."""
    yield WebAction("click", field)
    yield from keys(*text[:2], "x", "Backspace", *text[2:])


def type_texts(page: Page) -> Iterator[WebAction]:
    """Type what is in quotation marks into the fields in turn; go from one to the next by Tab."""
    fields = page.all("INPUT_text") + page.all("INPUT_password")
    texts = page.quoted() * (2 if len(page.quoted()) < len(fields) else 1)
    yield from typed(fields[0], texts[0])
    for text in texts[1:]:
        yield from keys("Tab", *text)
    yield from press_button(page)


def press_button(page: Page) -> Iterator[WebAction]:
    """Click the last button there is."""
    yield WebAction("click", page.all("BUTTON")[-1], 0.3, 0.6)


def press_it_twice(page: Page) -> Iterator[WebAction]:
    """Click beside everything first, then what the instruction names in quotation marks."""
    yield WebAction("click", page.columns["id"].index("area"), 0.99, 0.99)
    yield WebAction("click", page.reads(page.quoted()[0]))


def tick(page: Page) -> Iterator[WebAction]:
    """Tick the boxes of the words asked for, by their labels and by the boxes themselves."""
    words = page.instruction.removeprefix("Select ").removesuffix(" and click Submit.").split(", ")
    for at, word in enumerate(one for one in words if one != "nothing"):
        line = page.reads(word)
        label = page.columns["parent"][line]
        inside = [
            one for one in page.all("INPUT_checkbox") + page.all("INPUT_radio") if one in _below(page, label)
        ]
        yield WebAction("click", inside[0]) if at % 2 else WebAction("click", label, 0.9)
    yield from press_button(page)


def _below(page: Page, place: int) -> list[int]:
    return [at for at, parent in enumerate(page.columns["parent"]) if parent == place]


def pick_date(page: Page) -> Iterator[WebAction]:
    """Type a date's parts into the field's own boxes."""
    yield WebAction("click", page.all("INPUT_date")[0], 0.15)
    yield from keys(*"".join(re.findall(r"\d", page.instruction)))
    yield from press_button(page)


def pick_time(page: Page) -> Iterator[WebAction]:
    """Type a time's parts into the field's own boxes."""
    match = re.search(r"(\d+):(\d+) ?([AP])?", page.instruction)
    assert match is not None
    hour, minute, half = int(match[1]), match[2], match[3] or ""
    if not half:
        hour, half = (hour - 1) % 12 + 1, "P" if hour >= 12 else "A"
    yield WebAction("click", page.all("INPUT_time")[0], 0.1)
    yield from keys(*f"{hour:02}{minute}{half}")
    yield from press_button(page)


def turn(page: Page) -> Iterator[WebAction]:
    """Press a spinner's arrow as often as it takes."""
    number = int(re.findall(r"-?\d+", page.instruction)[0])
    arrow = page.all("A")[0 if number > 0 else 1]
    for _ in range(abs(number)):
        yield WebAction("click", arrow)
    yield from press_button(page)


def one_after_another(page: Page) -> Iterator[WebAction]:
    """Click button ONE, then button TWO."""
    yield WebAction("click", page.reads("ONE"))
    yield WebAction("click", page.reads("TWO"))


def focus(page: Page) -> Iterator[WebAction]:
    """Click into a field."""
    ordinal = re.search(r"(\d)(?:st|nd|rd|th)", page.instruction)
    yield WebAction("click", page.all("INPUT_text")[int(ordinal[1]) - 1 if ordinal else 0])


def point(page: Page) -> Iterator[WebAction]:
    """Click a point of a grid."""
    match = re.search(r"\((-?\d,-?\d)\)", page.instruction)
    assert match is not None
    yield WebAction("click", page.columns["id"].index(match[0]))


def choose(page: Page) -> Iterator[WebAction]:
    """Point at item after item of a menu, which no recorder hears of, and click the last."""
    for name in page.instruction.removeprefix("Select ").split(">")[:-1]:
        yield WebAction("hover", page.reads(name))
    yield WebAction("click", page.reads(page.instruction.removeprefix("Select ").split(">")[-1]))


HANDS: dict[str, Hand] = {
    "click-test": press_button,
    "click-button": press_it_twice,
    "click-button-sequence": one_after_another,
    "click-link": press_it_twice,
    "click-checkboxes": tick,
    "click-menu": choose,
    "click-option": tick,
    "enter-text": type_texts,
    "enter-password": type_texts,
    "login-user": type_texts,
    "enter-date": pick_date,
    "enter-time": pick_time,
    "focus-text": focus,
    "focus-text-2": focus,
    "use-spinner": turn,
    "grid-coordinate": point,
}


def careless(hand: Hand) -> Hand:
    """Give a hand that does only the last thing: it presses the button of an empty form."""

    def run(page: Page) -> Iterator[WebAction]:
        yield list(hand(page))[-1]

    return run


def record(env: WebEnv, seed: int, hand: Hand, folder: Path) -> tuple[Path, float]:
    """Let a hand do an episode while the crowd's recorder listens; returns its file and the reward."""
    seen, _ = env.reset(seed=seed)
    if evaluate(env, "typeof recorder === 'undefined'"):  # else it began with the episode
        script = (miniwob_folder() or Path()) / "core" / "record.js"
        evaluate(env, script.read_text("utf-8") + _KEEP + "recorder.setup(); recorder.startRecording();")
    page = Page(seen)
    for action in hand(page):  # which looks at the page again before each action
        seen, reward, over, _, _ = env.step(action)
        page.look(seen)
    assert over, f"{env.page.name} goes on after what was done on seed {seed}"
    env.step(WebAction("wait", amount=1000))  # the recorder waits for the last event half a second
    file = folder / "here" / env.page.name / f"{env.page.name}_{seed:030}_d1.json.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(evaluate(env, "window.recorded").encode()))
    return file, reward


def evaluate(env: WebEnv, script: str) -> Any:
    """Run a script in the page."""

    def conversation() -> Iterator[Any]:
        call = env.episode.tab.call("Runtime.evaluate", {"expression": script, "returnByValue": True})
        (answer,) = yield [call]
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    return env.browser.talk_alone(conversation())  # type: ignore[arg-type]
