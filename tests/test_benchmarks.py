"""Every benchmark in its tiny form: it ends by itself and prints its ratios. No time is held to a bar here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support import figures

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
SECONDS_MAX = 300
NEEDS_THE_SHIPPED_MODEL = ("engine_overhead", "engine_start", "levers", "training")


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_it_runs_and_prints_its_ratios(script):
    done = run(script)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    ratios = [line for line in lines if line.startswith("ratio ")]
    assert all("median" in line and ("bar" in line) for line in ratios)
    is_excused = script.stem in NEEDS_THE_SHIPPED_MODEL and any(line.startswith("NOT MEASURED") for line in lines)
    assert ratios or is_excused, done.stdout
    assert done.stdout.count("load average") == 2  # before and after


def test_the_figures_page_names_every_benchmark():
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert [script.name for script in BENCHMARKS if f"benchmarks/{script.name}" not in page] == []


def test_a_missed_bar_shows_and_fails_only_a_strict_run(capsys):
    report = figures.Report("anything")
    report.hold("slow", [1.2, 1.3, 1.9], at_most=1.10)
    assert "bar at most 1.10: MISSED" in capsys.readouterr().out
    assert (report.end(is_strict=False), report.end(is_strict=True)) == (0, 1)


def test_a_bar_is_held_by_the_median_and_one_slow_round_changes_nothing():
    report = figures.Report("anything")
    report.hold("fast", [1.0, 1.0, 9.0], at_most=1.10)
    report.hold("many", [0.1, 3.5, 3.6], at_least=3.0)
    assert report.is_held
    report.demand("a fact", False)
    assert not report.is_held


def test_what_was_not_measured_is_said_and_fails_a_strict_run(capsys):
    report = figures.Report("anything")
    report.skip("starter model", "not installed")
    assert (report.end(is_strict=False), report.end(is_strict=True)) == (0, 1)
    said = capsys.readouterr().out
    assert "NOT MEASURED: starter model: not installed" in said and "every bar held, of those measured" in said


def test_runs_take_turns_and_the_first_is_not_counted():
    turns: list[str] = []

    def run(name):
        return lambda: float(turns.append(name) or len(turns))

    found = figures.interleave({"a": run("a"), "b": run("b")}, 2)
    assert "".join(turns) == "baabba"
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def run(script: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(script), "--quick"]
    return subprocess.run(argv, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=SECONDS_MAX)
