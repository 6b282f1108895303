"""Gemini's words on their whole way through real processes, and a job that loses them: both are drawn."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from credits.audit import find_drift
from generation.models import Job
from tests import fake_gemini as fake
from tests.factories import make_job, make_user
from tests.fake_gemini import FakeGemini, good
from tests.faults.processes import ROOT, environment, running, wait_for

OURS = "a red fox by a lake, highly detailed, beautiful composition"


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue):
    """Other processes see what a test makes."""


@pytest.fixture
def gemini(settings) -> Iterator[FakeGemini]:
    with fake.switched_on(settings) as server:
        yield server


@contextmanager
def default_worker(gemini: FakeGemini, log: Path) -> Iterator[None]:
    """The Celery worker that runs everything short."""
    arguments = ["-A", "tenkaigen", "worker", "-Q", "default", "-P", "threads", "-c", "2", "--without-mingle"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *arguments],
            cwd=ROOT,
            env=environment(GEMINI_API_KEY="test-key", GEMINI_BASE_URL=gemini.url),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def finished(job: Job) -> Job | None:
    return Job.objects.filter(id=job.id, status="completed").first()


def test_a_submitted_job_is_drawn_with_geminis_words(gemini, tmp_path, settings):
    settings.EXPANSION_WAIT_SECONDS = 100  # its words end the wait, however slow the machine
    gemini.always(fake.after(0.5, good("a fox in the morning mist", style="neon")))
    log = tmp_path / "worker.log"
    with running("gpu_worker", log=tmp_path / "gpu.log"), default_worker(gemini, log):
        wait_for(lambda: " ready" in log.read_text(), log=log)
        job = make_job(make_user(credits=100))
        took = wait_for(lambda: finished(job), log=log)
    done = finished(job)
    assert (done.expander, done.style) == ("gemini", "neon"), log.read_text()
    assert done.expanded_prompt == "a fox in the morning mist, neon, cyberpunk, glowing lights at night"
    assert took < settings.EXPANSION_WAIT_SECONDS and len(gemini.questions) == 1 and find_drift() == []


def test_without_anybody_to_ask_the_job_is_drawn_with_our_words(gemini, tmp_path, settings):
    settings.EXPANSION_WAIT_SECONDS = 3
    with running("gpu_worker", log=tmp_path / "gpu.log"):
        job = make_job(make_user(credits=100))
        wait_for(lambda: finished(job), log=tmp_path / "gpu.log")
    done = finished(job)
    assert (done.expander, done.expanded_prompt) == ("local", OURS)
    assert (done.claimed_at - done.created_at).total_seconds() >= 3 and gemini.questions == [] and find_drift() == []
