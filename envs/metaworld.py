"""Meta-World's fifty tasks of a robot arm as one environment, which plays the same for the same seed.

The package's own ids draw the places of objects from a generator that no reset seeds, so their episodes
cannot be played again. Here the seed of an episode decides them. Yu et al., "Meta-World: a benchmark and
evaluation for multi-task and meta reinforcement learning" (2020).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register, registry

from ..errors import TutelageError, brief, nearest
from .drawing.rendering import draw_in_own_context, prepare

ENV_ID = "tutelage/MetaWorld-v0"
TIME_LIMIT = 500
NUMBERS = 39
"""What is seen: position and opening of the gripper, two objects, the same one step before, and the goal."""

GRIPPER = 4
"""The first of these numbers: position and opening of the gripper, which a robot knows without a camera."""

OBSERVATIONS = ("state", "pixels")

CLOSE = (0.75, 0.075, 0.7)
"""Where the camera `corner2` is for pixels: Seo et al., "Masked world models for visual control" (2022)."""


def register_metaworld() -> None:
    """Register the environment, once, where its package is installed; it is imported when a task is made."""
    if ENV_ID not in registry and importlib.util.find_spec("metaworld") is not None:
        register(id=ENV_ID, entry_point="tutelage.envs.metaworld:MetaWorldEnv", max_episode_steps=TIME_LIMIT)


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, such as `reach-v3`."""
    return tuple(scripted_policies())


class MetaWorldEnv(gymnasium.Env[Any, np.ndarray]):
    """One task. An episode ends at the task's own success, or after 500 steps.

    The action is the gripper's movement along x, y and z and how it closes, each in [-1, 1]. `observation` is
    `state`, the 39 numbers, or `pixels`: an image of `pixels` x `pixels` and the 4 numbers of the gripper.
    `camera` names a camera of the scene, for those images and for pictures of `size` x `size` pixels.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        camera: str = "corner2",
        size: int = 480,
        observation: str = "state",
        pixels: int = 64,
    ) -> None:
        prepare(lambda: True)
        if observation not in OBSERVATIONS:
            raise TutelageError(f"expected observation {' or '.join(OBSERVATIONS)}, got {brief(observation)}")
        if task not in task_names():
            raise TutelageError(
                f"expected a task of Meta-World, such as reach-v3, got {task!r}{nearest(task, task_names())}"
            )
        self.task, self.render_mode = task, render_mode
        classes = importlib.import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
        arm = classes[task](render_mode=render_mode, camera_name=camera, width=size, height=size)
        # what the package's own classes with a goal to see do; they cannot be told the camera
        arm._partially_observable, arm._set_task_called = False, True
        arm.__dict__.pop("sawyer_observation_space", None)  # computed once, without the goal
        # each reset draws the places of objects from a generator that it has just seeded
        arm._freeze_rand_vec, arm.seeded_rand_vec = False, True
        self._arm = arm
        self.observation_space = spaces.Box(-np.inf, np.inf, (NUMBERS,), np.float64)
        self._eye = _Eye(arm, camera, pixels) if observation == "pixels" else None
        if self._eye is not None:
            gripper = spaces.Box(-np.inf, np.inf, (GRIPPER,), np.float64)
            image = spaces.Box(0, 255, (pixels, pixels, 3), np.uint8)
            self.observation_space = spaces.Dict({"gripper": gripper, "image": image})
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.seen = np.zeros(NUMBERS)

    @classmethod
    def most_together(cls) -> int:
        """Return how many may exist at once: each takes 25 MB."""
        return 32

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Place the objects as the seed says."""
        super().reset(seed=seed)
        self._arm.seed(int(self.np_random.integers(2**31)))
        self.seen = np.array(self._arm.reset()[0], np.float64)
        return self._observed(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move the gripper; `info` is the package's."""
        # the package counts steps too, and must not end by itself: the time limit is Gymnasium's
        self._arm.curr_path_length = 0
        seen, reward, _, _, info = self._arm.step(np.clip(np.asarray(action, np.float32), -1, 1))
        self.seen = np.array(seen, np.float64)
        return self._observed(), float(reward), bool(info["success"]), False, info

    def render(self) -> Any:
        """Return the picture of the scene, uint8 `[size, size, 3]`; its cameras hang upside down."""
        draw_in_own_context(self._arm.mujoco_renderer)
        frame = self._arm.render()
        return None if frame is None else _upright(frame)

    def close(self) -> None:
        """Close the package's renderers."""
        if self._eye is not None:
            self._eye.close()
        self._arm.close()

    def _observed(self) -> Any:
        if self._eye is None:
            return self.seen.copy()
        return {"gripper": self.seen[:GRIPPER].copy(), "image": self._eye.image()}


class _Eye:
    """A camera for a policy, beside that for people: small pictures without shadows, nine times as fast.

    The camera `corner2` comes closer, as is usual for learning from pixels: objects of few pixels are seen.
    """

    def __init__(self, arm: Any, camera: str, pixels: int) -> None:
        if camera == "corner2":
            arm.model.cam(camera).pos[:] = CLOSE
        self._model = arm.model
        rendering = importlib.import_module("gymnasium.envs.mujoco.mujoco_rendering")
        self._renderer = rendering.MujocoRenderer(
            arm.model, arm.data, width=pixels, height=pixels, camera_name=camera
        )
        self._is_ready = False

    def image(self) -> np.ndarray:
        """Return the picture, uint8 `[pixels, pixels, 3]`."""
        if self._is_ready:
            draw_in_own_context(self._renderer)
            return _upright(self._renderer.render("rgb_array"))
        # the first picture makes the context, whose quality stays that of this moment
        quality = self._model.vis.quality
        usual = quality.shadowsize, quality.offsamples
        quality.shadowsize, quality.offsamples = 0, 0
        try:
            return _upright(self._renderer.render("rgb_array"))
        finally:
            quality.shadowsize, quality.offsamples = usual
            self._is_ready = True

    def close(self) -> None:
        self._renderer.close()


def _upright(frame: Any) -> np.ndarray:
    """Turn a picture `[H, W, 3]` of a camera that hangs upside down."""
    return np.ascontiguousarray(np.asarray(frame)[::-1, ::-1])


def scripted_policies() -> dict[str, Any]:
    """Return the package's scripted policy of each task, name → class."""
    policies: dict[str, Any] = importlib.import_module("metaworld.policies").ENV_POLICY_MAP
    return policies
