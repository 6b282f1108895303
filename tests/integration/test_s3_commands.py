"""`check_storage` and `storage_lifecycle`: what they find, what they change, and what they leave alone."""

import socket

import pytest
from botocore.exceptions import ClientError
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from generation import lifecycle, storage
from tests import s3_shim

PREFIX = "ai-generated/"
WANTED = {
    "ID": "tenkaigen-images",
    "Status": "Enabled",
    "Filter": {"Prefix": PREFIX},
    "Expiration": {"Days": 90},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}
MODELS = {
    "ID": "tenkaigen-models",
    "Status": "Enabled",
    "Filter": {"Prefix": "models/"},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}
LOGS = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}}
COLD = {
    "ID": "cold",
    "Status": "Enabled",
    "Filter": {"Prefix": PREFIX},
    "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
}


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


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)


@pytest.fixture
def bucket(shim, settings):
    settings.STORAGES = settings.STORAGES | {"default": s3_shim.storage_setting(shim)}
    return default_storage


@pytest.fixture
def call(capsys):
    """Run a command; its exit code and lines."""

    def run(*arguments):
        code = 0
        try:
            call_command(*arguments)
        except SystemExit as ended:
            code = ended.code
        return code, capsys.readouterr().out.splitlines()

    return run


def rules_of(direct):
    try:
        return direct.get_bucket_lifecycle_configuration(Bucket=s3_shim.BUCKET)["Rules"]
    except ClientError:
        return []


def put_rules(direct, *rules):
    direct.put_bucket_lifecycle_configuration(Bucket=s3_shim.BUCKET, LifecycleConfiguration={"Rules": list(rules)})


def test_a_good_bucket_passes(bucket, direct, call):
    code, lines = call("check_storage")
    assert code == 0
    assert [line.split(":")[0] for line in lines] == [
        "-- store", "ok write", "ok read", "ok list", "ok signed link", "ok unsigned read", "ok unsigned listing",
        "ok delete",
    ]  # fmt: skip
    assert "ok unsigned read: refused with 403" in lines
    assert "for 300 s" in lines[4]
    assert "Contents" not in direct.list_objects_v2(Bucket=s3_shim.BUCKET)


def test_a_public_bucket_is_found_out(bucket, shim, direct, call):
    shim.is_listing_private = False
    everybody = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        '"Resource":"arn:aws:s3:::pictures/*"}]}'
    )
    direct.put_bucket_policy(Bucket=s3_shim.BUCKET, Policy=everybody)
    direct.put_bucket_acl(Bucket=s3_shim.BUCKET, ACL="public-read")
    code, lines = call("check_storage")
    assert code == 1
    assert [line for line in lines if line.startswith("BAD")] == [
        f"BAD {name}: ANYBODY MAY: {bucket.endpoint_url.removeprefix('http://')} answers 200. Make the bucket private."
        for name in ("unsigned read", "unsigned listing")
    ]
    assert lines[-1] == "ok delete: gone"


def test_a_store_that_gives_back_other_bytes_fails_and_the_file_still_goes(bucket, direct, call, monkeypatch):
    monkeypatch.setattr(storage, "read", lambda key: b"something else")
    code, lines = call("check_storage")
    assert code == 1 and any(line.startswith("BAD read: 14 bytes came back") for line in lines)
    assert "Contents" not in direct.list_objects_v2(Bucket=s3_shim.BUCKET)


def test_a_bucket_that_is_not_there_is_one_bad_line_or_is_made(bucket, direct, call):
    direct.delete_bucket(Bucket=s3_shim.BUCKET)
    code, lines = call("check_storage")
    assert code == 1 and len(lines) == 2 and lines[1].startswith("BAD write: ") and "NoSuchBucket" in lines[1]
    code, lines = call("check_storage", "--make-bucket")
    assert code == 0 and lines[0] == "bucket: made"
    assert call("check_storage", "--make-bucket")[1][0] == "bucket: was there"


def test_a_store_that_is_away_is_a_bad_line_and_no_traceback(shim, settings, call):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        settings.STORAGES = settings.STORAGES | {"default": s3_shim.storage_setting(shim, endpoint_url=away)}
        code, lines = call("check_storage")
        assert code == 1 and [line.split(":")[0] for line in lines] == ["BAD store", "BAD write"]
        for command in (["check_storage", "--make-bucket"], ["storage_lifecycle"], ["sweep_storage", "--apply"]):
            with pytest.raises(CommandError, match="Could not connect"):
                call_command(*command)


@pytest.mark.parametrize("command", [["check_storage", "--make-bucket"], ["storage_lifecycle"]])
def test_an_endpoint_that_is_no_address_is_said_in_one_line(shim, settings, command):
    settings.STORAGES = settings.STORAGES | {"default": s3_shim.storage_setting(shim, endpoint_url="https://a bucket")}
    with pytest.raises(CommandError, match="Invalid endpoint: https://a bucket"):
        call_command(*command)


def test_files_on_this_machine_pass_too(call):
    code, lines = call("check_storage")
    assert code == 0 and lines[-1] == "ok delete: gone"
    assert [line[:3] for line in lines] == ["-- ", *["ok "] * 7]
    assert "ok unsigned read: refused: a link with one letter changed opens nothing" in lines


