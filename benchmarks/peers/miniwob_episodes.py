"""The other side of benchmarks/web.py: the package `miniwob` 1.1.0's own environment, through selenium.

Run by a Python that has it; MINIWOB_CHROME_BINARY and MINIWOB_CHROMEDRIVER name what it drives. Each line of
its input is a task and a number of episodes; it plays them without screenshots, solves every one, and answers
with the seconds that they took.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import gymnasium
import miniwob
from miniwob.action import ActionTypes

gymnasium.register_envs(miniwob)
OPTIONS = {"record_screenshots": False}


def main() -> None:
    envs: dict[str, Any] = {}
    for line in sys.stdin:
        task, count = line.split()
        if task not in envs:
            envs[task] = gymnasium.make(f"miniwob/{task}-v1", disable_env_checker=True).unwrapped
            play(envs[task], task, 0)  # the first is not timed
        began = time.perf_counter()
        for seed in range(int(count)):
            play(envs[task], task, seed)
        print(time.perf_counter() - began, flush=True)
    for env in envs.values():
        env.close()


def play(env: Any, task: str, seed: int) -> None:
    seen, _ = env.reset(seed=seed, options=OPTIONS)
    terminated, info = False, {}
    for action in solution(env, task, seen["utterance"], seen["dom_elements"]):
        _, _, terminated, _, info = env.step(action)
    assert terminated, task
    assert info["raw_reward"] == 1, task


def solution(env: Any, task: str, utterance: str, elements: Any) -> list[Any]:
    if task == "click-test-2":
        return [click(env, ref(elements, text="ONE"))]
    if task == "login-user":
        name, password = re.findall(r'"(.*?)"', utterance)
        typed = [("username", name), ("password", password)]
        fields = [write(env, ref(elements, id=field), text) for field, text in typed]
        return [*fields, click(env, ref(elements, text="Login"))]
    wanted = utterance.removeprefix("Select ").removesuffix(" and click Submit.").split(", ")
    boxes = [click(env, box_beside(elements, text)) for text in wanted if text != "nothing"]
    return [*boxes, click(env, ref(elements, text="Submit"))]


def click(env: Any, number: int) -> Any:
    return act(env, ActionTypes.CLICK_ELEMENT) | {"ref": number}


def write(env: Any, number: int, text: str) -> Any:
    return act(env, ActionTypes.FOCUS_ELEMENT_AND_TYPE_TEXT) | {"ref": number, "text": text}


def act(env: Any, kind: ActionTypes) -> dict[str, Any]:
    return env.action_space.sample() | {
        "action_type": env.unwrapped.action_space_config.action_types.index(kind)
    }


def ref(elements: Any, **wanted: str) -> int:
    name, value = next(iter(wanted.items()))
    return next(one["ref"] for one in elements if one[name] == value)


def box_beside(elements: Any, text: str) -> int:
    label = next(one["parent"] for one in elements if one["tag"] == "t" and one["text"] == text)
    return next(one["ref"] for one in elements if one["parent"] == label and one["tag"] == "input_checkbox")


if __name__ == "__main__":
    main()
