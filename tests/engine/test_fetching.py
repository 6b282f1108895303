"""Fetching a model over real HTTP: what arrives is what the lock says, or nothing is locked and nothing overwritten."""

import dataclasses
import hashlib
import json
import shutil
from collections import namedtuple

import pytest

from generation.engine import EngineError, ModelUnavailable, fetching, lockfile
from generation.engine.catalog import CATALOG, Adapter
from generation.engine.hub import FAILURES_MAX, FetchError, Hub
from generation.engine.levers import Levers
from generation.engine.loading import Shelf, load
from tests.engine import tiny
from tests.fake_hub import FakeHub, cut, ignores_the_range, read_folder, sends, status

REPOSITORY = "toys/tiny"
PLAIN = Levers(channels_last=False)
INDEX = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
WEIGHTS = "unet/model.safetensors"
PATTERNS = ("model_index.json", "unet/config.json", "unet/*.safetensors")


def safetensors(seed: int, size: int = 300_000) -> bytes:
    """The beginning of such a file, and then something that no two of them share."""
    filler = hashlib.shake_256(str(seed).encode()).digest(size)
    return (64).to_bytes(8, "little") + b"{".ljust(64) + filler


FILES = {
    "model_index.json": json.dumps(INDEX).encode(),
    "unet/config.json": b"{}",
    WEIGHTS: safetensors(1),
    "unet/model.bin": b"pickle",
    "model.ckpt": b"pickle",
    "pipeline.py": b"import os",
    "README.md": b"# toy",
}
WANTED = {path: FILES[path] for path in ("model_index.json", "unet/config.json", WEIGHTS)}
ADAPTER = Adapter("toys/adapter", "lightning.safetensors")


@pytest.fixture
def hub():
    with FakeHub() as made:
        made.commit(REPOSITORY, FILES)
        yield made


@pytest.fixture
def slept():
    return []


@pytest.fixture
def shelf(tmp_path):
    return make_shelf(tmp_path)


def make_shelf(folder, **changes) -> Shelf:
    spec = tiny.spec(files=PATTERNS, **changes)
    return Shelf(folder / "models", folder / "models.lock", {spec.name: spec})


@pytest.fixture
def fetch(hub, shelf, slept):
    def run(on=shelf, *, update=False, name="tiny", token=""):
        client = Hub(hub.url, token, sleep=slept.append)
        with fetching.turn(on):
            plan = fetching.plan(on, name, client, update=update)
            return fetching.fetch(on, plan, client)

    return run


def refused(call, match, **arguments):
    with pytest.raises(EngineError, match=match):
        call(**arguments)


def installed(shelf):
    return read_folder(shelf.folder("tiny"))


def locked(shelf):
    return lockfile.read(shelf.lock_file).get("tiny")


def test_a_model_is_fetched_verified_and_locked(hub, shelf, fetch):
    assert fetch() is True
    assert installed(shelf) == WANTED
    assert locked(shelf).revision == hub.newest[REPOSITORY]
    assert {path: file.sha256 for path, file in locked(shelf).files.items()} == {
        path: hashlib.sha256(contents).hexdigest() for path, contents in WANTED.items()
    }
    assert {seen.path for seen in hub.seen} == {f"list {REPOSITORY}", *WANTED}  # no pickle, no script, no picture
    assert sum(seen.path.startswith("list") for seen in hub.seen) == 1  # the revision is resolved once
    assert [entry.name for entry in (shelf.models_dir / ".fetching").iterdir()] == ["lock"]


def test_fetching_again_changes_nothing_and_brings_no_weights(hub, shelf, fetch):
    fetch()
    hub.seen.clear()
    assert fetch() is False
    assert installed(shelf) == WANTED and hub.fetched(WEIGHTS) == []


def test_a_cut_line_goes_on_where_it_was(hub, shelf, fetch, slept):
    hub.store_faults[WEIGHTS] = [cut(100_000), cut(50_000), cut(0)]
    fetch()
    assert installed(shelf) == WANTED
    assert [seen.start for seen in hub.fetched(WEIGHTS)] == [0, 100_000, 150_000]
    assert sum(seen.sent for seen in hub.seen if seen.path == WEIGHTS) == len(FILES[WEIGHTS])  # no byte twice
    assert slept == [1, 1, 2]  # longer only while nothing comes


