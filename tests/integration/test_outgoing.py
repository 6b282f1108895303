"""The guarded client against real servers on loopback: redirects, rebinding, TLS, and answers that will not end."""

import datetime
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tenkaigen.outgoing import AnswerRefused, Client, FetchFailed, Limits, UrlRefused
from tests.fake_web import FakeWeb, after, hangs_up, raw, redirects, sends, streams

LIMITS = Limits(bytes_max=10_000, content_types=frozenset({"image/png"}), seconds_max=2, redirects_max=3)
PICTURE = b"\x89PNG picture"
NAME = "pictures.example.com"


@pytest.fixture
def web():
    with FakeWeb() as server:
        server.answers["/a.png"] = sends(200, PICTURE, content_type="image/png; charset=binary")
        yield server


@pytest.fixture
def canary():
    """A server that nobody allowed."""
    with FakeWeb(address="127.0.0.2") as server:
        yield server
        assert server.connections == 0


@pytest.fixture
def client(web):
    return Client(local=[web.place])


def refusal(client, url, error, limits=LIMITS, **options):
    with pytest.raises(error) as caught:
        client.get(url, limits, **options)
    return caught.value


def test_a_good_answer_comes_whole(client, web):
    answer = client.get(f"{web.url}/a.png?x=1", LIMITS, headers={"Authorization": "Bearer s"})
    assert (answer.status, answer.content_type, answer.body) == (200, "image/png", PICTURE)
    (asked,) = web.asked
    assert (asked.method, asked.path) == ("GET", "/a.png?x=1")
    assert asked.headers["Host"] == f"127.0.0.1:{web.port}" and asked.headers["Authorization"] == "Bearer s"
    assert asked.headers["Accept-Encoding"] == "identity" and "Cookie" not in asked.headers


def test_other_statuses_are_answers_too(client, web):
    web.answers["/gone"] = sends(410, b"gone")
    assert client.get(f"{web.url}/gone", LIMITS).status == 410


def test_a_post_carries_its_body_once_and_follows_nowhere(client, web, canary):
    web.answers["/jobs"] = redirects(f"{canary.url}/jobs", 307)
    answer = client.post(f"{web.url}/jobs", b"{}", LIMITS, headers={"Content-Type": "application/json"})
    assert answer.status == 307 and [asked.body for asked in web.asked] == [b"{}"]


# --- Redirects ------------------------------------------------------------------------------------------------------
def test_redirects_are_followed_without_what_was_meant_for_the_first_host(client, web):
    web.answers["/1"], web.answers["/2"] = redirects("/2", 303), redirects(f"{web.url}/a.png", 308)
    answer = client.get(f"{web.url}/1", LIMITS, headers={"Authorization": "Bearer s"})
    assert answer.body == PICTURE and answer.url == f"{web.url}/a.png"
    assert ["Authorization" in asked.headers for asked in web.asked] == [True, False, False]


def test_redirects_have_a_maximum(client, web):
    web.answers["/again"] = redirects("/again")
    assert "more than 3 times" in str(refusal(client, f"{web.url}/again", AnswerRefused))
    assert len(web.asked) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_host_inside_is_not_followed(client, web, canary, status):
    web.answers["/out"] = redirects(f"{canary.url}/secret", status)
    refusal(client, f"{web.url}/out", UrlRefused)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "https://127.0.0.2:{port}/", "http://[::1]:{port}/",
        "http://localhost:{port}/", "http://2130706434:{port}/", "http://a@127.0.0.2:{port}/", "file:///etc/passwd",
        "http:\\\\127.0.0.2:{port}/", "gopher://127.0.0.2:{port}/_x", "http://169.254.169.254/latest/meta-data/",
        "https://metadata.google.internal/", "//example.com:22/", "https://0x7f.2/",
    ],
)  # fmt: skip
def test_the_whole_check_is_made_again_on_every_hop(client, web, canary, location):
    web.answers["/1"], web.answers["/2"] = redirects("/2"), redirects(location.format(port=canary.port))
    refusal(client, f"{web.url}/1", UrlRefused)
    assert len(web.asked) == 2


def test_a_redirect_to_a_name_that_leads_inside_is_not_followed(web, canary):
    client = Client(local=[web.place], resolve=lambda host, port, seconds: [{NAME: "127.0.0.2"}.get(host, host)])
    web.answers["/1"] = redirects(f"https://{NAME}/")
    refusal(client, f"{web.url}/1", FetchFailed)


def test_the_list_of_hosts_holds_on_every_hop(client, web):
    web.answers["/1"] = redirects(f"https://{NAME}/")
    error = refusal(client, f"{web.url}/1", UrlRefused, hosts=["127.0.0.1"])
    assert NAME in error.detail and NAME not in str(error)
    refusal(client, f"{web.url}/a.png", UrlRefused, hosts=[NAME])
    assert len(web.asked) == 1


# --- Names ----------------------------------------------------------------------------------------------------------
def test_a_name_that_is_rebound_after_the_check_changes_nothing(web, canary):
    """One lookup serves the check and the connection; a second one would answer the canary."""
    asked = []

    def rebinding(host, port, seconds):
        asked.append(host)
        return [["127.0.0.1"], ["127.0.0.2"]][min(len(asked), 2) - 1]

    client = Client(local=[web.place], resolve=rebinding)
    assert client.get(f"http://{NAME}:{web.port}/a.png", LIMITS).body == PICTURE
    assert asked == [NAME] and web.asked[0].headers["Host"] == f"{NAME}:{web.port}"
    refusal(client, f"http://{NAME}:{web.port}/a.png", FetchFailed)


