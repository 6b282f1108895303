"""Every command, path, stage, file and variable that Dockerfile and compose.yaml name exists.

There is no container engine here: what is tested is what can be read, and every command line is given to the
program's own parser. `integration/test_s3_service.py` runs them as plain processes.
"""

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest
import yaml
from django.core.management import call_command

from tests.deployment import (
    COMPOSE,
    EXAMPLE,
    GPU,
    OURS,
    READ_BY_ENGINE,
    READ_BY_SETTINGS,
    ROOT,
    SERVICES,
    STAGES,
    WEB,
    argv_of,
    check_argv,
    expand,
    last,
    lineage,
    production,
)


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


def test_the_shipped_model_may_be_loaded_from_what_the_image_holds_and_nothing_else(tmp_path):
    for rest in STAGES["source"].of("COPY"):
        *sources, target = rest.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, tmp_path / target)
    program = (
        "import django; django.setup(); from django.core.management import call_command; call_command('check');"
        "from generation.engine.loading import Shelf; print(Shelf.at().check('starter')[1])"
    )
    given = production(
        DJANGO_SETTINGS_MODULE="tenkaigen.settings", TENKAIGEN_MODELS_LOCK="", PYTHONDONTWRITEBYTECODE="1"
    )
    ran = subprocess.run([sys.executable, "-c", program], env=given, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == str(tmp_path / "generation" / "engine" / "starter" / "weights")


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


def test_every_part_of_the_house_has_a_service():
    assert SERVICES.keys() == {
        "postgres", "valkey", "setup", "web", "worker", "beat", "gpu", "cpu", "trainer", "trainer-cpu", "store",
        "store-setup",
    }  # fmt: skip
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "gpu": ["gpu"],
        "cpu": ["cpu"],
        "trainer": ["gpu"],
        "trainer-cpu": ["cpu"],
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
    for name in ("web", "worker", "beat", "gpu", "cpu", "trainer", "trainer-cpu"):
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
        assert name in READ_BY_ENGINE | READ_BY_SETTINGS | in_compose, f"{name} of .env.example is read by nobody"
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
