"""Packages that only some verbs need: the extras of tutelage that bring them, said where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import TutelageError

EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "minigrid": "babyai",
    "Box2D": "box2d",
    "minari": "minari",
    "h5py": "minari",
    "ray": "ray",
    "httpx": "study",
    "jwt": "study",
    "prometheus_client": "study",
    "psycopg": "postgres",
    "s3fs": "s3",
    "miniwob": "web",
}
"""Module → the extra of `pyproject.toml` that installs it."""

_ENVIRONMENTS = {
    **dict.fromkeys(("BabyAI-", "MiniGrid-"), "minigrid"),
    **dict.fromkeys(("LunarLander", "BipedalWalker", "CarRacing"), "Box2D"),
    "tutelage/web.": "miniwob",
}
"""How ids begin → the module that their environments need."""


def pip_line(module: str) -> str:
    """Return what to install for a module, "" where no extra brings it."""
    extra = EXTRAS.get(module)
    return f"pip install 'tutelage[{extra}]'" if extra else ""


def missing(error: ImportError) -> TutelageError | None:
    """Return the error to show where a package of an extra is not installed; None for any other."""
    module = (error.name or "").partition(".")[0]
    if not pip_line(module) or find_spec(module) is not None:  # it is there, and broken
        return None
    return TutelageError(
        f"expected the package {module}, which this needs, found none; install it: {pip_line(module)}"
    )


def missing_for(env_id: str) -> str:
    """Return what to install for an environment whose package is not there; "" where that is not known."""
    for beginning, module in _ENVIRONMENTS.items():
        if env_id.startswith(beginning) and find_spec(module) is None:
            return pip_line(module)
    return ""
