"""Every command, path, stage, file and variable that Dockerfile, compose.yaml and docs/operations name exists.

There is no container engine here: what is tested is what can be read, and every command line is given to the
program's own parser.
"""

import importlib.util
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command, get_commands, load_command_class

from tenkaigen import healthcheck

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs" / "operations").glob("*.md"))
OURS_TO_TRY = [document for document in DOCS if document.name != "embedded.md"]
WEB, GPU = "web", "gpu"


# --- Dockerfile ---


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


def test_both_targets_are_there_and_every_stage_has_a_base():
    assert {WEB, GPU} <= STAGES.keys()
    for stage in STAGES.values():
        assert stage.base in STAGES or re.fullmatch(r"python:3\.11-slim-\w+", stage.base), stage.base


def test_everything_that_is_copied_exists_and_is_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = set()
    for stage in STAGES.values():
        for rest in stage.of("COPY"):
            *sources, _ = rest.split()
            if sources[0].startswith("--from="):
                giver = sources[0].removeprefix("--from=")
                assert any(sources[1] in " ".join(part.of("RUN")) for part in lineage(giver)), rest
                continue
            for source in sources:
                copied.add(source)
                assert (ROOT / source).exists(), source
                assert not any(fnmatch(source, pattern) for pattern in ignored), source
    # Whatever Python code and pages the product has must be among them.
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages | {"templates", "static", "manage.py"} <= copied


def test_no_secret_and_no_data_goes_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", "var", ".git", ".venv", "tests"} <= set(ignored)
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def installs(name: str) -> str:
    return " ".join(rest for stage in lineage(name) for rest in stage.of("RUN") if "pip install" in rest)


def packages_of(target: str) -> str:
    """The stage that a target takes its Python packages from."""
    (source,) = (rest for rest in STAGES[target].of("COPY") if "/opt/venv" in rest)
    return source.split()[0].removeprefix("--from=")


def test_the_web_image_has_no_torch():
    assert re.findall(r"-r (\S+)", installs(packages_of(WEB))) == ["requirements-web.txt"]
    assert re.findall(r"-r (\S+)", installs(packages_of(GPU))) == ["requirements.txt"]
    web = (ROOT / "requirements-web.txt").read_text()
    assert not re.search(r"^(-r|torch|diffusers|transformers)", web, re.MULTILINE)
    assert "torch==" in (ROOT / "requirements.txt").read_text()


@pytest.mark.parametrize("target", [WEB, GPU])
def test_an_image_runs_as_an_ordinary_user_and_says_whether_it_works(target):
    user = last(target, "USER")
    assert any(f"useradd --uid 10001 --create-home --shell /usr/sbin/nologin {user}" in rest
               for stage in lineage(target) for rest in stage.of("RUN"))  # fmt: skip
    order = [instruction for instruction, _ in STAGES[target].lines]
    assert order.index("USER") < order.index("CMD") and "RUN" not in order[order.index("USER") :]
    check = argv_of(last(target, "HEALTHCHECK").split("CMD ", 1)[1])
    assert check[:2] == ["python", "-I"] and (ROOT / check[2]).is_file()
    assert last(target, "WORKDIR") == "/app"
    check_argv(argv_of(last(target, "CMD")))


def test_the_image_brings_the_client_programs_of_its_server():
    (client,) = re.findall(r"postgresql-client-(\d+)", (ROOT / "Dockerfile").read_text())
    (server,) = re.findall(r"image: postgres:(\d+)", (ROOT / "compose.yaml").read_text())
    assert client == server


def test_static_files_are_collected_as_the_image_does_it(settings, tmp_path):
    assert "python manage.py collectstatic --noinput" in " ".join(STAGES[WEB].of("RUN"))
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    call_command("collectstatic", "--noinput", verbosity=0)
    assert (tmp_path / "staticfiles.json").exists() and list(tmp_path.glob("app.*.css.gz"))


def test_collecting_static_files_needs_only_the_variables_that_the_image_gives_it():
    (run,) = (rest for rest in STAGES[WEB].of("RUN") if "collectstatic" in rest)
    given = dict(re.findall(r"([A-Z_]+)=(\S+)", run))
    ran = subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "--dry-run"],
        env={"PATH": os.environ["PATH"], "EMBEDDED": "0", **given},  # a developer's var/embedded.env says otherwise
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


# --- compose.yaml ---

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
EXAMPLE = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
READ_BY_SETTINGS = set(re.findall(r'env\.\w+\(\s*"([A-Z0-9_]+)"', (ROOT / "tenkaigen" / "settings.py").read_text()))


