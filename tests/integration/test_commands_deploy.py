"""Production settings: clean by Django's own deploy checks, and a door that stays shut while something is unsafe."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from tests.factories import make_user

ROOT = Path(__file__).resolve().parents[2]
START = [sys.executable, "-c", "import tenkaigen.wsgi; print('started')"]
CHECK = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]


def database_url() -> str:
    of = connection.settings_dict
    return f"postgres://{of['USER']}:{quote(of['PASSWORD'])}@{of['HOST']}:{of['PORT']}/{of['NAME']}"


def run(argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run something as a production server would, with nothing of this process's environment."""
    production = {
        "PATH": os.environ["PATH"],
        "EMBEDDED": "0",
        "SECRET_KEY": "7cRz3vW0qkq5Hq1zY4wV9dXo2LmNtB8sUeJgPfA6iKhTyMrCx_Ee4",
        "ALLOWED_HOSTS": "pictures.example.com",
        "DATABASE_URL": database_url(),
        "REDIS_URL": os.environ["REDIS_URL"],
    }
    return subprocess.run(argv, cwd=ROOT, env={**production, **environment}, capture_output=True, text=True, timeout=60)


@pytest.mark.django_db
def test_the_deploy_check_is_clean():
    done = run(CHECK)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_safe_server_starts():
    done = run(START)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"DEBUG": "1"}, "tenkaigen.E001"),
        ({"SECRET_KEY": "shrt-7cRz3vW0q"}, "tenkaigen.E002"),
        ({"SECRET_KEY": "insecure-" + "x" * 50}, "tenkaigen.E002"),
        ({"LEASE_SECONDS": "12", "HEARTBEAT_SECONDS": "10"}, "tenkaigen.E003"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_unsafe_server_does_not_start(environment, reason):
    done = run(START, **environment)
    assert done.returncode == 1
    assert reason in done.stderr and "TenkaiGen does not start" in done.stderr
    assert "started" not in done.stdout and "Traceback" not in done.stderr
    assert environment.get("SECRET_KEY", "no secret") not in done.stderr
    if "SECRET_KEY" in environment or "DEBUG" in environment:
        assert run(CHECK, **environment).returncode == 1


@pytest.mark.django_db(transaction=True)
def test_a_demo_account_keeps_a_public_server_shut():
    make_user(is_demo=True)
    done = run(START)
    assert (done.returncode, "a demo account exists" in done.stderr) == (1, True)
    assert run(START, EMBEDDED="1").returncode == 0


@pytest.mark.django_db
def test_no_secret_no_start():
    done = run([sys.executable, "-c", "import os; os.environ.pop('SECRET_KEY'); import tenkaigen.wsgi"])
    assert done.returncode == 1 and "SECRET_KEY" in done.stderr
