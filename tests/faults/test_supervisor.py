"""The supervisor with stand-in programs: what dies comes back, what must end ends, nothing stays behind."""

import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenkaigen import processes, supervisor
from tenkaigen.processes import Roster, started_at, wait_until
from tenkaigen.supervisor import Program, Supervisor

PATIENCE_SECONDS = 60


def script(name: str, code: str, **options: object) -> Program:
    return Program(name=name, argv=(sys.executable, "-S", "-c", textwrap.dedent(code)), **options)  # type: ignore[arg-type]


def sleeper(name: str) -> Program:
    return script(name, "import time; print('up', flush=True); time.sleep(600)")


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def boss(tmp_path: Path, screen: io.StringIO) -> Iterator[Supervisor]:
    boss = Supervisor(run_dir=tmp_path / "run", log_dir=tmp_path / "log", out=screen)
    yield boss
    boss.stop()


def until(boss: Supervisor, condition: Callable[[], bool]) -> None:
    assert boss.run_until(condition, seconds=PATIENCE_SECONDS)


def test_a_killed_program_comes_back_and_the_others_never_notice(boss, screen, monkeypatch):
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS_MIN", 0.1)
    boss.start(sleeper("web"), sleeper("gpu"))
    until(boss, lambda: screen.getvalue().count("up") == 2)
    web, gpu = boss.pid("web"), boss.pid("gpu")
    os.kill(gpu, signal.SIGKILL)
    until(boss, lambda: screen.getvalue().count("up") == 3)
    assert boss.pid("web") == web
    assert boss.pid("gpu") not in (None, gpu)
    assert "gpu ended with code -9; starting it again" in screen.getvalue()