def test_every_part_of_the_house_has_a_service():
    assert SERVICES.keys() == {
        "postgres", "valkey", "setup", "web", "worker", "beat", "gpu", "cpu", "store", "store-setup",
    }  # fmt: skip
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "gpu": ["gpu"],
        "cpu": ["cpu"],
        "store": ["store"],
        "store-setup": ["store"],
    }


def test_services_are_built_from_stages_that_exist_and_run_commands_that_exist():
    for name, service in OURS.items():
        assert service["build"]["target"] in (WEB, GPU), name
        assert service["image"] == f"tenkaigen-{service['build']['target']}"
        check_argv(service.get("command") or argv_of(last(service["build"]["target"], "CMD")))
    for service in SERVICES.values():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]) and not service["image"].endswith(":latest")


def test_services_wait_for_what_is_there_and_can_be_healthy():
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], f"{name} waits for {other}"
            else:
                assert wanted["condition"] == "service_completed_successfully" and SERVICES[other]["restart"] == "no"
            # A service must not wait for one whose profile may be off.
            assert set(SERVICES[other].get("profiles", [])) <= set(service.get("profiles", []))
    for name in ("web", "worker", "beat", "gpu", "cpu"):
        assert "setup" in SERVICES[name]["depends_on"]


def test_every_health_check_of_ours_is_a_program_that_exists():
    for service in OURS.values():
        check = service.get("healthcheck", {})
        if "test" in check:
            kind, python, isolated, script, *arguments = check["test"]
            assert (kind, python, isolated) == ("CMD", "python", "-I") and (ROOT / script).is_file()
            assert arguments[0] == "connected" and arguments[1] in service["environment"]


def test_volumes_configs_and_mounts_are_declared_and_writable():
    made = " ".join(last("source", "RUN").split())
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            name, place = volume.split(":")[:2]
            assert name in COMPOSE["volumes"]
            if "build" in service:
                assert place.removeprefix("/app/") in made and "chown -R tenkaigen" in made
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"]


def test_every_variable_is_read_by_somebody_and_given_by_somebody():
    asked = re.findall(r"\$\{([A-Z0-9_]+)(:[-?][^}]*)?\}", (ROOT / "compose.yaml").read_text())
    for name, fallback in asked:
        assert name in EXAMPLE or fallback.startswith(":-"), name
    in_compose = {name for name, _ in asked}
    for name in EXAMPLE:
        assert name in READ_BY_SETTINGS | in_compose, f"{name} of .env.example is read by nobody"
    for service in OURS.values():
        read_in_image = {"SECRET_KEY", "DATABASE_URL", "REDIS_URL"}
        given = EXAMPLE.keys() | service["environment"].keys()
        assert read_in_image <= given and service["environment"].keys() <= READ_BY_SETTINGS
        assert service["env_file"] == ".env"
    assert SERVICES["postgres"]["environment"].keys() == {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}


def test_no_secret_has_a_default():
    for name in (
        "SECRET_KEY",
        "POSTGRES_PASSWORD",
        "VALKEY_PASSWORD",
        "B2_S3_ACCESS_KEY_ID",
        "B2_S3_SECRET_ACCESS_KEY",
    ):
        assert EXAMPLE[name] == ""
    assert "${POSTGRES_PASSWORD:?}" in SERVICES["web"]["environment"]["DATABASE_URL"]


def production(**extra: str) -> dict[str, str]:
    """The variables of a container whose .env is the example, filled in."""
    filled = {name: value or secrets.token_urlsafe(50) for name, value in EXAMPLE.items()}
    filled["B2_S3_CDN_DOMAIN"] = ""
    given = {name: expand(value, filled) for name, value in SERVICES["web"]["environment"].items()}
    return {"PATH": os.environ["PATH"], "EMBEDDED": "0", **filled, **given, **extra}


def expand(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([A-Z0-9_]+)[^}]*\}", lambda match: values[match[1]], text)


def test_the_example_filled_in_passes_the_check_for_production():
    ran = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env=production(), cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_example_as_it_is_does_not_start():
    ran = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=production(SECRET_KEY=""), cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode != 0 and "SECRET_KEY" in ran.stderr


