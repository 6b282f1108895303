"""The service of compose.yaml, started from its own command lines: plain processes, production settings, a bucket.

What the containers would add (images, networks, users) is missing. PostgreSQL and Valkey are this run's, the bucket is
moto's, and the device is the fake one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import s3_shim
from tests.deployment import EXAMPLE, ROOT, SERVICES, argv_of, last, production
from tests.integration.test_backup import empty_database

SECONDS_MAX = 120
PUBLIC = EXAMPLE["ALLOWED_HOSTS"]
MAKE_PERSON = (
    "import django; django.setup(); from tests.factories import make_user;"
    "make_user(credits=50, email='ada@example.com')"
)


class Machine:
    """One machine with its environment and the processes that run on it."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self.folder, self.environment, self.port = folder, environment, port
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def argv(self, argv: list[str]) -> list[str]:
        """A command line of a container, as this machine can run it."""
        own = {
            "python": [sys.executable],
            "gunicorn": [sys.executable, "-m", "gunicorn"],
            "celery": [sys.executable, "-m", "celery"],
            "0.0.0.0:8000": [f"127.0.0.1:{self.port}"],
            "/tmp/celerybeat-schedule": [str(self.folder / "celerybeat-schedule")],
        }
        return [part for word in argv for part in own.get(word, [word])]

    def run(self, argv: list[str]) -> str:
        ran = subprocess.run(self.argv(argv), env=self.environment, cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, f"{argv}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def start(self, name: str, argv: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                self.argv(argv), env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def stop_all(self) -> dict[str, int]:
        """Stop as a container engine does: a signal, a while, then force."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self.running.items():
            try:
                codes[name] = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes[name] = process.wait(timeout=30)
        return codes

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))

    def wait_for(self, what, seconds: float = SECONDS_MAX):
        """Wait until `what()` returns something true; fails with every log."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if found := what():
                    return found
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.logs())


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with s3_shim.running() as shim, empty_database(f"service_{os.getpid()}") as database:
        environment = production(
            DATABASE_URL=database,
            REDIS_URL=os.environ["REDIS_URL"],
            B2_S3_ENDPOINT=shim.url,
            B2_S3_BUCKET="made-by-the-command",
            DJANGO_SETTINGS_MODULE="tenkaigen.settings",
            ENGINE="tests.fake_engine",
            PORT=str(port),
            EMAIL_URL="dummymail://",
            PYTHONPATH=str(ROOT),
        )
        made = Machine(tmp_path, environment, port)
        try:
            yield made
        finally:
            made.stop_all()


def command(service: str) -> list[str]:
    made = SERVICES[service]
    return list(made.get("command") or argv_of(last(made["build"]["target"], "CMD")))


def test_the_commands_of_the_compose_file_make_a_service_that_makes_pictures(machine):
    machine.run(command("setup"))
    checked = machine.run(command("store-setup")).splitlines()
    assert checked[0] == "bucket: made" and checked[-1] == "ok delete: gone"
    machine.run(["python", "-c", MAKE_PERSON])
    key = machine.run(["python", "manage.py", "create_api_key", "ada@example.com"]).strip()
    for name in ("web", "worker", "beat", "cpu"):
        machine.start(name, command(name))

    site = httpx.Client(
        base_url=f"http://127.0.0.1:{machine.port}",
        headers={"Host": PUBLIC, "X-Forwarded-Proto": "https", "Authorization": f"Bearer {key}"},
    )
    machine.wait_for(lambda: site.get("/healthz").status_code == 200)
    assert site.get("/readyz").json() == {"database": "ok", "redis": "ok"}
    assert site.get("/healthz", headers={"Host": "evil.example.com"}).status_code == 400
    machine.run(["python", *SERVICES["worker"]["healthcheck"]["test"][2:]])
    machine.run(argv_of(last("web", "HEALTHCHECK").split("CMD ", 1)[1]))

    made = site.post("/api/v1/generate", json={"prompt": "a red fox by a lake", "num_inference_steps": 2})
    assert made.status_code == 202, made.text
    job = made.json()["id"]
    done = machine.wait_for(lambda: finished(site.get(f"/api/v1/jobs/{job}").json()))
    assert done["status"] == "completed", machine.logs()
    shown = site.get(f"/api/v1/images/{done['images'][0]['id']}/original")
    assert shown.status_code == 302 and "X-Amz-Expires=300" in shown.headers["location"]
    assert httpx.get(shown.headers["location"]).content.startswith(b"\x89PNG")
    machine.run(["python", "manage.py", "audit_ledger"])
    assert machine.stop_all() == {"web": 0, "worker": 0, "beat": 0, "cpu": 0}, machine.logs()


def finished(job: dict) -> dict | None:
    return job if job["status"] in ("completed", "failed") else None
