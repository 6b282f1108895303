import re
from pathlib import Path

import pytest

from tenkaigen import failpoints
from tenkaigen.failpoints import KNOWN, Broken, arm, failpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def disarmed():
    yield
    arm("")


def test_an_unarmed_failpoint_does_nothing():
    arm("")
    assert failpoint("draw.step") is None


def test_an_armed_one_goes_off_once_at_its_turn_and_says_so(settings, tmp_path):
    settings.FAILPOINT_LOG = str(tmp_path / "log")
    arm("draw.step=raise@2")
    failpoint("draw.step")
    with pytest.raises(Broken, match=r"draw\.step"):
        failpoint("draw.step")
    failpoint("draw.step")
    assert (tmp_path / "log").read_text() == "draw.step\n"


@pytest.mark.parametrize("spec", ["nowhere=kill", "draw.step=explode", "draw.step"])
def test_a_typing_mistake_is_no_silent_pass(spec):
    with pytest.raises(AssertionError):
        arm(spec)


def test_every_known_failpoint_stands_in_the_code_and_no_other():
    written = set()
    for folder in ("accounts", "credits", "generation", "tenkaigen"):
        for file in (ROOT / folder).rglob("*.py"):
            if file != Path(failpoints.__file__):
                written |= set(re.findall(r'failpoint\("([a-z._]+)"\)', file.read_text()))
    assert written == KNOWN
