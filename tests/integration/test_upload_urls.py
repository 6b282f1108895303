"""Training pictures by address: every hostile address, and servers that redirect, rebind, drip and lie."""

from urllib.parse import urlsplit

import pytest

from generation import storage
from generation.custom import fetching, pictures
from generation.models import TrainingImage
from generation.training_limits import URLS_MAX
from tenkaigen.outgoing import Client
from tests.custom import make_draft
from tests.factories import make_user
from tests.fake_web import FakeWeb, after, hangs_up, raw, redirects, sends, streams
from tests.hostile_files import CANARY, encoded, scene
from tests.integration.pages import client_of
from tests.unit.test_hostile_urls import CORPUS, canaries, connects

__all__ = ["canaries", "connects"]  # fixtures
NAME = "pictures.example.com"
PICTURE = encoded(scene(), "PNG")
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def model(user):
    return make_draft(user, pictures=0)


@pytest.fixture
def web():
    with FakeWeb() as server:
        yield server


@pytest.fixture
def inside():
    """A server that nobody allowed, with a picture on it."""
    with FakeWeb(address="127.0.0.2") as server:
        server.answers["/"] = sends(200, PICTURE, content_type="image/png")
        yield server
        assert server.connections == 0


def add(model, user, urls, client):
    result = pictures.add_urls(model, user=user, urls=urls, client=client)
    return len(result.added), [refused.reason for refused in result.refused]


def host_of(text):
    try:
        return urlsplit(text).hostname or ""
    except ValueError:
        return ""


def test_no_hostile_address_is_connected_to(model, user, connects, canaries):
    assert len(CORPUS) >= 120
    leads_to = {host_of(text): resolved for _, text, resolved in CORPUS if resolved}
    asked = set()

    def resolve(host, port, seconds):
        asked.add(host)
        return leads_to[host]

    client = Client(resolve=resolve)
    refused = 0
    for at in range(0, len(CORPUS), URLS_MAX):
        part = CORPUS[at : at + URLS_MAX]
        urls = [text.replace("{port}", str(canaries[0].port)) for _, text, _ in part]
        added, reasons = add(model, user, urls, client)
        refused += len(reasons)
        assert added == 0
        for (_, _, resolved), reason in zip(part, reasons, strict=True):
            # Whoever names a host that exists hears the same, whatever is there.
            assert (reason == fetching.NOTHING_THERE) == bool(resolved) and len(reason) < 100
    assert refused == len(CORPUS) and asked <= leads_to.keys()
    assert connects == [] and [canary.connections for canary in canaries] == [0, 0]
    assert not TrainingImage.objects.exists()


def test_hostile_addresses_are_answered_in_words(model, user, connects, canaries, monkeypatch):
    """Through the door that people use."""
    leads_to = {host_of(text): resolved for _, text, resolved in CORPUS if resolved}
    monkeypatch.setattr(fetching, "Client", lambda: Client(resolve=lambda host, port, seconds: leads_to[host]))
    person = client_of(user)
    for at in range(0, len(CORPUS), URLS_MAX):
        urls = "\n".join(text.replace("{port}", str(canaries[0].port)) for _, text, _ in CORPUS[at : at + URLS_MAX])
        answer = person.post(f"/models/{model.pk}/pictures", {"urls": urls})
        # 400: an address with blanks in it is several, and these more than one may send.
        assert answer.status_code in (400, 422)
        assert b'role="alert"' in answer.content or b'class="error"' in answer.content
    assert connects == [] and [canary.connections for canary in canaries] == [0, 0]
    assert not TrainingImage.objects.exists()


def test_redirects_and_rebinding_lead_nowhere_inside(model, user, web, inside):
    locations = [
        inside.url, f"//127.0.0.2:{inside.port}/", f"http://localhost:{inside.port}/", f"http://[::1]:{inside.port}/",
        f"http://2130706434:{inside.port}/", f"http://a@127.0.0.2:{inside.port}/", "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/", f"https://{NAME}/", f"http://{NAME}:{inside.port}/",
        "https://metadata.google.internal/", f"gopher://127.0.0.2:{inside.port}/_x",
    ]  # fmt: skip
    for number, location in enumerate(locations):
        web.answers[f"/{number}"] = redirects(f"/{number}/again")
        web.answers[f"/{number}/again"] = redirects(location, 307)
    asked = []

    def rebinding(host, port, seconds):
        """The second time that anybody asks, the name leads inside."""
        asked.append(host)
        return ["127.0.0.2"] if host == NAME or asked.count(host) > 1 else ["127.0.0.1"]

    client = Client(local=[web.place], resolve=rebinding)
    urls = [f"http://rebind-{number}.example.com:{web.port}/{number}" for number in range(len(locations))]
    assert add(model, user, urls, client) == (0, [fetching.NOTHING_THERE] * len(urls))
    assert [asked.count(f"rebind-{number}.example.com") for number in range(len(urls))] == [2] * len(urls)
    straight = Client(local=[web.place], resolve=lambda host, port, seconds: [{NAME: "127.0.0.2"}.get(host, host)])
    added, reasons = add(model, user, [f"{web.url}/{number}" for number in range(len(locations))], straight)
    assert added == 0 and len(reasons) == len(locations) and not TrainingImage.objects.exists()


def test_answers_are_judged_by_what_they_are(model, user, web, monkeypatch):
    monkeypatch.setattr(fetching, "FETCH_SECONDS_MAX", 1.5)
    web.answers |= {
        "/good": sends(200, PICTURE + CANARY, content_type="text/html"),
        "/moved": redirects("/other"),
        "/other": sends(200, encoded(scene(1), "JPEG", comment=CANARY), content_type=""),
        "/page": sends(200, b"<html>" + CANARY, content_type="image/png"),
        "/gone": sends(404, PICTURE, content_type="image/png"),
        "/large": sends(200, b"", content_type="image/png", Content_Length="20000001"),
        "/packed": sends(200, PICTURE, content_type="image/png", Content_Encoding="gzip"),
        "/cut": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + PICTURE[:90]),
        "/silent": after(20, sends(200, PICTURE)),
        "/drips": streams(b"x", 400, seconds_each=0.05),
        "/hangs-up": hangs_up(),
    }
    client = Client(local=[web.place])
    result = pictures.add_urls(model, user=user, urls=[f"{web.url}{path}" for path in web.answers], client=client)
    assert [refused.name.rpartition("/")[2] for refused in result.refused] == [
        "other", "page", "gone", "large", "packed", "cut", "silent", "drips", "hangs-up",
    ]  # fmt: skip
    said = {refused.name.rpartition("/")[2]: refused.reason for refused in result.refused}
    for path in ("gone", "cut", "silent", "drips", "hangs-up"):
        assert said[path] == fetching.NOTHING_THERE
    assert said["other"] == pictures.ALREADY_THERE  # by its redirect
    assert said["large"] == "The answer is larger than 20,000,000 bytes." and len(result.added) == 2
    for key in storage.walk(f"models/{model.team_id}/{model.pk}"):
        assert CANARY not in storage.read(key)


def test_addresses_that_have_no_turn_in_time_are_not_fetched(model, user, web, monkeypatch):
    monkeypatch.setattr(pictures, "SECONDS_MAX", 0.0)
    assert add(model, user, [f"{web.url}/a", f"{web.url}/b"], Client(local=[web.place])) == (0, [pictures.NO_TIME] * 2)
    assert web.connections == 0
