"""The types of the package, and those that its native module is said to have."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


def test_types_are_sound() -> None:
    pytest.importorskip("mypy")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", PACKAGE / "pyproject.toml"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_stubs_are_what_is_there() -> None:
    pytest.importorskip("mypy")
    run = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "secateur._native", "--ignore-missing-stub"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
