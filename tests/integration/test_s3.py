"""The private bucket against moto over HTTP: links, headers, listings, and every way a store can fail."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from generation import cleanup, s3, storage
from generation.models import Image
from tests import s3_shim
from tests.factories import make_job, make_user

ROOT = Path(__file__).resolve().parents[2]
PICTURE = bytes(range(256)) * 400  # 100 KB


@pytest.fixture(scope="module")
def servers():
    with s3_shim.running() as shim:
        yield shim


@pytest.fixture
def shim(servers):
    s3_shim.empty(servers)
    return servers


@pytest.fixture
def direct(shim):
    return s3_shim.direct_client(shim)


@pytest.fixture
def bucket(shim, settings, monkeypatch):
    """The bucket as the product's image store, with short waits."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)
    settings.STORE_RETRY_SECONDS = 0.01
    settings.STORAGES = settings.STORAGES | {"default": s3_shim.storage_setting(shim)}
    return default_storage


@pytest.fixture
def hasty(bucket, shim, settings):
    """The same, for a store that is silent: nobody wants to wait for that for long."""
    settings.STORAGES = settings.STORAGES | {"default": s3_shim.storage_setting(shim, read_seconds=1)}


def held(direct):
    """Every file the store really holds."""
    listed = direct.list_objects_v2(Bucket=s3_shim.BUCKET).get("Contents", [])
    return {entry["Key"]: direct.get_object(Bucket=s3_shim.BUCKET, Key=entry["Key"])["Body"].read() for entry in listed}


def uploads(direct):
    return direct.list_multipart_uploads(Bucket=s3_shim.BUCKET).get("Uploads", [])


# --- Links ---


def test_a_link_is_signed_with_version_4_and_lives_300_seconds(bucket, shim):
    storage.put("ai-generated/1/a.png", PICTURE)
    link = bucket.url("ai-generated/1/a.png")
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["300"]
    assert query["X-Amz-SignedHeaders"] == ["host"]
    assert query["X-Amz-Credential"][0].startswith(f"{s3_shim.KEY}/") and s3_shim.REGION in query["X-Amz-Credential"][0]
    assert "AWSAccessKeyId" not in query and "Signature" not in query  # version 2
    assert urlsplit(link).path == f"/{s3_shim.BUCKET}/ai-generated/1/a.png"
    answer = httpx.get(link)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PICTURE, "image/png")
    assert answer.headers["cache-control"] == "private, max-age=300"


@pytest.mark.parametrize("seconds", [301, 3600, 604_800])
def test_nobody_gets_a_link_that_lives_longer(bucket, seconds):
    assert "X-Amz-Expires=300&" in bucket.url("ai-generated/1/a.png", expire=seconds)
    assert "X-Amz-Expires=60&" in bucket.url("ai-generated/1/a.png", expire=60)


def test_a_read_without_a_signature_is_refused(bucket, shim):
    storage.put("ai-generated/1/a.png", PICTURE)
    assert httpx.get(bucket.url("ai-generated/1/a.png").split("?")[0]).status_code == 403


def test_a_link_with_a_name_saves_the_file_as_that(bucket):
    image = Image(key="ai-generated/1/a.png", preview_key="p", thumbnail_key="t")
    storage.put(image.key, PICTURE)
    answer = httpx.get(storage.short_lived_url(image, "original", "tenkaigen-fox-7.png"))
    assert answer.headers["content-disposition"] == 'attachment; filename="tenkaigen-fox-7.png"'
    assert "content-disposition" not in httpx.get(storage.short_lived_url(image, "original")).headers


def test_a_cdn_takes_the_host_and_nothing_else(shim):
    plain = s3.PrivateBucket(**s3_shim.storage_options(shim))
    fronted = s3.PrivateBucket(**s3_shim.storage_options(shim, cdn_domain="cdn.example.com"))
    link, through_cdn = urlsplit(plain.url("ai-generated/1/a.png")), urlsplit(fronted.url("ai-generated/1/a.png"))
    assert (through_cdn.scheme, through_cdn.netloc, through_cdn.path) == ("https", "cdn.example.com", link.path)
    assert parse_qs(through_cdn.query).keys() == parse_qs(link.query).keys()
    # An origin that is asked under its own name, with this path and query, gets the request that was signed.
    assert httpx.get(through_cdn._replace(scheme="http", netloc=urlsplit(shim.url).netloc).geturl()).status_code == 404


