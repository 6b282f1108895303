"""How a figure is taken and shown: runs that take turns, ratios of pairs, the bar each is held against."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

Runs = dict[str, Callable[[], float]]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every script has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that shows that it works")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a bar is missed")
    return parser


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """A run that gives its seconds."""

    def measure() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return measure


def interleave(runs: Runs, rounds: int, *, warm_ups: int = 1) -> dict[str, list[float]]:
    """The figures of each run in each round. The first rounds warm up and are not counted.

    The runs take turns, every other round in the opposite order, so that load on the machine hits all of them.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-warm_ups, rounds):
        for name, run in reversed(runs.items()) if number % 2 else runs.items():
            figure = run()
            if number >= 0:
                found[name].append(figure)
    return found


def pairwise_ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


class Report:
    """Prints figures as they come and remembers whether every bar was held."""

    def __init__(self, title: str) -> None:
        self.is_held = True
        self.is_complete = True
        print(f"{title}\n{os.cpu_count()} cores, {loads()}", flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, name: str, values: Sequence[float], unit: str = "s") -> None:
        self.say(f"       {name:<58} {spread(values)} {unit}")

    def hold(self, name: str, values: Sequence[float], *, at_most: float = 0, at_least: float = 0) -> None:
        """Print the ratios of the pairs; the median is held against the bar, if there is one."""
        self.say(f"ratio  {name:<58} {spread(values)}{self._verdict(statistics.median(values), at_most, at_least)}")

    def demand(self, what: str, is_so: bool) -> None:
        """A bar that is a fact, not a figure."""
        self.is_held = self.is_held and is_so
        self.say(f"bar    {what}: {'held' if is_so else 'MISSED'}")

    def skip(self, what: str, why: object) -> None:
        """Say what could not be measured. Then not every bar was held, whatever the others say."""
        self.is_complete = False
        self.say(f"NOT MEASURED: {what}: {why}")

    def end(self, *, is_strict: bool) -> int:
        """The exit status. A missed bar on a busy machine is a finding, so it fails only a strict run."""
        verdict = "every bar held" if self.is_held else "a bar was MISSED"
        self.say(f"{verdict if self.is_complete else verdict + ', of those measured'}; {loads()}\n")
        return 1 if is_strict and not (self.is_held and self.is_complete) else 0

    def _verdict(self, value: float, at_most: float, at_least: float) -> str:
        if not at_most and not at_least:
            return "  no bar"
        is_held = value <= at_most if at_most else value >= at_least
        self.is_held = self.is_held and is_held
        bar = f"at most {at_most:.2f}" if at_most else f"at least {at_least:.2f}"
        return f"  bar {bar}: {'held' if is_held else 'MISSED'}"


def spread(values: Sequence[float]) -> str:
    return f"min {min(values):.3f}  median {statistics.median(values):.3f}  max {max(values):.3f}"


def loads() -> str:
    return "load average " + " ".join(f"{load:.1f}" for load in os.getloadavg())