def test_the_rule_is_shown_and_only_put_there_when_asked(bucket, direct, call):
    code, lines = call("storage_lifecycle")
    assert (code, rules_of(direct)) == (0, [])
    assert lines == [
        "wanted: tenkaigen-images Enabled 'ai-generated/': Days 90, DaysAfterInitiation 1",
        "wanted: tenkaigen-models Enabled 'models/': DaysAfterInitiation 1",
        "in force: no (--apply puts it there)",
    ]
    assert call("storage_lifecycle", "--apply")[1][-1] == "in force: yes, now"
    assert rules_of(direct) == [WANTED, MODELS]
    assert call("storage_lifecycle")[1][-1] == "in force: yes"


def test_rules_of_others_are_kept(bucket, direct, call, settings):
    put_rules(direct, LOGS, COLD, WANTED)
    settings.IMAGE_LIFETIME_DAYS = 30
    _, lines = call("storage_lifecycle", "--apply")
    assert [line.split(" ")[:2] for line in lines] == [
        ["wanted:", "tenkaigen-images"],
        ["wanted:", "tenkaigen-models"],
        ["foreign:", "logs"],
        ["foreign:", "cold"],
        ["present:", "tenkaigen-images"],
        ["in", "force:"],
    ]
    kept = {rule["ID"]: rule for rule in rules_of(direct)}
    assert kept.keys() == {"logs", "cold", "tenkaigen-images", "tenkaigen-models"}
    assert kept["logs"] == LOGS and kept["cold"]["Transitions"] == COLD["Transitions"]
    assert kept["tenkaigen-images"]["Expiration"] == {"Days": 30}


def test_a_bucket_that_keeps_old_versions_loses_them_a_day_later(bucket, direct, call):
    direct.put_bucket_versioning(Bucket=s3_shim.BUCKET, VersioningConfiguration={"Status": "Enabled"})
    call("storage_lifecycle", "--apply")
    old_ones_go = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    # Of somebody's deleted training pictures as of a picture: hidden is not gone.
    assert rules_of(direct) == [WANTED | old_ones_go, MODELS | old_ones_go]
    assert "keeps old versions" in call("check_storage")[1][0]


def test_keys_that_may_not_ask_for_versions_get_no_rule_that_leaves_old_ones_for_ever(bucket, shim, direct, call):
    direct.put_bucket_versioning(Bucket=s3_shim.BUCKET, VersioningConfiguration={"Status": "Enabled"})
    shim.break_next("GET", s3_shim.answer(403))
    with pytest.raises(CommandError, match=r"\(AccessDenied\) .* GetBucketVersioning"):
        call_command("storage_lifecycle", "--apply")
    assert rules_of(direct) == []
    shim.break_next("GET", s3_shim.answer(403))
    code, lines = call("check_storage")
    assert code == 0 and lines[0].endswith(", does not say whether it keeps old versions: AccessDenied")


def test_a_store_that_knows_no_versions_has_none(bucket, shim):
    shim.break_next("GET", s3_shim.answer(501))
    assert bucket.is_versioned() is False


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (b"<Error><Code>InvalidArgument</Code><Message>Authorization</Message></Error>", 0),
        (b"<Error><Code>InvalidArgument</Code><Message>Host</Message></Error>", 1),
    ],
)
def test_r2_refuses_what_is_not_signed_with_400_and_a_reason(bucket, shim, call, reason, code):
    shim.unsigned = lambda handler: handler.reply(400, reason)
    found, lines = call("check_storage")
    word = "BAD unsigned read: " if code else "ok unsigned read: refused with 400"
    assert found == code and next(line for line in lines if "unsigned read" in line).startswith(word)


def test_the_pieces_that_b2_makes_of_a_rule_are_recognised():
    place = {"Status": "Enabled", "Filter": {"Prefix": PREFIX}}
    pieces = [
        {"ID": "1", **place, "Expiration": {"Days": 90}},
        {"ID": "2", **place, "Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"ID": "3", **place, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
        {"ID": "4", **place, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    ]
    rule = lifecycle.of_images("ai-generated", 90, is_versioned=True)
    assert lifecycle.is_in_force(pieces, rule)
    assert lifecycle.foreign(pieces, [rule]) == []
    for number in (0, 2, 3):
        assert not lifecycle.is_in_force([*pieces[:number], *pieces[number + 1 :]], rule)
    assert not lifecycle.is_in_force([piece | {"Status": "Disabled"} for piece in pieces], rule)


def test_a_rule_that_something_else_narrows_is_not_ours():
    tagged = {"Status": "Enabled", "Filter": {"And": {"Prefix": PREFIX, "Tags": []}}, "Expiration": {"Days": 90}}
    rule = lifecycle.of_images("ai-generated", 90, is_versioned=False)
    assert lifecycle.foreign([tagged], [rule]) == [tagged]
    assert not lifecycle.is_in_force([tagged], rule)


def test_a_store_that_refuses_says_so(bucket, shim):
    shim.break_next("GET", *[s3_shim.answer(501)] * 100)
    with pytest.raises(CommandError):
        call_command("storage_lifecycle")


def test_files_on_this_machine_need_no_rule(call):
    assert call("storage_lifecycle", "--apply")[1] == [
        "Files on this machine need no rule: cleanup_images deletes them after 90 days."
    ]