@pytest.mark.parametrize(
    ("environment", "origin"),
    [
        ({"B2_S3_ENDPOINT": "s3.us-west-004.backblazeb2.com"}, "https://s3.us-west-004.backblazeb2.com"),
        ({"B2_S3_ENDPOINT": "http://store.localhost:9000/"}, "http://store.localhost:9000"),
        (
            {"B2_S3_ENDPOINT": "https://s3.example.com", "B2_S3_CDN_DOMAIN": "https://cdn.example.com/"},
            "https://cdn.example.com",
        ),
    ],
)
def test_the_environment_alone_makes_the_store_and_what_pages_may_show(environment, origin):
    given = {
        "B2_S3_REGION": "us-west-004",
        "B2_S3_BUCKET": "pictures",
        "B2_S3_ACCESS_KEY_ID": "k",
        "B2_S3_SECRET_ACCESS_KEY": "s",
        "B2_S3_PREFIX": "/made-here/",
        "DJANGO_SETTINGS_MODULE": "tenkaigen.settings",
        # What somebody uses for other things on this machine changes nothing.
        "AWS_PROFILE": "of-something-else",
        "AWS_ENDPOINT_URL": "https://elsewhere.example.com",
        "AWS_SESSION_TOKEN": "another-token",
        "AWS_ACCESS_KEY_ID": "another-key",
        **environment,
    }
    program = (
        "import django, json; django.setup(); from django.conf import settings;"
        "from django.core.files.storage import default_storage as store;"
        "print(json.dumps([settings.CONTENT_SECURITY_POLICY['DIRECTIVES']['img-src'],"
        " store.url(settings.STORAGE_PREFIX + '/a.png'), type(store._wrapped).__name__]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | given, cwd=ROOT, capture_output=True, text=True, check=True
    )
    sources, link, kind = json.loads(ran.stdout)
    assert kind == "PrivateBucket" and sources == ["'self'", "data:", origin]
    assert link.startswith(f"{origin}/pictures/made-here/a.png?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert "&X-Amz-Expires=300&" in link and "X-Amz-Credential=k%2F" in link and "Token" not in link


def test_threads_share_what_is_dear_to_make(bucket, direct):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: storage.put(f"ai-generated/1/{number}.png", PICTURE), range(12)))
        clients = set(pool.map(lambda number: id(bucket.client), range(12)))
    assert len(clients) == 1 and len(held(direct)) == 12


# --- What goes over the wire ---


def test_a_file_goes_up_in_one_request_without_access_lists_or_new_checksums(bucket, shim, direct):
    storage.put("ai-generated/1/a.webp", PICTURE)
    (sent,) = shim.seen  # and no HEAD before it
    assert sent.method == "PUT" and sent.headers["content-type"] == "image/webp"
    assert "AWS4-HMAC-SHA256" in sent.headers["authorization"]
    assert not [name for name in sent.headers if name.startswith("x-amz-checksum") or name == "x-amz-acl"]
    assert "x-amz-sdk-checksum-algorithm" not in sent.headers and "content-encoding" not in sent.headers
    assert held(direct) == {"ai-generated/1/a.webp": PICTURE}


def test_a_large_file_goes_up_in_parts(bucket, shim, direct, monkeypatch):
    monkeypatch.setattr(bucket.transfer_config, "multipart_threshold", 6 * 2**20)
    monkeypatch.setattr(bucket.transfer_config, "multipart_chunksize", 5 * 2**20)
    large = os.urandom(2**20) * 11
    storage.put("ai-generated/1/model.safetensors", large)
    assert len(shim.calls("PUT")) == 3 and not uploads(direct)
    assert held(direct) == {"ai-generated/1/model.safetensors": large}
    assert storage.read("ai-generated/1/model.safetensors") == large


def test_an_upload_in_parts_that_fails_leaves_nothing_behind(bucket, shim, direct, monkeypatch, settings):
    monkeypatch.setattr(bucket.transfer_config, "multipart_threshold", 6 * 2**20)
    monkeypatch.setattr(bucket.transfer_config, "multipart_chunksize", 5 * 2**20)
    settings.STORE_TRIES_MAX = 1
    shim.break_next("PUT", *[s3_shim.answer(503)] * s3.ATTEMPTS_MAX)
    with pytest.raises(storage.StorageFailed):
        storage.put("ai-generated/1/model.safetensors", bytes(11 * 2**20))
    assert held(direct) == {} and uploads(direct) == []


