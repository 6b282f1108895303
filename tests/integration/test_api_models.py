"""Models of one's own by REST: from addresses to a trained model, and what every refusal leaves behind."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey
from credits.models import Plan
from credits.queries import balance_of
from generation import api_model_parts
from generation.custom import pictures, services
from generation.errors import PictureRefused, TooManyModels
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from generation.uploads.decoding import UploadsBusy
from tenkaigen.errors import Busy
from tests.custom import add_picture, add_pictures, make_draft, make_model, make_reference, train
from tests.factories import make_job, make_user
from tests.integration.program import Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program():
    made = Program(make_user(credits=1000))
    ApiKey.objects.update(scopes=["read", "train"])
    return made


@pytest.fixture
def web(monkeypatch):
    """Addresses that answer with a picture each, except those with `bad` in them."""

    def add_urls(model, *, user, urls):
        added = pictures.Added()
        for place, url in enumerate(urls):
            if "bad" in url:
                added.refused.append(pictures.Refused(url, "It is not a picture."))
            else:
                added.added.append(add_picture(model, place))
        return added

    monkeypatch.setattr(pictures, "add_urls", add_urls)


def body(**fields):
    urls = [f"https://example.com/{number}.png" for number in range(3)]
    facts = {"name": "Zuko", "trigger_word": "zuko7", "has_consent": True, "steps": 100, "image_urls": urls}
    return facts | {"reference_model": make_reference().slug if "reference_model" not in fields else ""} | fields


def everything(program):
    rows = [list(m.objects.order_by("id").values()) for m in (CustomModel, ModelVersion, TrainingImage, Job)]
    return rows, balance_of(program.team)


def patch(program, path, body):
    return program.client.patch(f"/api/v1/{path}", body, content_type="application/json")


def test_one_request_makes_a_model_and_the_next_ones_watch_refine_and_use_it(program, web):
    ask = body()
    answer = program.post("models", ask, Idempotency_Key="first")
    assert answer.status_code == 202
    told = answer.json()
    job = Job.objects.get()
    assert answer["Location"] == f"http://testserver/api/v1/generate/{job.pk}" and answer["Retry-After"] == "2"
    assert (told["version"], told["job"]["id"], told["job"]["credits_quoted"]) == (1, str(job.pk), "112.50")
    assert job.api_key == ApiKey.objects.get() and job.num_inference_steps == 100
    assert program.get(f"generate/{job.pk}").json()["status"] == "queued"
    again = program.post("models", ask, Idempotency_Key="first")
    assert (again.status_code, again.json()["model"], CustomModel.objects.count()) == (202, told["model"], 1)
    other = program.post("models", ask | {"name": "Other"}, Idempotency_Key="first")
    assert (other.status_code, other.json()["code"]) == (422, "request_key_reused")

    at = f"models/{told['model']}"
    model = program.get(at).json()
    assert (model["status"], model["images"], model["current_version"], model["is_draft"]) == ("queued", 3, None, False)
    train(job)
    model = program.get(at).json()
    assert (model["status"], model["current_version"], model["problems"]) == ("completed", 1, {})
    (version,) = program.get(f"{at}/versions").json()["items"]
    assert (version["status"], version["is_current"], version["credits_charged"]) == ("completed", True, "112.50")
    assert version["losses"] == [[10, 0.5], [20, 0.25]] and version["progress"] is None
    assert version["samples"][0]["url"].startswith("http://testserver/") and "key" not in version["samples"][0]

    price = program.post(f"{at}/refine?dry_run=true", {"steps": 100, "version": 1}).json()
    assert (price["kind"], price["total"], price["can_pay"]) == ("refinement", "59.40", True)
    assert Job.objects.count() == 1
    refined = program.post(f"{at}/refine", {"steps": 100, "version": 1})
    assert (refined.status_code, refined.json()["version"]) == (202, 2)
    train(Job.objects.get(kind="refinement"))
    assert program.post(f"{at}/versions/1/promote", {}).json()["current_version"] == 1
    assert program.delete(f"{at}/versions/1").status_code == 204
    assert program.get(at).json()["current_version"] == 2
    assert program.get(f"{at}/versions/1").json()["is_ready"] is False
    assert patch(program, at, {"name": "Zuko the second"}).json()["name"] == "Zuko the second"
    assert program.delete(at).status_code == 204
    assert program.get(at).status_code == 404 and program.get("models").json()["items"] == []


def test_a_draft_step_by_step(program):
    answer = program.post("models", {"name": "Zuko"})
    assert answer.status_code == 201
    draft = answer.json()
    assert answer["Location"] == f"http://testserver/api/v1/models/{draft['id']}"
    assert set(draft["problems"]) == {"reference_model", "trigger_word", "image_urls", "has_consent"}
    at = f"models/{draft['id']}"
    answer = program.post(f"{at}/train", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    changed = patch(
        program, at, {"reference_model": make_reference().slug, "trigger_word": "zuko7", "has_consent": True}
    )
    assert set(changed.json()["problems"]) == {"image_urls"}
    add_pictures(CustomModel.objects.get(), 3)
    (first, *_) = program.get(f"{at}/images").json()
    assert patch(program, f"{at}/images/{first['id']}", {"caption": "zuko7 asleep"}).json()["caption"] == "zuko7 asleep"
    assert patch(program, f"{at}/images/{first['id']}", {"caption": ""}).status_code == 200
    suggested = [picture["caption"] for picture in program.post(f"{at}/captions", {}).json()]
    assert suggested == [pictures.suggestion(CustomModel.objects.get()), "a dog", "a dog"] and "zuko7" in suggested[0]
    assert program.delete(f"{at}/images/{first['id']}").status_code == 204
    assert len(program.get(f"{at}/images").json()) == 2
    add_pictures(CustomModel.objects.get(), 1)
    assert program.post(f"{at}/train?dry_run=true", {}).json()["total"] == "112.50"
    assert program.post(f"{at}/train", {}, Idempotency_Key="k").status_code == 202
    assert program.post(f"{at}/train", {}, Idempotency_Key="k").status_code == 202
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"image_urls": ["https://example.com/bad.png"] * 3}, 422, "picture_refused"),
        ({"image_urls": ["https://example.com/1.png"] * 21}, 400, "invalid"),
        ({"image_urls": ["https://example.com/1.png"] * 2}, 400, "invalid"),
        ({"image_urls": "https://example.com/1.png"}, 400, "invalid"),
        ({"image_urls": [], "train": True}, 400, "invalid"),
        ({"reference_model": "nowhere"}, 400, "invalid"),
        ({"trigger_word": "Zuko"}, 400, "invalid"),
        ({"trigger_word": "taken1"}, 400, "invalid"),
        ({"has_consent": False}, 400, "invalid"),
        ({"has_consent": "yes"}, 400, "invalid"),
        ({"steps": 4001}, 400, "invalid"),
        ({"steps": "100"}, 400, "invalid"),
        ({"colour": "red"}, 400, "invalid"),
        ({"name": "a nude child"}, 422, "prompt_refused"),
        ({"max_credits": "112.49"}, 409, "price_changed"),
    ],
)
def test_a_refused_order_leaves_nothing(program, web, fields, status, code):
    make_draft(program.user, trigger_word="taken1")
    ask = body(**fields)
    before = everything(program)
    answer = program.post("models", ask)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert everything(program) == before


def test_what_cannot_be_is_refused_in_words_and_changes_nothing(program):
    model = make_model(program.user)
    at = f"models/{model.pk}"
    before = everything(program)
    for method, path, sent, status, code in (
        ("post", f"{at}/train", {}, 409, "model_trained"),
        ("post", f"{at}/refine", {}, 400, "invalid"),
        ("post", f"{at}/refine", {"steps": 49}, 400, "invalid"),
        ("post", f"{at}/refine", {"version": 9, "steps": 100}, 404, "not_found"),
        ("post", f"{at}/refine", {"version": -1, "steps": 100}, 404, "not_found"),
        ("post", f"{at}/refine", {"steps": 100, "max_credits": "1.00"}, 409, "price_changed"),
        ("post", f"{at}/versions/x/promote", {}, 404, "not_found"),
        ("post", f"{at}/versions/99999999999999999999/promote", {}, 404, "not_found"),
        ("patch", at, {"trigger_word": "other7"}, 409, "model_trained"),
        ("patch", at, {"name": ""}, 400, "invalid"),
        ("patch", at, [1], 400, "invalid"),
        ("get", "models/zzz", None, 400, "invalid"),
        ("get", "models?cursor=zzz", None, 400, "bad_cursor"),
        ("get", "models?limit=101", None, 400, "invalid"),
        ("get", f"{at}/versions?cursor=zzz", None, 400, "bad_cursor"),
        ("post", f"{at}/images", {"urls": []}, 400, "invalid"),
        ("post", f"{at}/images", {"files": "x"}, 400, "invalid"),
        ("patch", f"{at}/images/{model.pk}", {"caption": "x"}, 404, "not_found"),
    ):
        answer = getattr(program.client, method)(
            f"/api/v1/{path}", *([] if sent is None else [json.dumps(sent)]), content_type="application/json"
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.json())
    assert everything(program) == before


def test_files_come_as_a_form_each_judged_by_itself(program, monkeypatch):
    model = make_draft(program.user, pictures=0)
    seen = []

    def add_files(model, *, user, files):
        seen.extend((name, file.read()) for name, file in files)
        refused = [pictures.Refused(name, "It is not a picture.") for name, content in seen if content == b"bad"]
        return pictures.Added([add_picture(model, n) for n in range(len(seen) - len(refused))], refused)

    def add_zip(model, *, user, file):
        raise PictureRefused("This is no zip.")

    monkeypatch.setattr(pictures, "add_files", add_files)
    monkeypatch.setattr(pictures, "add_zip", add_zip)
    address = f"/api/v1/models/{model.pk}/images"
    one, bad = SimpleUploadedFile("1.png", b"one"), SimpleUploadedFile("2.png", b"bad")
    answer = program.client.post(address, {"files": [one, bad]})
    assert answer.status_code == 200 and [name for name, _ in seen] == ["1.png", "2.png"]
    assert len(answer.json()["added"]) == 1
    assert answer.json()["refused"] == [{"name": "2.png", "reason": "It is not a picture."}]
    seen.clear()
    answer = program.client.post(address, {"files": [SimpleUploadedFile("2.png", b"bad")]})
    assert (answer.status_code, answer.json()["code"]) == (422, "picture_refused")
    assert (
        program.client.post(address, {"zip": SimpleUploadedFile("a.zip", b"x")}).json()["message"] == "This is no zip."
    )
    for sent in ({}, {"files": "text"}, {"zip": SimpleUploadedFile("a.zip", b"x"), "files": [one]}):
        assert program.client.post(address, sent).status_code == 400
    many = {"files": [SimpleUploadedFile(f"{n}.png", b"x") for n in range(101)]}
    assert (answer := program.client.post(address, many)).status_code == 400, answer.content
    monkeypatch.setattr(api_model_parts, "FORM_BYTES_MAX", 100)
    assert program.client.post(address, {"files": [SimpleUploadedFile("1.png", b"x" * 200)]}).status_code == 413
    assert TrainingImage.objects.count() == 1


def test_an_order_that_comes_again_while_it_is_worked_on_is_told_to_wait(program, web, monkeypatch):
    ask, add_urls, meanwhile = body(), pictures.add_urls, []

    def impatient(model, *, user, urls):
        meanwhile.append(program.post("models", ask, Idempotency_Key="first"))
        return add_urls(model, user=user, urls=urls)

    monkeypatch.setattr(pictures, "add_urls", impatient)
    answer = program.post("models", ask, Idempotency_Key="first")
    (early,) = meanwhile
    assert (early.status_code, early.json()["code"], early["Retry-After"]) == (503, "busy", "1")
    late = program.post("models", ask, Idempotency_Key="first")
    assert (answer.status_code, late.status_code) == (202, 202) and late.json()["model"] == answer.json()["model"]
    assert CustomModel.objects.count() == Job.objects.count() == 1 and TrainingImage.objects.count() == 3


def test_what_is_not_the_pictures_fault_is_not_called_so(program, monkeypatch):
    """Programs that hear `picture_refused` throw the picture away."""
    model = make_draft(program.user, pictures=0)
    before = everything(program)
    for end, status in ((UploadsBusy("Many."), 429), (TooManyModels("Full."), 402), (Busy("The store is away."), 503)):
        added = pictures.Added([], [pictures.Refused("a", str(end))], end)
        monkeypatch.setattr(pictures, "add_urls", lambda model, user, urls, added=added: added)
        for path, ask in ((f"models/{model.pk}/images", {"urls": ["https://example.com/a.png"]}), ("models", body())):
            answer = program.post(path, ask)
            assert (answer.status_code, answer.json()["code"]) == (status, end.code), path
            assert ("Retry-After" in answer) == (status != 402)
    assert everything(program) == before


def test_a_job_is_canceled_with_the_scope_it_was_ordered_with(program):
    pictures = make_job(program.user)
    training = services.refine(make_model(program.user), user=program.user, request_key="r", steps=100)
    held = balance_of(program.team).held_centi
    for scopes in (["read", "billing"], ["generate"], ["train"]):
        ApiKey.objects.update(scopes=scopes)
        for job, scope in ((pictures, "generate"), (training, "train")):
            if scope not in scopes:
                refused = program.delete(f"jobs/{job.pk}")
                assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert Job.objects.filter(pk__in=[pictures.pk, training.pk], status="queued").count() == 2
    assert balance_of(program.team).held_centi == held > 0
    assert program.delete(f"jobs/{training.pk}").json()["status"] == "canceled"
    ApiKey.objects.update(scopes=["generate"])
    assert program.delete(f"jobs/{pictures.pk}").json()["status"] == "canceled"
    assert balance_of(program.team).held_centi == 0


def test_lists_cost_the_same_however_long_and_page_by_cursor(program):
    Plan.objects.filter(is_default=True).update(models_max=100)
    counts = []
    for more in (1, 4):
        for _ in range(more):
            model = make_model(program.user)
        train(services.refine(model, user=program.user, request_key=f"r{more}", steps=100))
        program.get("models")
        with CaptureQueriesContext(connection) as listed:
            assert program.get("models").status_code == 200
        with CaptureQueriesContext(connection) as versions:
            assert len(program.get(f"models/{model.pk}/versions").json()["items"]) == 2
        with CaptureQueriesContext(connection) as shown:
            assert program.get(f"models/{model.pk}").status_code == 200
        with CaptureQueriesContext(connection) as images:
            assert len(program.get(f"models/{model.pk}/images").json()) == 3
        counts.append((len(listed), len(versions), len(shown), len(images)))
    assert counts[0] == counts[1]
    key = 1  # by which the program is known
    assert [count - key for count in counts[0]] == [1, 2, 3, 2]
    first = program.get("models?limit=3").json()
    rest = program.get(f"models?limit=3&cursor={first['next_cursor']}").json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)
    page = program.get(f"models/{model.pk}/versions?limit=1").json()
    assert [page["items"][0]["number"]] == [2]
    assert program.get(f"models/{model.pk}/versions?cursor={page['next_cursor']}").json()["items"][0]["number"] == 1
