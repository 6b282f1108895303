"""The health check of the containers, at work."""

import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tenkaigen import healthcheck
from tests.deployment import ROOT


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