# --- Faults: each ends with the file there exactly once, or with StorageFailed ---

TRIES = s3.ATTEMPTS_MAX * 4  # botocore's tries, times STORE_TRIES_MAX
FAULTS = {
    "busy": s3_shim.answer(503),
    "broken": s3_shim.answer(500),
    "stored, but says it was not": s3_shim.store_then_answer(500),
    "cut at once": s3_shim.cut_upload(0),
    "cut half-way": s3_shim.cut_upload(len(PICTURE) // 2),
    "cut before the last byte": s3_shim.cut_upload(len(PICTURE) - 1),
}


@pytest.mark.parametrize("times", [1, s3.ATTEMPTS_MAX])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_store_that_fails_for_a_while_has_the_file_once(bucket, shim, direct, fault, times):
    shim.break_next("PUT", *[fault] * times)
    storage.put("ai-generated/1/a.png", PICTURE)
    assert held(direct) == {"ai-generated/1/a.png": PICTURE}
    assert len(shim.calls("PUT")) == times + 1


@pytest.mark.parametrize("times", [1, s3.ATTEMPTS_MAX])
def test_a_store_that_is_silent_for_a_while_has_the_file_once(hasty, shim, direct, times):
    shim.break_next("PUT", *[s3_shim.stall] * times)
    began = time.monotonic()
    storage.put("ai-generated/1/a.png", PICTURE)
    assert time.monotonic() - began < s3_shim.STALL_SECONDS_MAX / 2  # our patience ends, not the store's
    assert held(direct) == {"ai-generated/1/a.png": PICTURE}
    assert len(shim.calls("PUT")) == times + 1


@pytest.mark.parametrize("fault", [FAULTS["busy"], FAULTS["cut half-way"]], ids=["busy", "cut half-way"])
def test_a_store_that_stays_down_is_a_typed_failure_after_a_bounded_number_of_tries(bucket, shim, direct, fault):
    shim.break_next("PUT", *[fault] * 100)
    with pytest.raises(storage.StorageFailed):
        storage.put("ai-generated/1/a.png", PICTURE)
    assert len(shim.calls("PUT")) == TRIES and held(direct) == {}


def test_a_store_that_keeps_the_file_and_always_says_no_still_holds_it_once(bucket, shim, direct):
    shim.break_next("PUT", *[FAULTS["stored, but says it was not"]] * 100)
    with pytest.raises(storage.StorageFailed):
        storage.put("ai-generated/1/a.png", PICTURE)
    assert held(direct) == {"ai-generated/1/a.png": PICTURE}
    storage.delete(["ai-generated/1/a.png"])  # as the post stage does
    assert held(direct) == {}


def test_wrong_keys_are_the_same_typed_failure(bucket, shim, direct, settings):
    settings.STORE_TRIES_MAX = 1
    shim.break_next("PUT", *[s3_shim.answer(403)] * 100)
    with pytest.raises(storage.StorageFailed):
        storage.put("ai-generated/1/a.png", PICTURE)
    assert len(shim.calls("PUT")) <= 2  # botocore asks once more, in case the bucket lies in another region


@pytest.mark.parametrize("fault", [s3_shim.answer(503), s3_shim.cut_answer(5000), s3_shim.stall])
def test_a_download_that_breaks_off_is_read_again(hasty, shim, fault):
    storage.put("ai-generated/1/a.png", PICTURE)
    shim.break_next("GET", fault)
    assert storage.read("ai-generated/1/a.png") == PICTURE


def test_a_file_that_is_not_there_is_file_not_found(bucket):
    with pytest.raises(FileNotFoundError):
        storage.read("ai-generated/1/none.png")
    storage.delete(["ai-generated/1/none.png"])


def test_all_the_waiting_for_a_dead_store_fits_into_a_lease_that_shows_no_progress(settings):
    pauses = sum(0.5 * 2**number for number in range(settings.STORE_TRIES_MAX - 1))
    # botocore waits at most 1 s, then 2 s, between three tries.
    request = s3.ATTEMPTS_MAX * (s3.CONNECT_SECONDS + s3.READ_SECONDS) + 3
    assert s3.READ_SECONDS + s3.CONNECT_SECONDS < settings.LEASE_SECONDS / 3
    assert settings.STORE_TRIES_MAX * request + pauses < settings.STALL_SECONDS


# --- Listing and sweeping ---


def test_a_listing_needs_one_request_for_a_thousand_files(bucket, shim, settings):
    patient = s3_shim.storage_setting(shim, read_seconds=10)  # moto needs its time for a thousand
    settings.STORAGES = settings.STORAGES | {"default": patient}
    names = [f"ai-generated/{number % 7}/{number}.png" for number in range(1005)]
    for name in [*names, "ai-generated-not/1.png"]:
        s3_shim.put_quickly(name)
    found = list(storage.listing())
    assert len(found) == 1005 and all(stored.modified_at.tzinfo for stored in found)
    assert [request.method for request in shim.seen] == ["GET", "GET"]
    assert set(storage.walk("ai-generated/3")) == {stored.key for stored in found if "/3/" in stored.key}


@pytest.mark.django_db
def test_files_and_uploads_without_an_end_are_swept(bucket, shim, direct, settings, call):
    storage.put("ai-generated/1/orphan.png", PICTURE)
    # moto says that every upload was begun in 2010, so the age of a young one is tested below.
    direct.create_multipart_upload(Bucket=s3_shim.BUCKET, Key="ai-generated/1/half.png")
    assert call("sweep_storage")[-1] == "without a row: 0"  # it is young
    settings.ORPHAN_AGE_HOURS = -1
    listed = call("sweep_storage")
    assert listed[0].startswith("ai-generated/1/half.png upload unfinished since ")
    assert listed[1:] == ["ai-generated/1/orphan.png", "without a row: 1"]
    assert len(uploads(direct)) == 1 and len(held(direct)) == 1
    assert call("sweep_storage", "--apply")[-1] == "deleted: 1"
    assert uploads(direct) == [] and held(direct) == {}


def test_a_young_upload_is_left_alone(monkeypatch, settings):
    ages = [timedelta(hours=settings.ORPHAN_AGE_HOURS, minutes=minutes) for minutes in (-1, 1)]
    begun = [storage.Upload(f"{number}.png", "id", timezone.now() - age) for number, age in enumerate(ages)]
    monkeypatch.setattr(storage, "unfinished_uploads", lambda: iter(begun))
    assert [upload.key for upload in cleanup.dangling_uploads()] == ["1.png"]


# --- The whole worker ---


@pytest.fixture
def committed(transactional_db, catalogue, bell, settings):
    settings.RETRY_BASE_SECONDS = 0
    settings.HEARTBEAT_SECONDS = 0.1


def test_a_job_survives_a_bad_minute_of_the_store(committed, bucket, worker, shim, direct, client):
    job = make_job(make_user(credits=100), count=2)
    shim.break_next("PUT", *FAULTS.values())
    worker.drain()
    worker.wait_for_post_stage()
    job.refresh_from_db()
    assert (job.status, job.attempts, job.images.count()) == ("completed", 1, 2)
    files = held(direct)
    assert set(files) == {key for image in job.images.all() for key in storage.files_of(image)} and len(files) == 6
    for image in job.images.all():
        assert files[image.key].startswith(b"\x89PNG") and len(files[image.key]) == image.size_bytes
    client.force_login(job.user)
    shown = client.get(f"/images/{job.images.first().id}/preview")
    assert shown.status_code == 302 and "X-Amz-Expires=300" in shown["Location"]
    assert httpx.get(shown["Location"]).headers["content-type"] == "image/webp"


def test_a_store_that_stays_down_refunds_the_job_and_leaves_no_file(committed, bucket, worker, shim, direct, settings):
    settings.STORE_TRIES_MAX = 2
    job = make_job(make_user(credits=100))
    shim.break_next("PUT", *[s3_shim.store_then_answer(500)] * 100)
    for _ in range(3):
        worker.drain()
        worker.wait_for_post_stage()
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.charged_centi) == ("failed", "storage", 0)
    assert held(direct) == {} and list(cleanup.orphans()) == []


@pytest.fixture
def call(capsys):
    """Run a command; its lines."""
    from django.core.management import call_command

    def run(*arguments):
        call_command(*arguments)
        return capsys.readouterr().out.splitlines()

    return run


def test_storing_twice_keeps_the_second(bucket, direct):
    bucket.save("ai-generated/1/a.png", ContentFile(b"first"))
    bucket.save("ai-generated/1/a.png", ContentFile(b"second"))
    assert held(direct) == {"ai-generated/1/a.png": b"second"}
