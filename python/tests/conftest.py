"""What the tests and the examples of docstrings share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import secateur

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def encoder() -> secateur.Encoder:
    return secateur.Encoder("default")


@pytest.fixture(scope="session")
def mini() -> secateur.BeirFolder:
    return secateur.BeirFolder(REPOSITORY / "datasets" / "mini")


@pytest.fixture
def gil_switches() -> object:
    """Threads take turns soon, so that a test of seconds shows who holds the GIL."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    yield
    sys.setswitchinterval(before)
