"""Reads Dockerfile, compose.yaml and .env.example, and gives command lines to the programs' own parsers."""

import importlib.util
import os
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

import yaml
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[1]
WEB, GPU = "web", "gpu"


class Stage:
    def __init__(self, name: str, base: str) -> None:
        self.name, self.base, self.lines = name, base, list[tuple[str, str]]()

    def of(self, *instructions: str) -> list[str]:
        return [rest for instruction, rest in self.lines if instruction in instructions]


def read_dockerfile() -> dict[str, Stage]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = current = Stage(name, base)
        elif instruction:
            current.lines.append((instruction, rest.strip()))
    return stages


STAGES = read_dockerfile()


def lineage(name: str) -> list[Stage]:
    """A stage and what it is built on, the lowest first."""
    stage = STAGES[name]
    return [*(lineage(stage.base) if stage.base in STAGES else []), stage]


def last(name: str, instruction: str) -> str:
    return [rest for stage in lineage(name) for rest in stage.of(instruction)][-1]


def argv_of(command: str) -> list[str]:
    return list(yaml.safe_load(command)) if command.startswith("[") else shlex.split(command)


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
EXAMPLE = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
# The engine knows no Django, so it reads its few variables itself.
READ_BY_ENGINE = {
    name
    for path in sorted((ROOT / "generation" / "engine").glob("*.py"))
    for name in re.findall(r'os\.environ(?:\.\w+\(|\[)\s*"([A-Z0-9_]+)"', path.read_text())
}
READ_BY_SETTINGS = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', (ROOT / "tenkaigen" / "settings.py").read_text()))


def production(**extra: str) -> dict[str, str]:
    """The variables of a container whose .env is the example, filled in."""
    filled = {name: value or secrets.token_urlsafe(50) for name, value in EXAMPLE.items()}
    filled["B2_S3_CDN_DOMAIN"] = ""
    given = {name: expand(value, filled) for name, value in SERVICES["web"]["environment"].items()}
    return {"PATH": os.environ["PATH"], "EMBEDDED": "0", **filled, **given, **extra}


def expand(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([A-Z0-9_]+)[^}]*\}", lambda match: values[match[1]], text)


def check_argv(argv: list[str]) -> None:
    """Give a command line to the program's own parser. Fails when it would not take it."""
    program, *arguments = argv
    if program.endswith("python"):
        if arguments[0] == "manage.py":
            return check_manage(arguments[1], arguments[2:])
        assert arguments[0] == "-m"
        return check_module(arguments[1])
    if program == "gunicorn":
        return check_gunicorn(arguments)
    if program == "celery":
        return check_celery(arguments)
    raise AssertionError(f"what is {argv}?")


def check_manage(name: str, arguments: list[str]) -> None:
    app = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    command.create_parser("manage.py", name).parse_args(arguments)


def check_module(name: str) -> None:
    assert importlib.util.find_spec(name), name


def check_gunicorn(arguments: list[str]) -> None:
    from gunicorn.config import Config

    parsed = Config().parser().parse_args(arguments)
    assert parsed.args == ["tenkaigen.wsgi"] and importlib.util.find_spec("tenkaigen.wsgi")


def check_celery(arguments: list[str]) -> None:
    from celery.bin.celery import celery

    assert arguments[:2] == ["-A", "tenkaigen"]
    command = celery.commands[arguments[2]]
    known = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for argument in arguments[3:]:
        if argument.startswith("-"):
            assert argument.split("=")[0] in known, argument
