"""Devices: those that are there are chosen, and all that is computed on another is as on the processor."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tutelage.agents.policy.devices import DEVICES, choose_device, to_device
from tutelage.agents.policy.fine_tuning import FREEZE
from tutelage.agents.training.config import TrainConfig
from tutelage.errors import TutelageError
from tutelage.files.schema_errors import fields_of


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_policy_on_a_toy_device_is_as_on_the_processor() -> None:
    checks = Path(__file__).parents[1] / "on_toy_device.py"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\d\d passed", ran.stdout)


def test_settings_take_the_devices_and_parts_that_there_are() -> None:
    settings = fields_of(TrainConfig)
    assert str(settings["device"].annotation) == f"typing.Literal{list(DEVICES)}"
    assert str(settings["freeze"].annotation) == f"typing.Literal{list(FREEZE)}"


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    absent = [name for name in DEVICES[2:] if not getattr(torch, name).is_available()]
    for name in absent:
        with pytest.raises(
            TutelageError, match=re.escape("expected a device that is here (cpu") + ".*" + name
        ):
            choose_device(name)
    with pytest.raises(TutelageError, match="expected a device of auto, cpu, cuda, mps, xpu, got 'gpu'"):
        choose_device("gpu")
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type not in absent


def test_an_array_on_the_processor_is_not_copied() -> None:
    array = np.arange(3.0)
    assert to_device(array, torch.device("cpu")).numpy() is not None
    to_device(array, torch.device("cpu"))[0] = 7
    assert array[0] == 7
