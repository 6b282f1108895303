"""The house rules that a machine can check. The import contracts are in pyproject.toml; `make test` runs them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from tests.run import SUITES

ROOT = Path(__file__).resolve().parent.parent
APPS = ("accounts", "credits", "generation", "tenkaigen")
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "skia")
BY_HAND = {"load", "gpu"}
FILE_LINES_MAX = 300
TEST_FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# Data in the shape of code, and the painter of training scenes.
LONG_FILES = ("generation/engine/catalog.py", "tenkaigen/settings.py")
ISSUE_NUMBER = re.compile(r"#\d+|issue \d+", re.IGNORECASE)
OPEN_END = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")


def sources() -> Iterator[Path]:
    for app in (*APPS, "tests", "benchmarks"):
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def lines_max(path: Path) -> int:
    return TEST_FILE_LINES_MAX if "tests" in path.parts else FILE_LINES_MAX


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("module", ["tenkaigen.urls", "tenkaigen.wsgi", "generation.tasks", "generation.admin"])
def test_the_web_never_imports_the_engines_libraries(module):
    """A web process with torch in it would take 1 GB of memory and seconds to start."""
    code = (
        "import os, sys, importlib, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "django.setup()\n"
        "import tenkaigen.checks; tenkaigen.checks.refuse_unsafe_start = lambda: None\n"
        f"importlib.import_module('{module}')\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_the_bootstrap_needs_only_the_standard_library():
    tree = ast.parse((ROOT / "tenkaigen" / "bootstrap.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.JoinedStr | ast.AnnAssign)]


def test_one_file_is_one_screenful_of_ideas():
    too_long = {
        name_of(path): lines
        for path in sources()
        if name_of(path) not in LONG_FILES and (lines := len(path.read_text().splitlines())) > lines_max(path)
    }
    assert too_long == {}


def test_functions_fit_a_screen():
    too_long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert too_long == []


def test_modules_say_what_they_own():
    silent = [
        name_of(path)
        for path in sources()
        if path.parts[len(ROOT.parts)] in APPS
        and path.name not in ("__init__.py", "apps.py")
        and "commands" not in path.parts  # they have `help`
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_nothing_is_left_open():
    found = [
        f"{name_of(path)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OPEN_END.search(line) and not ISSUE_NUMBER.search(line)
    ]
    assert found == []


def test_make_test_forgets_no_folder():
    with_tests = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    assert with_tests - BY_HAND == {part for name in SUITES for part in name.split()} & with_tests


def test_every_url_has_a_name():
    """Pages and tests use names, so that an address can change in one place."""

    def nameless(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
        for pattern in patterns:
            where = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                if pattern.app_name != "admin":
                    yield from nameless(pattern.url_patterns, where)
            elif not pattern.name:
                yield where

    assert list(nameless(get_resolver().url_patterns)) == []
