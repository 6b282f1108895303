"""The hundred hostile prompts through the whole way, against a Gemini that has been captured by every one of them."""

from collections.abc import Iterator

import pytest

from credits.audit import find_drift
from credits.models import Plan
from credits.queries import balance_of
from generation import expansion, services
from generation.models import Job
from tests import fake_gemini as fake
from tests.factories import make_job, make_params, make_user, team_of
from tests.fake_gemini import FakeGemini, good
from tests.unit.test_injections import INJECTIONS, is_clean

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
# What a captured model might try to set. Our schema has no such fields.
MORE = {
    "model": "flux-schnell",
    "size": "4096x4096",
    "width": 4096,
    "count": 100,
    "quality": "hd",
    "cost": 0,
    "seed": 1,
}
WORDS = {"expanded_prompt", "negative_prompt", "style", "franchise", "expander", "metadata", "run_after"}


@pytest.fixture
def gemini(settings) -> Iterator[FakeGemini]:
    with fake.switched_on(settings) as server:
        yield server


@pytest.fixture
def messages(monkeypatch) -> None:
    monkeypatch.setattr("generation.bell.app.send_task", lambda name, arguments, **options: None)


def test_whatever_is_asked_and_answered_the_request_stays_what_it_was(gemini, messages, settings):
    settings.GEMINI_TOKENS_PER_TEAM_DAY = 10_000_000
    Plan.objects.update(queue_cap=1000)
    user = make_user(credits=2000)
    for text in INJECTIONS:
        job = make_job(user, prompt=text, count=2)
        before = Job.objects.filter(id=job.id).values().get()
        gemini.will(good(f"a fox, {text}", negative_prompt=text, style=text, franchise=text, **MORE))
        assert services.improve_job(job.id)
        after = Job.objects.filter(id=job.id).values().get()
        assert {name for name in before if before[name] != after[name]} <= WORDS
        if after["expander"] == "gemini":
            assert is_clean(after["expanded_prompt"] + after["negative_prompt"] + after["franchise"])
            assert after["style"] == before["style"]
        else:
            assert after["expanded_prompt"] == before["expanded_prompt"]
            assert after["metadata"]["expansion_note"] == expansion.NOTES["unusable"]
    assert [question.words for question in gemini.questions] == [make_params(prompt=text).prompt for text in INJECTIONS]
    assert len({str(question.body["systemInstruction"]) for question in gemini.questions}) == 1
    assert balance_of(team_of(user)).held_centi == 100 * 2 * job.quote["unit_centi"]
    assert find_drift() == []
