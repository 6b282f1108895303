"""`make run` itself, on a copy of the checkout below a folder that only its owner can enter."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenkaigen import launch
from tenkaigen.embedded import CannotStart
from tenkaigen.processes import started_at, wait_until
from tests.patience import busyness

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = (".venv", ".git", "var", "staticfiles", "__pycache__", ".*_cache", ".hypothesis", "docs", "benchmarks")
FIRST_START_SECONDS_MAX = 30
SECOND_START_SECONDS_MAX = 10
PATIENCE_SECONDS = 300
PROGRAMS = {"postgres", "valkey", "web", "gpu", "trainer", "worker", "beat"}


class TestRefusals:
    """What is wrong with the machine is one clear sentence."""

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(CannotStart, match=rf"port {port} is in use .* `make run PORT="):
                launch.check_port(port)

    @pytest.mark.parametrize("port", ["eighty", "0", "65536", "-1"])
    def test_a_port_that_is_none(self, port):
        with pytest.raises(CannotStart, match="PORT must be a number"):
            launch.Options.read({"PORT": port})

    @pytest.mark.parametrize(
        ("environment", "reason"),
        [
            ({"BILLING": "real"}, "BILLING may be 'fake' or not set, not 'real'"),
            ({"BILLING": "fake", "DATABASE_URL": "postgres://x"}, "only for the embedded servers"),
            ({"BILLING": "fake", "REDIS_URL": "redis://x"}, "only for the embedded servers"),
            ({"BILLING": "fake", "STRIPE_SECRET_KEY": "sk_live_x"}, "unset yours"),
        ],
    )
    def test_a_fake_stripe_beside_anything_real(self, environment, reason):
        with pytest.raises(CannotStart, match=reason):
            launch.Options.read(environment)

    def test_a_full_disk(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 499_000_000))
        with pytest.raises(CannotStart, match="only 499 MB free"):
            launch.check_disk(tmp_path / "var")

    def test_a_folder_that_cannot_be_written_to(self, tmp_path):
        (tmp_path / "var").write_text("a file is in the way")
        with pytest.raises(CannotStart, match="cannot be written to"):
            launch.check_disk(tmp_path / "var")

    def test_a_second_one_in_the_same_folder(self, tmp_path):
        with launch.only_one(tmp_path):
            with pytest.raises(CannotStart, match=f"already runs from this folder \\(process {os.getpid()}\\)"):
                with launch.only_one(tmp_path):
                    pass

    def test_the_sentence_is_all_there_is_and_the_exit_code_is_1(self):
        result = start_to_end({"PORT": "eighty"}, ROOT)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "TenkaiGen cannot start: PORT must be a number from 1 to 65535, not 'eighty'.\n"

    def test_an_old_python_is_told_which_it_needs(self, tmp_path):
        text = (ROOT / "tenkaigen" / "bootstrap.py").read_text()
        demanding = tmp_path / "bootstrap.py"
        demanding.write_text(text.replace("PYTHON_MIN = (3, 11)", "PYTHON_MIN = (9, 0)"))
        argv = [sys.executable, str(demanding), "requirements.txt"]
        result = subprocess.run(argv, capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stderr.startswith("TenkaiGen needs Python 9.0 to 3.14; found 3.")
        assert len(result.stderr.splitlines()) == 1


def start_to_end(extra: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tenkaigen.launch"]
    return subprocess.run(argv, cwd=folder, env=clean_environment(extra), capture_output=True, text=True)


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """A newcomer's shell: none of the variables that this test run has set."""
    known = {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    return {name: value for name, value in os.environ.items() if name in known} | extra


class Launched:
    """A launcher in a process of its own, and what it printed."""

    def __init__(self, checkout: Path, port: int) -> None:
        self.checkout, self.port = checkout, port
        self.output = checkout / "output.txt"
        self.begun = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tenkaigen.launch"],
                cwd=checkout,
                env=clean_environment({"PORT": str(port)}),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_ready(self) -> float:
        """Return the seconds from the start to the banner, which comes when the page answers."""
        until(lambda: "Ctrl-C stops everything" in self.text() or self.process.poll() is not None, self)
        assert self.process.poll() is None, self.text()
        return time.monotonic() - self.begun

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def pids(self) -> dict[str, int]:
        recorded = json.loads((self.checkout / "var" / "run" / "processes.json").read_text())
        return {name: pid for name, (pid, _) in recorded.items()}

    def get(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return int(response.status)

    def end(self, number: int) -> dict[str, int]:
        """Send a signal to the launcher and return the process ids it had when it got it."""
        pids = self.pids()
        self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE_SECONDS)
        return pids


def until(condition, launched: Launched) -> None:
    assert wait_until(condition, seconds=PATIENCE_SECONDS), launched.text()[-3000:]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    private = tmp_path_factory.mktemp("private")
    private.chmod(0o700)
    folder = private / "tenkaigen"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    yield folder
    state = json.loads((folder / "var" / "embedded.json").read_text())
    if state["home"]:  # root's data are not below the checkout
        shutil.rmtree(state["home"])


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def launched(checkout: Path, port: int) -> Iterator[Launched]:
    launched = Launched(checkout, port)
    yield launched
    if launched.process.poll() is None:
        launched.end(signal.SIGTERM)


def test_first_start_one_program_dies_second_start_and_an_end_without_remains(checkout, port):
    """One story, because a start costs seconds."""
    first = Launched(checkout, port)
    try:
        assert first.wait_ready() < FIRST_START_SECONDS_MAX * busyness()
        assert f"TenkaiGen answers at http://127.0.0.1:{port}/" in first.text()
        assert "sign in as demo@" in first.text()
        assert first.get("/readyz") == 200
        until(lambda: set(first.pids()) == PROGRAMS, first)
        check_another_shell(checkout)
        check_second_launcher(checkout)
        check_one_death(first)
    finally:
        pids = first.end(signal.SIGINT)
    assert first.process.returncode == 0, first.text()
    assert [name for name, pid in pids.items() if started_at(pid) is not None] == []
    assert not (checkout / "var" / "embedded.env").exists()

    second = Launched(checkout, port)
    try:
        assert second.wait_ready() < SECOND_START_SECONDS_MAX * busyness()
    finally:
        pids = second.end(signal.SIGTERM)
    assert [name for name, pid in pids.items() if started_at(pid) is not None] == []


def check_another_shell(checkout: Path) -> None:
    """A command finds the servers of the running launcher by itself."""
    result = subprocess.run(
        [sys.executable, "manage.py", "audit_ledger"],
        cwd=checkout,
        env=clean_environment({}),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def check_second_launcher(checkout: Path) -> None:
    result = start_to_end({"PORT": "1"}, checkout)
    assert result.returncode == 1
    assert "it already runs from this folder" in result.stderr


def check_one_death(launched: Launched) -> None:
    """The worker is killed: it comes back, and the others keep their processes."""
    before = launched.pids()
    os.kill(before["worker"], signal.SIGKILL)
    until(lambda: launched.pids().get("worker") not in (None, before["worker"]), launched)
    after = launched.pids()
    assert {name for name in ("postgres", "valkey", "web", "beat") if after[name] != before[name]} == set()


def test_a_killed_launcher_leaves_nothing_and_the_next_start_is_as_good(launched, checkout, port):
    launched.wait_ready()
    until(lambda: set(launched.pids()) == PROGRAMS, launched)
    web = launched.pids()["web"]
    pids = launched.end(signal.SIGKILL)
    if sys.platform == "linux":
        until(lambda: not any(started_at(pid) for pid in pids.values()), launched)
        until(lambda: not group_lives(web), launched)
    again = Launched(checkout, port)
    try:
        again.wait_ready()
        assert again.get("/readyz") == 200
    finally:
        again.end(signal.SIGINT)


def group_lives(pid: int) -> bool:
    """Whether anything is left of a program's session: gunicorn's workers are children of a child."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def test_a_page_that_never_comes_is_an_end_with_a_reason(checkout, port):
    broken = checkout / "tenkaigen" / "wsgi.py"
    text = broken.read_text()
    broken.write_text("raise SystemExit('broken on purpose')\n")
    (checkout / "seconds.py").write_text(
        "from tenkaigen import launch\nimport sys\nlaunch.WEB_SECONDS_MAX = 3\nsys.exit(launch.main())\n"
    )
    try:
        result = subprocess.run(
            [sys.executable, "seconds.py"],
            cwd=checkout,
            env=clean_environment({"PORT": str(port)}),
            capture_output=True,
            text=True,
        )
    finally:
        broken.write_text(text)
    assert result.returncode == 1
    assert result.stderr.startswith("TenkaiGen cannot start: the web server did not get ready within 3 s")
