"""What `make test` does, step by step, with the time each took and the time it may take.

    python -m tests.run [--fast | --only-lint | --only SUITE ...] [-- ARGUMENTS FOR PYTEST]

Everything that only reads the code runs first, two steps at a time and all of it, so that one run shows every
complaint; then the suites. One failure anywhere makes the exit code 1. A step over its budget is shown, not failed:
the budget is for two idle cores, see docs/testing.md.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests import servers

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Step:
    """One command. `budget_seconds` is its allowance on two idle cores."""

    name: str
    budget_seconds: int
    argv: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    is_short: bool = False  # it shares the machine with another one, and its output comes when it has ended


@dataclass(frozen=True)
class Outcome:
    step: Step
    seconds: float
    exit_code: int


def tool(name: str, *arguments: str) -> list[str]:
    return [str(BIN / name), *arguments]


def manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def lint_steps() -> list[Step]:
    """Return the steps that read the code, the settings and the migrations, the longest first."""
    deploy = manage("check", "--deploy", "--fail-level", "WARNING")
    return [
        Step("migrations", 40, [sys.executable, "-m", "tests.migrate_from_zero"], is_short=True),
        Step("types", 60, tool("mypy"), is_short=True),
        Step("deploy", 10, deploy, production_environment(), is_short=True),
        Step("ruff", 5, tool("ruff", "check", "."), is_short=True),
        Step("format", 5, tool("ruff", "format", "--check", "."), is_short=True),
        Step("imports", 10, tool("lint-imports", "--no-cache"), is_short=True),
        Step("templates", 15, tool("djlint", "templates", "--lint", "--quiet"), is_short=True),
    ]


def production_environment() -> dict[str, str]:
    """Return variables as an operator would set them, for `check --deploy`."""
    return {
        "DJANGO_SETTINGS_MODULE": "tenkaigen.settings",
        "EMBEDDED": "0",
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "pictures.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://pictures.example.com",
        "ADMINS": "operator@example.com",
    }


# Suite: budget in seconds. Each runs in two processes, a file of tests in one of them.
SUITES = {"engine properties integration unit": 560, "faults races": 300, "browser": 200}
PROCESSES = 2
NOT_FAST = {"faults", "browser"}
# Begun before the others, or one process would end alone with one of them; the second may wait behind the first.
# pytest-django puts what needs no database last, in this order.
FIRST = (
    "tests/faults/test_matrix.py", "tests/faults/test_supervisor.py", "tests/faults/test_launch.py",
    "tests/browser/test_every_page.py", "tests/browser/test_generate.py",
)  # fmt: skip


def suite_steps(arguments: argparse.Namespace) -> list[Step]:
    """Return the pytest runs. The first also takes the files that lie directly in `tests`."""
    steps: list[Step] = []
    # Two processes of torch on two cores would fight over them.
    environment = {"OMP_NUM_THREADS": "1"}
    how = ["-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder", "--durations=10"]
    for name, budget in SUITES.items():
        parts = [part for part in name.split() if not arguments.only or part in arguments.only]
        parts = [part for part in parts if not (arguments.fast and part in NOT_FAST)]
        if paths := files_of(parts):
            argv = [sys.executable, "-m", "pytest", *paths, *how, *arguments.pytest]
            steps.append(Step(" ".join(parts), budget, argv, environment))
    return steps


def files_of(parts: Sequence[str]) -> list[str]:
    """Return the test files of some folders, in the order in which they begin."""
    tests = ROOT / "tests"
    files = sorted(tests.glob("test_*.py")) if "unit" in parts else []
    files += [path for part in parts for path in sorted((tests / part).glob("**/test_*.py"))]
    names = [str(path.relative_to(ROOT)) for path in files]
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def run(step: Step) -> Outcome:
    """Run one step with its output on the terminal, of a short one in one piece."""
    title = f"\n=== {step.name} (budget {step.budget_seconds} s)"
    if not step.is_short:
        print(title, flush=True)
    started = time.monotonic()
    output = subprocess.PIPE if step.is_short else None
    ended = subprocess.run(
        step.argv, cwd=ROOT, env=os.environ | step.environment, stdout=output, stderr=subprocess.STDOUT, text=True
    )
    outcome = Outcome(step, time.monotonic() - started, ended.returncode)
    said = f"{title}\n{ended.stdout}" if step.is_short else ""
    print(f"{said}=== {step.name}: {verdict(outcome)}, {outcome.seconds:.1f} s\n", end="", flush=True)
    return outcome


def run_all(steps: Sequence[Step]) -> list[Outcome]:
    """Run the short steps side by side, then the others one after the other."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        outcomes = list(pool.map(run, [step for step in steps if step.is_short]))
    return outcomes + [run(step) for step in steps if not step.is_short]