def test_the_next_run_goes_on_where_a_broken_one_was(hub, shelf, fetch):
    hub.store_faults[WEIGHTS] = [cut(200_000), status(404)]
    refused(fetch, "404")
    assert locked(shelf) is None and not shelf.folder("tiny").exists()
    fetch()
    assert installed(shelf) == WANTED
    assert sum(seen.sent for seen in hub.seen if seen.path == WEIGHTS) == len(FILES[WEIGHTS])


def test_a_server_without_ranges_begins_anew(hub, shelf, fetch):
    hub.store_faults[WEIGHTS] = [cut(200_000), ignores_the_range()]
    fetch()
    assert installed(shelf) == WANTED


def test_a_busy_hub_is_asked_again_after_the_time_it_names(hub, shelf, fetch, slept):
    hub.listing_faults = [status(503), status(429, Retry_After="7")]
    hub.faults["unet/config.json"] = [status(500)]
    hub.store_faults[WEIGHTS] = [status(503)]
    fetch()
    assert installed(shelf) == WANTED and slept == [1, 7, 1, 1]


def test_a_hub_that_stays_broken_is_given_up(hub, shelf, fetch, slept):
    hub.store_faults[WEIGHTS] = [status(503)] * 20
    refused(fetch, "run it again later")
    assert len(slept) == FAILURES_MAX - 1 and locked(shelf) is None


def test_other_contents_are_thrown_away_and_nothing_is_locked(hub, shelf, fetch):
    hub.store_faults[WEIGHTS] = [sends(safetensors(2))]
    refused(fetch, "another hash")
    assert locked(shelf) is None and not shelf.folder("tiny").exists()
    assert not list(shelf.models_dir.rglob("*.safetensors*"))
    fetch()
    assert installed(shelf) == WANTED


def test_a_small_file_has_to_be_what_git_knows(hub, shelf, fetch):
    hub.faults["unet/config.json"] = [sends(b"[]")]
    refused(fetch, "unet/config.json arrived with another hash")
    assert locked(shelf) is None


def test_more_than_was_announced_is_refused(hub, shelf, fetch):
    hub.store_faults[WEIGHTS] = [sends(FILES[WEIGHTS] + b"more")]
    refused(fetch, "larger than the 300072 bytes")
    assert locked(shelf) is None


def test_only_names_of_the_catalogue_are_fetched(hub, shelf, fetch):
    for name in ("toys/tiny", "../tiny", "gpt"):
        refused(fetch, "No model called", name=name)
    refused(fetch, "shipped with TenkaiGen", on=Shelf(shelf.models_dir, shelf.lock_file), name="starter")
    assert hub.seen == []


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.ckpt", "model.pkl", "code.py", "model.Safetensors"])
def test_files_that_could_run_code_are_refused_even_if_a_pattern_lets_them_through(hub, tmp_path, fetch, name):
    careless = make_shelf(tmp_path)
    careless.catalog["tiny"] = dataclasses.replace(careless.catalog["tiny"], files=(*PATTERNS, "unet/*"))
    hub.commit(REPOSITORY, WANTED | {f"unet/{name}": b"x"})
    refused(fetch, "never fetched", on=careless)
    assert [seen.path for seen in hub.seen] == [f"list {REPOSITORY}"]


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "..\\evil.json", "unet/../../evil.json", ".git/evil.json", "a b/evil.json"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(hub, tmp_path, fetch, name):
    shelf = make_shelf(tmp_path / "inside")
    pattern = "/".join("*" for _ in name.split("/"))
    shelf.catalog["tiny"] = dataclasses.replace(shelf.catalog["tiny"], files=(pattern,))
    hub.commit(REPOSITORY, {name: b"{}"})
    refused(fetch, "no name for a model's file", on=shelf)
    assert not list(tmp_path.rglob("evil*"))


def test_a_pipeline_that_asks_for_code_is_refused_before_its_weights_are_fetched(hub, shelf, fetch):
    index = json.dumps(INDEX | {"unet": ["my_code", "Unet"]}).encode()
    hub.commit(REPOSITORY, FILES | {"model_index.json": index})
    refused(fetch, "wants code from 'my_code'")
    assert hub.fetched(WEIGHTS) == [] and locked(shelf) is None


def test_a_pattern_without_a_file_is_a_mistake_in_the_catalogue(hub, shelf, fetch):
    hub.commit(REPOSITORY, {path: body for path, body in FILES.items() if path != WEIGHTS})
    refused(fetch, r"has no unet/\*.safetensors")


