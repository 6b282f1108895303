"""The API with Redis gone, broker, cache and progress: slower, never wrong, never a 500."""

from uuid import uuid4

import pytest
from django.core.cache import caches
from django.test import Client

from accounts import services as account_services
from credits.queries import balance_of
from generation import events
from generation.models import Job
from tenkaigen.celery import app
from tests.factories import make_user, team_of
from tests.patience import quickest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("catalogue")]
REFUSED = "redis://127.0.0.1:1/0"  # nothing listens there
ASK = {"prompt": "a red fox by a lake", "num_inference_steps": 2, "seed": 7}
SECONDS_MAX = 3


@pytest.fixture
def no_redis(settings, monkeypatch):
    settings.REDIS_URL = REFUSED
    options = {"LOCATION": REFUSED, "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1}}
    settings.CACHES = {
        "default": {"BACKEND": "tenkaigen.cache.ForgivingRedisCache", **options},
        "sessions": {"BACKEND": "tenkaigen.cache.SessionCache", **options},
    }
    monkeypatch.setattr(app.conf, "broker_url", REFUSED)
    forget_connections()
    yield
    events._broken_until = 0.0
    monkeypatch.undo()
    forget_connections()


def forget_connections() -> None:
    events.client.cache_clear()
    app.pool.force_close_all()
    app._pool = None
    app.amqp._producer_pool = None


@pytest.fixture(params=["key", "session"])
def client(request) -> Client:
    user = make_user(credits=100)
    if request.param == "key":
        _, text = account_services.create_api_key(team=team_of(user), user=user, name="ci")
        return Client(headers={"X-API-Key": text})
    signed_in = Client()
    signed_in.force_login(user)
    return signed_in


def test_a_request_is_accepted_and_charged_once(client, no_redis):
    def order_twice():
        key = {"Idempotency-Key": uuid4().hex}
        answers = [client.post("/api/v1/generate", ASK, content_type="application/json", headers=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        job = Job.objects.latest("created_at")
        assert {answer.json()["id"] for answer in answers} == {str(job.id)}
        assert (job.status, balance_of(job.team).held_centi) == ("queued", 600 * Job.objects.count())

    assert quickest(order_twice, under=SECONDS_MAX) < SECONDS_MAX


def test_watching_listing_and_canceling_go_on(client, no_redis):
    def watch_and_cancel():
        made = client.post("/api/v1/generate", ASK, content_type="application/json")
        seen = client.get(made["Location"]).json()
        assert (seen["status"], seen["progress"]["position"]) == ("queued", 1)
        assert client.get("/api/v1/jobs").status_code == 200
        assert client.delete(f"/api/v1/jobs/{seen['id']}").json()["status"] == "canceled"
        assert client.get("/api/v1/styles").status_code == 200

    assert quickest(watch_and_cancel, under=SECONDS_MAX) < SECONDS_MAX


def test_the_cache_forgets_instead_of_failing(no_redis):
    cache = caches["default"]
    cache.set("a", 1)
    cache.set_many({"b": 2})
    cache.delete("a")
    cache.delete_many(["b"])
    assert cache.add("a", 1) is True
    assert cache.get("a", "nothing") == "nothing" and cache.get_many(["a"]) == {}
    assert (cache.incr("a"), "a" in cache, cache.touch("a")) == (1, False, False)


def test_the_cache_remembers_when_redis_is_there(settings):
    settings.CACHES = {"default": {"BACKEND": "tenkaigen.cache.ForgivingRedisCache", "LOCATION": settings.REDIS_URL}}
    cache = caches["default"]
    cache.set("a", {"b": [1]}, 5)
    assert cache.get("a") == {"b": [1]} and "a" in cache and cache.touch("a", 9)
    assert cache.add("a", 2) is False and cache.get_many(["a", "x"]) == {"a": {"b": [1]}}
    cache.set("n", 1)
    assert cache.incr("n") == 2 and cache.delete("n") and not cache.delete("n")
    with pytest.raises(ValueError, match="not found"):
        cache.incr("n")
