"""More than 120 hostile addresses: the guarded client refuses each, and nothing is connected to anywhere."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenkaigen.outgoing import Client, FetchFailed, Limits, OutgoingError, UrlRefused, addresses, urls
from tests.fake_web import FakeWeb

FILE = Path(__file__).parent / "hostile_urls.txt"
LIMITS = Limits(bytes_max=1000, seconds_max=2)
LEADS_NOWHERE = "Nothing could be fetched from this address."
_connects: list[object] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _connects is not None and event == "socket.connect":
        _connects.append(arguments[1])


sys.addaudithook(_watch)  # the interpreter's own record: no connection can be made around it


def read_corpus() -> list[tuple[str, str, list[str]]]:
    """(family, address, what its host resolves to) of every line."""
    family, found = "", []
    for line in FILE.read_text().splitlines()[2:]:
        if line.startswith("# "):
            family = line[2:]
        elif line:
            text, _, resolved = line.partition(" => ")
            found.append((family, re.sub(r"\\u([0-9a-f]{4})", lambda f: chr(int(f[1], 16)), text), resolved.split()))
    return found


CORPUS = read_corpus()


@pytest.fixture(scope="module")
def canaries() -> Iterator[list[FakeWeb]]:
    with FakeWeb(address="127.0.0.1") as first, FakeWeb(address="127.0.0.2") as second:
        yield [first, second]


@pytest.fixture(scope="module")
def own_server() -> Iterator[FakeWeb]:
    """Having allowed one server of its own, a client is as strict about all others."""
    with FakeWeb() as web:
        yield web


@pytest.fixture
def connects() -> Iterator[list[object]]:
    global _connects
    _connects = []
    yield _connects
    _connects = None


def test_there_are_enough_of_many_kinds():
    families = Counter(family for family, _, _ in CORPUS)
    assert sum(families.values()) >= 120 and len({text for _, text, _ in CORPUS}) == len(CORPUS)
    assert len(families) == 8 and min(families.values()) >= 10


def test_the_watch_sees_a_connection(connects, canaries):
    Client(local=[canaries[0].place]).get(f"{canaries[0].url}/", LIMITS)
    assert connects == [canaries[0].place]
    canaries[0].connections = 0


@pytest.mark.parametrize("is_own_allowed", [False, True], ids=["strict", "with-a-local-server"])
@pytest.mark.parametrize(("family", "text", "resolved"), CORPUS, ids=[repr(text)[1:-1] for _, text, _ in CORPUS])
def test_a_hostile_address_connects_to_nothing(family, text, resolved, is_own_allowed, connects, canaries, own_server):
    asked = []

    def resolve(host, port, seconds):
        asked.append(host)
        return resolved

    client = Client(local=[own_server.place] if is_own_allowed else (), resolve=resolve)
    for canary in canaries:
        with pytest.raises(OutgoingError) as caught:
            client.get(text.replace("{port}", str(canary.port)), LIMITS)
        assert type(caught.value) is (FetchFailed if resolved else UrlRefused)
        assert 400 <= caught.value.http_status < 500 and len(str(caught.value)) < 100
        if resolved:
            assert str(caught.value) == LEADS_NOWHERE
        assert bool(asked) == bool(resolved)
    assert connects == []
    assert [canary.connections for canary in canaries] == [0, 0]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "localhost"])
def test_what_the_system_makes_of_a_number_is_not_public(host):
    """The parser refuses such hosts; should one come through, the check of the address stands behind it."""
    assert [address for address in addresses.look_up(host, 443, 2) if addresses.is_public(address)] == []


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "2606:4700::1111"])
def test_public_addresses_are_public(address):
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("https://example.com", "example.com", "/"),
        ("https://EXAMPLE.com:443/a?b=c&d=%20#e", "example.com", "/a?b=c&d=%20"),
        ("https://example.com?x=1", "example.com", "/?x=1"),
        ("https://bücher.example/ä", "xn--bcher-kva.example", "/%C3%A4"),
        ("https://a-b.example.co.uk/{x}/../y", "a-b.example.co.uk", "/%7Bx%7D/../y"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", "/"),
        ("https://fal.media/files/a/b.png?X-Sig=a%2Fb%3D", "fal.media", "/files/a/b.png?X-Sig=a%2Fb%3D"),
    ],
)
def test_good_addresses_are_taken(text, host, path):
    assert urls.parse(text) == urls.Target("https", host, 443, path)


def test_a_list_of_hosts_knows_names_below_a_name():
    allowed = ["fal.media", ".example.com"]
    assert [host for host in ("fal.media", "a.example.com", "a.b.example.com") if urls.is_among(host, allowed)] == [
        "fal.media", "a.example.com", "a.b.example.com",
    ]  # fmt: skip
    for host in ("example.com", "evilexample.com", "a.fal.media", "fal.media.evil.org", "xfal.media"):
        assert not urls.is_among(host, allowed)
