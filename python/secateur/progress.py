"""What long work says of itself while it runs."""

import sys
from collections.abc import Callable
from typing import NamedTuple

from .errors import UsageError

__all__ = ["Progress", "ProgressCallback"]


class Progress(NamedTuple):
    """How far work is.

    Callbacks get it on the thread that made the call. A callback that raises stops the work.
    """

    what: str
    """What is done, such as ``encoding``."""
    unit: str
    """What is counted, such as ``documents``."""
    done: int
    """How many are done."""
    total: int | None = None
    """How many there are, if that is known."""
    stage: str | None = None
    """The stage of a recipe."""
    loss: float | None = None
    """The loss of a step of training."""


ProgressCallback = Callable[[Progress], object]
"""Is called with a `Progress` now and then."""

_Native = Callable[[str | None, str, str, int, int | None, float | None], None]


def native(callback: ProgressCallback | None) -> _Native | None:
    """The callback as the native module calls it."""
    if callback is None:
        return None
    if not callable(callback):
        raise UsageError(f"progress is {callback!r:.40}: expected a function that takes a Progress")

    def tell(
        stage: str | None, what: str, unit: str, done: int, total: int | None, loss: float | None
    ) -> None:
        callback(Progress(what, unit, done, total, stage, loss))

    return tell


def show(progress: Progress) -> None:
    """Prints how far work is on standard error: a line that is written again and again."""
    end = "\n" if progress.done == progress.total else ""
    print(f"\r{progress.what}: {progress.done} of {progress.total} {progress.unit}", end=end, file=sys.stderr)