def test_a_locked_model_stays_at_its_revision_when_the_hub_moves_on(hub, shelf, fetch):
    fetch()
    before = locked(shelf)
    hub.commit(REPOSITORY, FILES | {WEIGHTS: safetensors(2)})
    shutil.rmtree(shelf.folder("tiny"))
    fetch()
    assert installed(shelf) == WANTED and locked(shelf) == before


@pytest.mark.parametrize("path", [WEIGHTS, "unet/config.json"])
def test_a_rewritten_revision_is_refused_and_nothing_is_overwritten(hub, shelf, fetch, path):
    fetch()
    before = shelf.lock_file.read_bytes()
    hub.commits[REPOSITORY, hub.newest[REPOSITORY]][path] = FILES[path][:-1] + b"?"
    if path == WEIGHTS:
        refused(fetch, "is not what models.lock says")
    else:  # of small files the hub tells no SHA-256: it shows when the file is there
        (shelf.folder("tiny") / path).unlink()
        refused(fetch, "another hash")
    assert shelf.lock_file.read_bytes() == before
    assert installed(shelf).items() <= WANTED.items()


def test_a_revision_that_is_gone_is_refused(hub, shelf, fetch):
    fetch()
    hub.commits.clear()
    refused(fetch, "no such repository, revision or file")
    assert installed(shelf) == WANTED


def test_an_update_tells_the_difference_and_brings_only_that(hub, shelf, fetch):
    fetch()
    old = locked(shelf)
    changed = FILES | {"unet/config.json": b'{"a": 1}', "unet/more.safetensors": safetensors(3)}
    hub.commit(REPOSITORY, changed)
    client = Hub(hub.url)
    plan = fetching.plan(shelf, "tiny", client, update=True)
    assert (plan.added(), plan.changed(), plan.removed()) == (["unet/more.safetensors"], ["unet/config.json"], [])
    assert plan.locked == old and locked(shelf) == old and installed(shelf) == WANTED  # looking changes nothing
    hub.seen.clear()
    assert fetching.fetch(shelf, plan, client) is True
    assert installed(shelf) == {path: changed[path] for path in (*WANTED, "unet/more.safetensors")}
    assert locked(shelf).revision == hub.newest[REPOSITORY]
    assert hub.fetched(WEIGHTS) == []
    hub.commit(REPOSITORY, FILES)
    assert fetching.plan(shelf, "tiny", client, update=True).removed() == ["unet/more.safetensors"]
    fetch(update=True)
    assert installed(shelf) == WANTED


def test_a_disk_that_is_too_small_is_said_before_the_weights_are_fetched(hub, shelf, fetch, monkeypatch):
    usage = namedtuple("usage", "free")(fetching.SPARE_BYTES + 299_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refused(fetch, "GiB free")
    assert hub.fetched(WEIGHTS) == [] and locked(shelf) is None


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub, fetch):
    fetch(token="hf_secret")
    assert {seen.authorization for seen in hub.seen if seen.server == "hub"} == {"Bearer hf_secret"}
    assert {seen.authorization for seen in hub.seen if seen.server == "store"} == {""}
    assert "secret" not in repr(Hub(hub.url, "hf_secret"))


@pytest.mark.parametrize(
    "target", ["http://models.example/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::1", "https://h:port/"]
)
def test_a_redirect_to_anything_but_https_is_refused(hub, shelf, fetch, target):
    hub.redirect_to = target
    refused(fetch, "models come over https only|an address that is none")
    assert locked(shelf) is None


def test_plain_http_is_for_this_machine_only():
    with pytest.raises(FetchError, match="https only"):
        Hub("http://models.example").snapshot(REPOSITORY)
    with pytest.raises(FetchError, match="https only"):
        Hub("https://models.example")._checked("http://127.0.0.1:8000/internal")


def test_redirects_in_a_circle_end(hub, fetch):
    hub.faults[WEIGHTS] = [status(307, Location="?again") for _ in range(20)]
    refused(fetch, "more than 5 times")


def test_no_access_says_what_to_do(hub, fetch):
    hub.listing_faults = [status(401)]
    refused(fetch, "HF_TOKEN")


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"sha": "main", "siblings": []}', b'{"siblings": [{"rfilename": "x", "size": "big"}]}']
)
def test_a_list_that_makes_no_sense_is_refused(hub, fetch, answer):
    hub.listing_faults = [sends(answer)]
    refused(fetch, "makes no sense")