def test_the_keys_of_the_trial_store_are_the_keys_we_use():
    content = COMPOSE["configs"]["store-keys"]["content"]
    filled = yaml.safe_load(expand(content, {"B2_S3_ACCESS_KEY_ID": "key", "B2_S3_SECRET_ACCESS_KEY": "secret"}))
    assert filled["identities"][0]["credentials"] == [{"accessKey": "key", "secretKey": "secret"}]
    store = SERVICES["store"]
    host, port = EXAMPLE["B2_S3_ENDPOINT"].removeprefix("http://").split(":")
    assert host in store["networks"]["default"]["aliases"] and f"-s3.port={port}" in store["command"]
    assert f"127.0.0.1:{port}:{port}" in store["ports"]
    assert store["configs"][0]["target"] == store["command"][-1].split("=")[1]


# --- Command lines, wherever they stand ---


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


def commands_in(text: str) -> list[list[str]]:
    """Every `manage.py` command line of a page, in a block or in a sentence, without the shell around it."""
    pieces = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for piece in pieces for line in piece.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    found = []
    for line in lines:
        if "manage.py " in line:
            found.append(shlex.split(line.split("manage.py ", 1)[1]))
    return found


@pytest.mark.parametrize("document", OURS_TO_TRY, ids=lambda document: document.name)
def test_every_command_on_a_page_is_one_that_is_taken(document):
    found = commands_in(document.read_text())
    assert found
    for name, *arguments in found:
        check_manage(name, [argument.replace("%i", "0") for argument in arguments])


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_every_link_and_service_on_a_page_exists(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("http") or (document.parent / target).exists(), target
    for flags, verb, rest in re.findall(r"docker compose((?: --profile \w+)*) (\w+)([^\n`]*)", text):
        assert set(re.findall(r"--profile (\w+)", flags)) <= {"gpu", "cpu", "store"}
        assert verb in {"build", "up", "run", "ps", "stop"}
        if verb == "run":
            assert re.search(r" (web|gpu) python manage\.py ", rest), rest
        if verb == "stop":
            assert set(rest.split()) <= SERVICES.keys()


@pytest.mark.parametrize("document", OURS_TO_TRY, ids=lambda document: document.name)
def test_every_variable_on_a_page_is_read_by_somebody(document):
    known = READ_BY_SETTINGS | EXAMPLE.keys() | set(dir(settings)) | {"WEB_CONCURRENCY"}
    for name in re.findall(r"`([A-Z][A-Z0-9_]{4,})(?:=[^`]*)?`", document.read_text()):
        assert name in known, name


# --- The health check, at work ---


def health(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "tenkaigen/healthcheck.py", *arguments],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture
def site():
    """A page that answers what it is told, and remembers under which name it was asked."""

    class Handler(BaseHTTPRequestHandler):
        status, asked = 200, list[str]()

        def do_GET(self):
            self.asked.append(f"{self.headers['Host']}{self.path}")
            self.send_response(self.status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, str(server.server_port)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("allowed", "host"),
    [("pictures.example.com,other", "pictures.example.com"), (".example.com", "example.com"), ("*", "localhost")],
)
def test_the_page_is_asked_under_a_name_that_it_accepts(site, allowed, host):
    handler, port = site
    assert health("web", PORT=port, ALLOWED_HOSTS=allowed).returncode == 0
    assert handler.asked[-1] == f"{host}/healthz"


def test_a_page_that_is_broken_or_gone_is_not_well(site):
    handler, port = site
    handler.status = 500
    assert health("web", PORT=port, ALLOWED_HOSTS="x").returncode == 1
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert health("web", PORT=str(closed.getsockname()[1]), ALLOWED_HOSTS="x").returncode == 1


def test_a_worker_is_well_while_it_talks_to_its_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"redis://:secret@valkey:{server.getsockname()[1]}/0"
        assert health("connected", "REDIS_URL", REDIS_URL=address).returncode == 1
        with socket.create_connection(server.getsockname()):
            assert health("connected", "REDIS_URL", REDIS_URL=address).returncode == 0
            secret = tmp_path / "address"
            secret.write_text(f"{address}\n")
            assert health("connected", "REDIS_URL", REDIS_URL_FILE=str(secret)).returncode == 0


def test_a_server_without_a_port_has_the_usual_one(monkeypatch, tmp_path):
    table = tmp_path / "tcp"
    table.write_text("header\n 0: 0100007F:A001 0200A8C0:1538 01 0 0 0\n 1: 0100007F:A002 0200A8C0:18EB 06 0 0 0\n")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@database/tenkaigen")  # 0x1538 is 5432, established
    monkeypatch.setenv("REDIS_URL", "redis://valkey/0")  # 0x18EB is 6379, but closing
    assert healthcheck.is_connected("DATABASE_URL", (str(table), str(tmp_path / "none")))
    assert not healthcheck.is_connected("REDIS_URL", (str(table),))