NO_TESTS_SELECTED = 5  # pytest's exit code; only an answer to a -k or -m of the person who typed it


def has_passed(outcome: Outcome, is_selected: bool = False) -> bool:
    return outcome.exit_code == 0 or (is_selected and outcome.exit_code == NO_TESTS_SELECTED)


def verdict(outcome: Outcome) -> str:
    return "ok" if outcome.exit_code == 0 else f"FAILED with code {outcome.exit_code}"


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return a line for each step, and what all of them took by the clock."""
    lines = [f"{'step':<26}{'seconds':>9}{'budget':>8}  result"]
    for outcome in outcomes:
        late = "  over budget" if outcome.seconds > outcome.step.budget_seconds else ""
        lines.append(
            f"{outcome.step.name:<26}{outcome.seconds:>9.1f}{outcome.step.budget_seconds:>8}  {verdict(outcome)}{late}"
        )
    short, others = (
        sum(outcome.step.budget_seconds for outcome in outcomes if outcome.step.is_short == is_short)
        for is_short in (True, False)
    )
    return "\n".join([*lines, f"{'all':<26}{seconds:>9.1f}{short // PROCESSES + others:>8}"])


def ensure_browser() -> None:
    """Find Chromium; on Debian, as root, install it when it is missing.

    Raises:
        NotReady: with the sentence that says how to get it.
    """
    try:
        servers.browser_path()
    except servers.NotReady:
        apt = shutil.which("apt-get")
        if os.geteuid() != 0 or apt is None or os.environ.get("CHROMIUM_PATH"):
            raise
        print("=== installing Chromium for the browser tests", flush=True)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.call([apt, "-qq", *arguments], env=environment)
        servers.browser_path()


def read_arguments(given: list[str]) -> argparse.Namespace:
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="tests.run")
    parser.add_argument("--fast", action="store_true", help="without the faults and browser suites")
    parser.add_argument("--only-lint", action="store_true", help="no suites")
    parser.add_argument("--only", action="append", metavar="SUITE", help="only this suite, no lint; repeatable")
    arguments = parser.parse_args(given[:cut])
    arguments.pytest = given[cut + 1 :]
    return arguments


def main(given: list[str]) -> int:
    arguments = read_arguments(given)
    prepare: list[Callable[[], None]] = [servers.export_environment]
    steps: list[Step] = []
    if not arguments.only:
        steps += lint_steps()
    if not arguments.only_lint:
        steps += suite_steps(arguments)
    if any(step.name == "browser" for step in steps):
        prepare.append(ensure_browser)
    try:
        for part in prepare:
            part()
    except (servers.NotReady, servers.CannotStart) as error:
        print(f"TenkaiGen's tests cannot run: {error}", file=sys.stderr)
        return 1
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    started = time.monotonic()
    outcomes = run_all(steps)
    print(f"\n{table(outcomes, time.monotonic() - started)}", flush=True)
    is_selected = bool(arguments.pytest)
    return 0 if outcomes and all(has_passed(outcome, is_selected) for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