def test_a_program_that_dies_at_once_is_started_less_and_less_often(boss):
    child = supervisor._Child(sleeper("web"), boss._log_dir / "web.log")
    child.started = 1000
    pauses = [child.plan_restart(now=1000) for _ in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_minute_of_health_is_forgiveness(boss):
    child = supervisor._Child(sleeper("web"), boss._log_dir / "web.log")
    child.started = 1000
    assert [child.plan_restart(now=1001), child.plan_restart(now=1001)] == [1, 2]
    assert child.plan_restart(now=1000 + supervisor.HEALTHY_SECONDS) == 1


def test_a_program_that_cannot_be_started_is_tried_again(boss, screen):
    boss.start(Program(name="lost", argv=("/no/such/program",)))
    assert not boss.is_running("lost")
    assert "lost could not be started" in screen.getvalue()
    assert boss._children["lost"].restart_at is not None


def test_stop_asks_first_and_kills_what_does_not_listen(boss, screen, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 2)
    polite = script("polite", "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit('bye'))\nprint('up')\n"
                    "sys.stdout.flush()\ntime.sleep(600)")  # fmt: skip
    deaf = script("deaf", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\n"
                  "time.sleep(600)")  # fmt: skip
    boss.start(polite, deaf)
    until(boss, lambda: screen.getvalue().count("up") == 2)
    pids = [boss.pid("polite"), boss.pid("deaf")]
    boss.stop()
    assert [started_at(pid) for pid in pids] == [None, None]
    assert "polite    | bye" in screen.getvalue()
    assert "deaf did not stop and is killed" in screen.getvalue()
    assert "polite did not" not in screen.getvalue()


def test_what_a_dead_program_started_dies_with_it(boss, screen):
    boss.start(script("parent", PARENT))
    until(boss, lambda: "grandchild" in screen.getvalue())
    grandchild = int(screen.getvalue().split("grandchild ")[1].split()[0])
    os.kill(boss.pid("parent"), signal.SIGKILL)
    until(boss, lambda: "parent ended" in screen.getvalue())
    assert wait_until(lambda: started_at(grandchild) is None, seconds=PATIENCE_SECONDS)


PARENT = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    print("grandchild", child.pid, flush=True)
    time.sleep(600)
"""


def test_a_program_that_runs_once_leaves_its_exit_code(boss):
    boss.start(script("setup", "raise SystemExit(3)", is_service=False))
    until(boss, lambda: boss.exit_code("setup") is not None)
    assert boss.exit_code("setup") == 3
    assert not boss.is_running("setup")


def test_every_line_names_its_program_and_is_in_its_log(boss, screen, tmp_path):
    boss.start(script("web", "import sys; sys.stdout.write('one\\ntwo')", is_service=False))
    until(boss, lambda: boss.exit_code("web") is not None)
    assert screen.getvalue() == "web       | one\nweb       | two\n"
    assert (tmp_path / "log" / "web.log").read_text() == "one\ntwo\n"


def test_a_quiet_program_only_fills_its_log(boss, screen, tmp_path):
    boss.start(script("postgres", "print('ready')", is_service=False, is_echoed=False))
    until(boss, lambda: boss.exit_code("postgres") is not None)
    assert screen.getvalue() == ""
    assert (tmp_path / "log" / "postgres.log").read_text() == "ready\n"


def test_a_log_starts_fresh_and_the_last_three_stay(tmp_path):
    path = tmp_path / "web.log"
    for number in range(6):
        log = supervisor.RotatingLog(path)
        log.write(b"run %d" % number)
        log.close()
    assert path.read_text() == "run 5\n"
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert kept == {"web.log": "run 5\n", "web.log.1": "run 4\n", "web.log.2": "run 3\n", "web.log.3": "run 2\n"}


def test_a_log_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "LOG_BYTES_MAX", 100)
    log = supervisor.RotatingLog(tmp_path / "web.log")
    for _ in range(100):
        log.write(b"0123456789")
    log.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 5 * 120


SUPERVISING = """
    import sys
    from pathlib import Path
    from tenkaigen.supervisor import Program, Supervisor
    boss = Supervisor(run_dir=Path(sys.argv[1]) / "run", log_dir=Path(sys.argv[1]) / "log")
    boss.heed_signals()
    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
    boss.start(*(Program(name=name, argv=(sys.executable, "-S", "-c", code)) for name in ("web", "gpu")))
    boss.run()
    boss.stop()
"""


@pytest.fixture
def supervising(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A supervisor in a process of its own, and the ids of its two programs."""
    argv = [sys.executable, "-c", textwrap.dedent(SUPERVISING), str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    pids = [int(process.stdout.readline().split()[-1]) for _ in range(2)]
    yield process, pids
    process.kill()
    process.wait()
    for pid in pids:
        processes.signal_group(pid, signal.SIGKILL)


def all_gone(pids: list[int]) -> bool:
    return wait_until(lambda: all(started_at(pid) is None for pid in pids), seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(supervising, number):
    process, pids = supervising
    process.send_signal(number)
    assert process.wait(timeout=PATIENCE_SECONDS) == 0
    assert all_gone(pids)
    assert "is killed" not in process.stdout.read()  # asked, and given the time they needed


def test_a_killed_supervisor_leaves_nothing_behind(supervising, tmp_path):
    process, pids = supervising
    process.kill()
    process.wait()
    if sys.platform != "linux":  # no parent-death signal there: the next start does it
        Roster(tmp_path / "run" / "processes.json").end_strays()
    assert all_gone(pids)


def test_the_next_start_ends_what_a_crash_left_behind(tmp_path):
    stray = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    roster = Roster(tmp_path / "processes.json")
    roster.add("gpu", stray.pid)
    assert Roster(tmp_path / "processes.json").end_strays() == ["gpu"]
    assert stray.wait(timeout=PATIENCE_SECONDS) == -signal.SIGTERM


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path):
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        path = tmp_path / "processes.json"
        path.write_text(f'{{"gpu": [{bystander.pid}, 12345.0]}}')
        assert Roster(path).end_strays() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