def test_foreign_files_in_the_folder_are_left_alone(shelf, fetch):
    mine = shelf.folder("tiny") / "unet" / "mine.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("my work")
    refused(fetch, "move it away first")
    assert mine.read_text() == "my work" and locked(shelf) is None


def test_a_damaged_file_is_repaired_and_only_that_one_fetched(hub, shelf, fetch):
    fetch()
    (shelf.folder("tiny") / "unet" / "config.json").write_text("broken")
    hub.seen.clear()
    assert fetch() is True
    assert installed(shelf) == WANTED and hub.fetched(WEIGHTS) == []


def test_two_do_not_fetch_into_one_shelf(shelf):
    with fetching.turn(shelf), pytest.raises(FetchError, match="Somebody else"):
        with fetching.turn(shelf):
            pass


def test_progress_ends_at_all_bytes_even_after_a_cut(hub, shelf):
    hub.store_faults[WEIGHTS] = [cut(100_000), ignores_the_range()]
    client, seen = Hub(hub.url, sleep=lambda seconds: None), []
    with fetching.turn(shelf):
        fetching.fetch(shelf, fetching.plan(shelf, "tiny", client), client, seen.append)
    total = sum(map(len, WANTED.values()))
    assert seen[-1].bytes_done == total == seen[-1].bytes_total


def test_the_adapter_comes_from_its_own_repository_at_its_own_revision(hub, tmp_path, fetch):
    shelf = make_shelf(tmp_path, adapter=ADAPTER)
    revision = hub.commit(ADAPTER.repository, {ADAPTER.filename: safetensors(5), "other.safetensors": safetensors(6)})
    fetch(shelf)
    assert installed(shelf) == WANTED | {f"adapter/{ADAPTER.filename}": safetensors(5)}
    assert locked(shelf).adapter_revision == revision != locked(shelf).revision
    hub.commit(ADAPTER.repository, {ADAPTER.filename: safetensors(7)})
    shutil.rmtree(shelf.folder("tiny"))
    fetch(shelf)
    assert installed(shelf)[f"adapter/{ADAPTER.filename}"] == safetensors(5)
    fetch(shelf, update=True)
    assert installed(shelf)[f"adapter/{ADAPTER.filename}"] == safetensors(7)


def test_a_fetched_pipeline_loads_with_its_lock_and_not_with_a_flipped_byte(hub, toys, tmp_path, fetch):
    spec = dataclasses.replace(
        tiny.sdxl_spec(), repository="toys/xl", files=("model_index.json", "*/*.json", "*/*.safetensors")
    )
    files = read_folder(toys / "models" / spec.name)
    adapter = files.pop(f"adapter/{spec.adapter.filename}")
    hub.commit("toys/xl", files)
    hub.commit(spec.adapter.repository, {spec.adapter.filename: adapter})
    shelf = Shelf(tmp_path / "models", tmp_path / "models.lock", {spec.name: spec})
    fetch(shelf, name=spec.name)
    pipe, loaded = load(shelf, spec.name, "cpu", PLAIN)
    assert type(pipe).__name__ == spec.pipeline and loaded.revision == hub.newest["toys/xl"]
    weights = shelf.folder(spec.name) / "unet" / "diffusion_pytorch_model.safetensors"
    contents = bytearray(weights.read_bytes())
    contents[-1] ^= 1
    weights.write_bytes(contents)
    with pytest.raises(ModelUnavailable, match=r"is not the file that models\.lock describes"):
        load(shelf, spec.name, "cpu", PLAIN)
    shelf.lock_file.unlink()
    with pytest.raises(ModelUnavailable, match="fetch_model tiny-xl"):
        load(shelf, spec.name, "cpu", PLAIN)


def test_every_fetched_model_of_the_catalogue_says_which_files_it_needs():
    for spec in CATALOG.values():
        if spec.repository:
            weights = [pattern for pattern in spec.files if pattern.endswith(".safetensors")]
            assert spec.adapter is None or spec.adapter.path not in spec.files
            assert "model_index.json" in spec.files and weights
            assert all(".fp16." in pattern for pattern in weights) is (spec.variant == "fp16")
        else:
            assert spec.files == ()