def test_a_rebinding_server_gains_nothing_between_two_hops(web, canary):
    web.answers["/1"] = redirects("/2")
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    client = Client(local=[web.place], resolve=lambda host, port, seconds: next(answers))
    refusal(client, f"http://{NAME}:{web.port}/1", FetchFailed)
    assert len(web.asked) == 1


@pytest.mark.parametrize("found", [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "::1"], []])
def test_one_bad_address_spoils_a_name(web, canary, found):
    client = Client(local=[web.place], resolve=lambda host, port, seconds: found)
    refusal(client, f"http://{NAME}:{web.port}/a.png", FetchFailed)
    assert web.connections == 0


def test_a_name_on_a_servers_own_port_must_lead_to_that_server(web):
    """The test's permit is for one address and port, not for plain http to anybody."""
    client = Client(local=[web.place], resolve=lambda host, port, seconds: ["93.184.216.34"])
    assert "not public" in refusal(client, f"http://{NAME}:{web.port}/", FetchFailed).detail


def test_a_slow_resolver_is_not_waited_for():
    def slow(host, port, seconds):
        raise OSError("the resolver is slow")

    refusal(Client(resolve=slow), f"https://{NAME}/", FetchFailed)


def test_proxies_of_the_environment_are_not_asked(client, web, canary, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, canary.url)
    assert client.get(f"{web.url}/a.png", LIMITS).body == PICTURE


# --- TLS ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of our own for `NAME`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_web(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    names = []
    context.sni_callback = lambda sock, name, context: names.append(name)
    with FakeWeb(tls=context) as server:
        server.answers["/a.png"] = sends(200, PICTURE, content_type="image/png")
        server.names = names
        yield server


def tls_client(server, certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    return Client(local=[server.place], resolve=lambda host, port, seconds: ["127.0.0.1"], tls=trusting)


def test_the_checked_address_must_prove_the_name(tls_web, certificate):
    client = tls_client(tls_web, certificate)
    assert client.get(f"https://{NAME}:{tls_web.port}/a.png", LIMITS).body == PICTURE
    assert tls_web.names == [NAME]


@pytest.mark.parametrize("name", ["other.example.com", "example.com", f"www.{NAME}"])
def test_a_certificate_of_another_name_is_not_trusted(tls_web, certificate, name):
    client = tls_client(tls_web, certificate)
    assert "ertificate" in refusal(client, f"https://{name}:{tls_web.port}/a.png", FetchFailed).detail
    assert tls_web.asked == []


def test_a_certificate_nobody_vouches_for_is_not_trusted(tls_web):
    client = Client(local=[tls_web.place], resolve=lambda host, port, seconds: ["127.0.0.1"])
    refusal(client, f"https://{NAME}:{tls_web.port}/a.png", FetchFailed)
    assert tls_web.asked == []


# --- Answers that are too much --------------------------------------------------------------------------------------
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"x" * 10_001


@pytest.mark.parametrize(
    "reply",
    [
        sends(200, LARGE, content_type="image/png"),
        sends(200, b"", content_type="image/png", Content_Length="99999999999999999999999999"),
        streams(b"x" * 5000, 3),
        raw(CHUNKED + b"2711\r\n" + LARGE + b"\r\n0\r\n\r\n"),
        sends(500, LARGE),
        sends(200, PICTURE, content_type="image/png", Content_Encoding="gzip"),
        sends(200, PICTURE, content_type="image/png", Content_Encoding="br, identity"),
        sends(200, PICTURE, content_type="text/html"),
        sends(200, PICTURE, content_type="image/svg+xml"),
        sends(200, PICTURE, content_type=""),
    ],
    ids=["long", "announced", "streamed", "chunked", "error", "gzip", "twice", "html", "svg", "untyped"],
)
def test_what_is_too_much_or_of_another_kind_is_refused(client, web, reply):
    web.answers["/x"] = reply
    refusal(client, f"{web.url}/x", AnswerRefused)


def test_an_answer_of_just_the_limit_is_taken(client, web):
    web.answers["/x"] = sends(200, LARGE[1:], content_type="image/png")
    assert len(client.get(f"{web.url}/x", LIMITS).body) == 10_000


@pytest.mark.parametrize(
    "reply",
    [
        hangs_up(),
        raw(b"not http at all\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 50\r\n\r\nshort"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"),
        raw(CHUNKED + b"zz\r\nxx\r\n"),
        raw(CHUNKED + b"5\r\nab"),
        raw(CHUNKED + b"1" * 100_000),
    ],
    ids=["hung-up", "no-http", "short", "many-headers", "long-header", "no-chunk", "cut-chunk", "long-chunk-line"],
)
def test_broken_answers_are_failures_not_crashes(client, web, reply):
    web.answers["/x"] = reply
    refusal(client, f"{web.url}/x", FetchFailed)


@pytest.mark.parametrize(
    "reply",
    [
        after(20, sends(200, PICTURE, content_type="image/png")),
        streams(b"x", 400, seconds_each=0.05),
        raw(b"HTTP/1.1 200 OK\r\nX-Patience: x", 400, seconds_each=0.05),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n", 400, seconds_each=0.05),
    ],
    ids=["silent", "drips", "drips-headers", "continues"],
)
def test_time_runs_out_for_whoever_drips(client, web, reply):
    web.answers["/x"] = reply
    began = time.monotonic()
    refusal(client, f"{web.url}/x", FetchFailed, Limits(bytes_max=10_000, seconds_max=0.6))
    assert time.monotonic() - began < 10


def test_redirects_share_one_time(client, web):
    web.answers["/slow"] = after(0.4, redirects("/slow"))
    began = time.monotonic()
    refusal(client, f"{web.url}/slow", FetchFailed, Limits(bytes_max=100, seconds_max=0.9, redirects_max=50))
    assert time.monotonic() - began < 10 and len(web.asked) <= 4
