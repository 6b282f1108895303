"""What `make test` does, step by step, with the time each took and the time it may take.

    python -m tests.run [--fast | --only-lint | --only SUITE ...] [-- ARGUMENTS FOR PYTEST]

Everything that only reads the code runs first, all of it, so that one run shows every complaint; then the
suites. One failure anywhere makes the exit code 1. A step over its budget is shown, not failed: the budget is
for two idle cores, see docs/testing.md.
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
    """Return the steps that read the code, the settings and the migrations."""
    return [
        Step("ruff", 5, tool("ruff", "check", ".")),
        Step("format", 5, tool("ruff", "format", "--check", ".")),
        Step("types", 60, tool("mypy")),
        Step("imports", 10, tool("lint-imports", "--no-cache")),
        Step("templates", 15, tool("djlint", "templates", "--lint", "--quiet")),
        Step("migrations", 30, [sys.executable, "-m", "tests.migrate_from_zero"]),
        Step("deploy", 10, manage("check", "--deploy", "--fail-level", "WARNING"), production_environment()),
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


# Suite: budget in seconds, xdist processes, and whether `--fast` runs it.
# Races, faults and browser need the machine for themselves, or their timing says nothing.
SUITES: dict[str, tuple[int, int, bool]] = {
    "engine properties integration unit": (560, 2, True),
    "races": (90, 0, True),
    "faults": (420, 0, False),
    "browser": (240, 0, False),
}


def suite_steps(arguments: argparse.Namespace) -> list[Step]:
    """Return the pytest runs. The first also takes the files that lie directly in `tests`."""
    steps: list[Step] = []
    is_database_made = False
    for name, (budget, processes, is_fast) in SUITES.items():
        parts = [part for part in name.split() if not arguments.only or part in arguments.only]
        if not parts or (arguments.fast and not is_fast):
            continue
        paths = [f"tests/{part}" for part in parts if any((ROOT / "tests" / part).glob("**/test_*.py"))]
        if "unit" in parts:
            paths = [*sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py")), *paths]
        if not paths:
            continue
        if processes:
            # In the order above, the files that take minutes first: else one process ends alone with one of them.
            how = ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]
            environment = {"OMP_NUM_THREADS": "1"}  # two processes of torch on two cores would fight over them
        else:
            environment = {}
            # The first of these suites makes the database and leaves it to the others
            how = ["--reuse-db"] if is_database_made else ["--reuse-db", "--create-db"]
            is_database_made = True
        argv = [sys.executable, "-m", "pytest", *paths, *how, "--durations=5", *arguments.pytest]
        steps.append(Step(name, budget, argv, environment))
    return steps


def run(step: Step) -> Outcome:
    """Run one step with its output on the terminal."""
    print(f"\n=== {step.name} (budget {step.budget_seconds} s)", flush=True)
    started = time.monotonic()
    exit_code = subprocess.call(step.argv, cwd=ROOT, env=os.environ | step.environment)
    outcome = Outcome(step, time.monotonic() - started, exit_code)
    print(f"=== {step.name}: {verdict(outcome)}, {outcome.seconds:.1f} s", flush=True)
    return outcome


NO_TESTS_SELECTED = 5  # pytest's exit code; only an answer to a -k or -m of the person who typed it


def has_passed(outcome: Outcome, is_selected: bool = False) -> bool:
    return outcome.exit_code == 0 or (is_selected and outcome.exit_code == NO_TESTS_SELECTED)


def verdict(outcome: Outcome) -> str:
    return "ok" if outcome.exit_code == 0 else f"FAILED with code {outcome.exit_code}"


def table(outcomes: Sequence[Outcome]) -> str:
    lines = [f"{'step':<26}{'seconds':>9}{'budget':>8}  result"]
    for outcome in outcomes:
        late = "  over budget" if outcome.seconds > outcome.step.budget_seconds else ""
        lines.append(
            f"{outcome.step.name:<26}{outcome.seconds:>9.1f}{outcome.step.budget_seconds:>8}  {verdict(outcome)}{late}"
        )
    total = sum(outcome.seconds for outcome in outcomes)
    return "\n".join([*lines, f"{'all':<26}{total:>9.1f}{sum(o.step.budget_seconds for o in outcomes):>8}"])


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
    outcomes = [run(step) for step in steps]
    print(f"\n{table(outcomes)}", flush=True)
    is_selected = bool(arguments.pytest)
    return 0 if outcomes and all(has_passed(outcome, is_selected) for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
