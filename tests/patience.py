"""For tests about time on machines that stand still now and then."""

import os
import time
from collections.abc import Callable

WAIT_SECONDS = 60


def happens(check: Callable[[], object]) -> bool:
    """Whether it comes true in time. A step or a store has to ask: an assertion there would be taken for a crash."""
    until = time.monotonic() + WAIT_SECONDS
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def eventually(check: Callable[[], object]) -> None:
    """What a thread beside the device does is done in a moment."""
    assert happens(check)


def quickest(act: Callable[[], object], *, under: float, tries: int = 3) -> float:
    """The least seconds that an act took. Tried again only while it took `under` or more: what is slow by itself is
    slow every time, a machine that was busy for a moment is not."""
    took = []
    while len(took) < tries and not (took and min(took) < under):
        began = time.monotonic()
        act()
        took.append(time.monotonic() - began)
    return min(took)


def busyness() -> float:
    """By how much a bar for an idle machine has to be stretched: processes that want to run, for each processor."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
