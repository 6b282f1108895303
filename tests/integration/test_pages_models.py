"""The pages of models of one's own: what they show and keep, to whom, at what cost, and what they refuse."""

import io
import re
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image as Pillow

from accounts.roles import Role
from credits.models import Plan
from credits.queries import balance_of
from generation import events, transitions
from generation.curve import POINTS_MAX, loss_curve
from generation.custom import drafts, queries, services
from generation.custom.rules import CONSENT
from generation.events import Progress
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from generation.training_limits import UPLOAD_BYTES_MAX
from generation.transitions import Failure
from generation.views import uploads
from tests.custom import add_pictures, make_draft, make_model, make_reference, train
from tests.factories import make_member, make_user, team_of
from tests.integration.pages import HTMX, client_of, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def user():
    return make_user(credits=1000)


def png(colour: int = 0, side: int = 160) -> bytes:
    content = io.BytesIO()
    Pillow.linear_gradient("L").resize((side, side)).point(lambda value: (value * (colour + 1)) % 256).save(
        content, "PNG"
    )
    return content.getvalue()


def upload(name: str = "one.png", content: bytes | None = None) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, png() if content is None else content)


def submit(model: CustomModel) -> Job:
    return services.submit_training(model, user=model.user, request_key=uuid4().hex)


def start(job: Job) -> Job:
    """What a worker does first."""
    Job.objects.filter(pk=job.pk).update(status="processing", lease_until="2030-01-01T00:00Z", attempts=1, fence=1)
    job.refresh_from_db()
    return job


# --- The wizard -----------------------------------------------------------------------------------------------------
def test_the_wizard_leads_from_a_look_to_a_training(user):
    client, look = client_of(user), make_reference()
    assert client.get(f"/models/new?reference={look.slug}").content.count(b" checked>") == 1
    assert not CustomModel.objects.exists()
    named = client.post("/models/new", {"reference": look.slug})
    model = CustomModel.objects.get()
    assert named.url == f"/models/{model.id}/name" and model.reference == look
    assert client.get(f"/models/{model.id}").url == f"/models/{model.id}/name"

    answer = client.post(named.url, {"name": "Zuko", "trigger_word": "zuko7", "description": "our fox"})
    assert answer.url == f"/models/{model.id}/pictures"
    answer = client.post(answer.url, {"files": [upload(f"{n}.png", png(n)) for n in range(3)]})
    assert answer.status_code == 200 and b"3 pictures added." in answer.content and b"3 of " in answer.content
    assert client.get(f"/models/{model.id}").url == f"/models/{model.id}/check"

    page = client.get(f"/models/{model.id}/check").content.decode()
    shown = int(re.search(r'name="shown_centi" value="(\d+)"', page)[1])
    assert shown == services.quote_of(model).total_centi
    order = {"request_key": "k", "shown_centi": shown, "train_steps": "60"}
    refused = client.post(f"/models/{model.id}/check", order)
    assert refused.status_code == 400 and b"Tick this box to go on." in refused.content
    assert not Job.objects.exists()
    done = client.post(f"/models/{model.id}/check", order | {"has_consent": "on"})
    assert done.url == f"/models/{model.id}"
    job = Job.objects.get()
    assert (job.num_inference_steps, job.kind, job.quoted_centi) == (60, "creation", shown)
    page = client.get(done.url)
    assert b"In the queue" in page.content and b"You may close this page" in page.content
    for step in ("look", "name", "check"):  # too late to change it
        assert client.get(f"/models/{model.id}/{step}").url == f"/models/{model.id}"


def test_a_draft_is_kept_and_offered_again(user):
    client, draft = client_of(user), make_draft(user, name="Zuko", pictures=2)
    page = client.get("/models/new").content.decode()
    assert "Zuko" in page and "with 2 pictures" in page and f"/models/{draft.id}" in page
    assert client.get(f"/models/{draft.id}").url == f"/models/{draft.id}/pictures"
    other = client_of(make_member(team_of(user)))
    assert "with 2 pictures" not in other.get("/models/new").content.decode()


def test_who_has_no_room_for_another_model_hears_it_before_the_work_and_not_after_it(user):
    client, full = client_of(user), b"The Free plan allows 1 model of your own. Delete one, or change the plan."
    Plan.objects.filter(is_default=True).update(models_max=1, training_images_max=30, model_storage_bytes=1_500_000_000)
    draft = make_draft(user)
    steps = ["/models/new", *(f"/models/{draft.id}/{step}" for step in ("look", "name", "pictures", "check"))]
    assert not [step for step in steps if full in client.get(step).content]
    submit(failed := make_draft(user))
    assert [step for step in steps if full in client.get(step).content] == steps
    client.post(f"/models/{failed.id}/cancel")
    assert full not in client.get(f"/models/{failed.id}/check").content  # it has its room
    for page in ("/credits", "/plans"):
        shown = client.get(page, follow=True).content.decode()
        assert "1, each of up to 30 pictures" in shown and "1.5 GB" in shown, page


def test_a_draft_is_deleted_from_any_of_its_steps(user):
    draft, client = make_draft(user, name="My dog Zuko"), client_of(user)
    end = f"/models/{draft.id}/delete"
    for step in ("look", "name", "pictures", "check"):
        assert f'href="{end}"' in client.get(f"/models/{draft.id}/{step}").content.decode(), step
    gone = client.post(end, {"typed": "My dog Zuko"}, follow=True)
    assert gone.redirect_chain == [("/models", 302)] and b"My dog Zuko is deleted." in gone.content
    assert not CustomModel.objects.exists() and not TrainingImage.objects.exists()
    nameless = drafts.begin(team=team_of(user), user=user)
    assert client.post(f"/models/{nameless.id}/delete", {"typed": "draft"}).status_code == 302


@pytest.mark.parametrize(
    ("word", "said"),
    [("Zuko", "small letters"), ("dog", "ordinary word"), ("taken7", "Choose another word"), ("<b>", "small letters")],
)
def test_a_word_that_cannot_be_one_is_refused_while_it_is_typed(user, word, said):
    make_draft(user, trigger_word="taken7")
    draft = drafts.begin(team=team_of(user), user=user, reference=make_reference())
    client = client_of(user)
    answer = client.post(f"/models/{draft.id}/word", {"trigger_word": word}, headers=HTMX)
    assert answer.status_code == 422 and said in answer.content.decode()
    answer = client.post(f"/models/{draft.id}/name", {"name": "Zuko", "trigger_word": word})
    assert answer.status_code == 422 and said in answer.content.decode()
    draft.refresh_from_db()
    assert (draft.trigger_word, draft.name) == ("", "")
    assert b"zuko7 is yours, and kept." in client.post(f"/models/{draft.id}/word", {"trigger_word": "zuko7"}).content
    draft.refresh_from_db()
    assert draft.trigger_word == "zuko7"


def test_the_settings_are_kept_as_they_change_and_priced(user):
    draft, client = make_draft(user, pictures=11, has_consent=False), client_of(user)
    url = f"/models/{draft.id}/training-settings"
    answer = client.post(url, {"train_steps": "300", "has_consent": "on", "request_key": "k"}, headers=HTMX)
    assert answer.status_code == 200 and f'value="{services.quote_of(draft).total_centi}"' in answer.content.decode()
    draft.refresh_from_db()
    assert (draft.train_steps, draft.has_consent, draft.train_text_encoder) == (300, True, False)
    for steps in ("7", "x", "99999999999999999999"):
        assert client.post(url, {"train_steps": steps, "has_consent": "on"}, headers=HTMX).status_code == 422
    draft.refresh_from_db()
    assert draft.train_steps == 300


def test_a_dearer_price_than_was_shown_is_not_taken(user):
    draft = make_draft(user)
    answer = client_of(user).post(
        f"/models/{draft.id}/check", {"request_key": "k", "shown_centi": "100", "has_consent": "on"}
    )
    assert answer.status_code == 409 and not Job.objects.exists()
    assert balance_of(team_of(user)).available_centi == 100_000


# --- Pictures -------------------------------------------------------------------------------------------------------
def test_pictures_are_sent_captioned_and_taken_away(user):
    draft, client = make_draft(user, pictures=0), client_of(user)
    plain = {"accept": "text/plain"}
    sent = client.post(f"/models/{draft.id}/pictures/add", {"files": upload()}, headers=plain)
    assert (sent.status_code, sent.content) == (201, b"1 added.")
    again = client.post(f"/models/{draft.id}/pictures/add", {"files": upload()}, headers=plain)
    assert (again.status_code, again.content) == (422, b"This picture is already there.")
    picture = TrainingImage.objects.get()
    url = f"/models/{draft.id}/pictures/{picture.id}"
    led = client.get(f"{url}/thumbnail")
    assert led.status_code == 302 and client.get(led.url)["Content-Type"] == "image/webp"
    assert client.get(f"{url}/sha256").status_code == 404
    kept = client.post(f"{url}/caption", {"caption": "zuko asleep"}, headers=HTMX)
    assert b"Kept." in kept.content and TrainingImage.objects.get().caption == "zuko asleep"
    assert client.post(f"{url}/caption", {"caption": "x" * 301}, headers=HTMX).status_code == 400
    assert TrainingImage.objects.get().caption == "zuko asleep"
    gone = client.post(f"{url}/remove", headers=HTMX)
    assert gone.status_code == 200 and gone.headers["HX-Trigger-After-Settle"] == '{"pictures-changed": {}}'
    assert gone.content == b"" and not TrainingImage.objects.exists()
    assert client.get(f"{url}/thumbnail").status_code == 404


def test_what_is_wrong_with_an_upload_is_said(user, monkeypatch):
    draft, client = make_draft(user, pictures=0), client_of(user)
    url, plain = f"/models/{draft.id}/pictures", {"accept": "text/plain"}
    boundary = "multipart/form-data; boundary=x"
    for to in (url, f"{url}/add"):
        nothing = client.post(to, {}, headers=plain)
        assert nothing.status_code == 422, to
        crowd = client.post(to, {"files": [upload(content=b"x")] * 500}, headers=plain)
        assert crowd.status_code == 400 and b"at most 40 files at a time" in crowd.content
        broken = client.generic("POST", to, b"--x\r\nnonsense", content_type=boundary)
        assert broken.status_code in (400, 422), broken.status_code
        assert client.generic("POST", to, b"--", content_type="multipart/form-data").status_code == 400
        many = client.post(to, {"files": [upload(f"{n}.png", b"no picture") for n in range(41)]}, headers=plain)
        assert many.status_code == 422 and b"Send at most 40 files at a time." in many.content
        monkeypatch.setattr(uploads, "UPLOAD_BYTES_MAX", 1000)
        large = client.post(to, {"files": upload("large.png", b"x" * 1001)}, headers=plain)
        assert large.status_code == 422 and b"It is larger than" in large.content
        monkeypatch.setattr(uploads, "UPLOAD_BYTES_MAX", UPLOAD_BYTES_MAX)
        monkeypatch.setattr(uploads, "REQUEST_BYTES_MAX", 10)
        assert client.post(to, {"files": upload()}).status_code == 413
        monkeypatch.setattr(uploads, "REQUEST_BYTES_MAX", 801_000_000)
    for urls in ("not an address", "ftp://example.com/a", "http://127.0.0.1/a.png", "x " * 30):
        assert client.post(url, {"urls": urls}).status_code in (400, 422)
    zipped = client.post(url, {"files": upload("some.zip", b"PK no zip")})
    assert zipped.status_code == 422 and b"some.zip" in zipped.content
    assert not TrainingImage.objects.exists()


def test_a_large_file_between_good_ones_costs_them_nothing(user, monkeypatch):
    """Django's own way to skip a file would close the one before it."""
    monkeypatch.setattr(uploads, "UPLOAD_BYTES_MAX", 100_000)
    draft = make_draft(user, pictures=0)
    files = [upload("a.png", png(1)), upload("b.png", b"x" * 200_000), upload("c.png", png(2))]
    answer = client_of(user).post(f"/models/{draft.id}/pictures", {"files": files})
    assert b"2 pictures added." in answer.content and b"b.png" in answer.content
    assert TrainingImage.objects.count() == 2


def test_an_upload_without_a_token_is_refused(user):
    draft, client = make_draft(user, pictures=0), Client(enforce_csrf_checks=True)
    client.force_login(user)
    for path in ("pictures", "pictures/add"):
        assert client.post(f"/models/{draft.id}/{path}", {"files": upload()}).status_code == 403
    assert not TrainingImage.objects.exists()


# --- The page of a model --------------------------------------------------------------------------------------------
def test_a_training_is_watched_until_its_end(user):
    model, client = make_draft(user, train_steps=100), client_of(user)
    job = start(submit(model))
    version = job.trained_version
    events.publish([job.pk], Progress("processing", phase="training", steps_done=40, steps_total=100, seconds_left=300))
    samples = [{"step": 40, "prompt": "zuko", "seed": 1, "key": "models/x/sample-40-0.webp"}]
    ModelVersion.objects.filter(pk=version.pk).update(losses=[[10, 0.5], [20, 0.25]], samples=samples)
    url = f"/models/{model.id}/training"
    answer = client.get(f"{url}?shows=processing&samples=0&said=0", headers=HTMX).content.decode()
    assert "Step 40 of 100 · about 5 minutes left" in answer and 'd="M32.0,0.0 L64.0,50.0"' in answer
    assert 'id="training-samples"' in answer and "25 percent" in answer
    same = client.get(f"{url}?shows=processing&samples=1&said=25", headers=HTMX).content.decode()
    assert "training-samples" not in same and "percent" not in same
    led = client.get(f"/models/{model.id}/versions/1/samples/0")
    assert led.status_code == 302 and led["Cache-Control"] == "private, max-age=240"
    for missing in ("1/samples/9", "2/samples/0", "99999999999999999999/samples/0", "1/samples/99999999999999999999"):
        assert client.get(f"/models/{model.id}/versions/{missing}").status_code == 404

    Job.objects.filter(pk=job.pk).update(lease_until="2020-01-01T00:00Z")  # its trainer died
    assert transitions.recover(job)
    lost = client.get(f"{url}?shows=processing&samples=1&said=25", headers=HTMX)
    assert lost["HX-Retarget"] == "#model" and "In the queue" in lost.content.decode()
    assert 'd="M32.0,0.0 L64.0,50.0"' in lost.content.decode() and "toast" not in lost.content.decode()

    transitions.fail(start(job), Failure("loss_diverged", "The training ran away."))
    ended = client.get(f"{url}?shows=processing&samples=1&said=25", headers=HTMX)
    assert ended["HX-Retarget"] == "#model"
    page = ended.content.decode()
    assert "The training ran away." in page and "You were not charged." in page
    assert f"Try again for {services.quote_of(model).total_centi // 100}" in page
    assert balance_of(team_of(user)).available_centi == 100_000
    again = client.post(f"/models/{model.id}/retry", headers=HTMX)
    assert again.status_code == 200 and b"On its way again." in again.content
    assert [v.number for v in queries.versions_of(model)] == [2, 1]


def test_a_training_is_canceled_and_paid_back(user):
    model, client = make_draft(user), client_of(user)
    submit(model)
    answer = client.post(f"/models/{model.id}/cancel")
    assert answer.url == f"/models/{model.id}"
    assert b"Version 1 was canceled" in client.get(answer.url).content
    assert balance_of(team_of(user)).available_centi == 100_000
    assert client.post(f"/models/{model.id}/cancel", headers=HTMX).status_code == 409


def test_a_training_is_no_picture(user):
    """The studio does not show it, its job leads to its model, and nobody draws it again by mistake."""
    model, client = make_draft(user, name="Zuko"), client_of(user)
    job = submit(model)
    assert b"Zuko" not in client.get("/studio").content and b"Zuko" in client.get("/jobs").content
    assert client.get(f"/jobs/{job.id}").url == f"/models/{model.id}"
    client.post(f"/models/{model.id}/cancel")
    assert client.post(f"/jobs/{job.id}/retry", headers=HTMX).status_code == 409
    assert Job.objects.count() == 1
    services.delete_model(model, actor=user)
    assert client.get(f"/jobs/{job.id}").url == f"/jobs/{job.id}/receipt"


def test_a_model_is_refined_compared_rolled_back_and_deleted(user):
    model, client = make_model(user), client_of(user)
    page = client.get(f"/models/{model.id}").content.decode()
    assert "Version 1" in page and "side by side" not in page and f"/studio?custom={model.id}" in page
    order = {"request_key": "r", "shown_centi": services.quote_refinement(model).total_centi, "steps": "80"}
    assert f'name="shown_centi" value="{order["shown_centi"]}"' in page
    dearer = client.post(f"/models/{model.id}/refine", order | {"shown_centi": order["shown_centi"] - 1}, headers=HTMX)
    assert dearer.status_code == 409 and Job.objects.count() == 1
    assert client.post(f"/models/{model.id}/refine", order | {"steps": "7"}).status_code == 400
    assert client.post(f"/models/{model.id}/refine", order | {"parent": "x"}, headers=HTMX).status_code == 422
    assert client.post(f"/models/{model.id}/refine", order, headers=HTMX).status_code == 200
    train(Job.objects.get(kind="refinement"))
    page = client.get(f"/models/{model.id}").content.decode()
    assert "Versions side by side" in page and page.count('<li class="sheet__line') == 2
    assert "Draw with version 1" in page and "Use version 1" in page and "Use version 2" not in page

    rolled = client.post(f"/models/{model.id}/versions/1/use", headers=HTMX)
    assert b"Use version 2" in rolled.content and b"Version 1 is the one you draw with now." in rolled.content
    model.refresh_from_db()
    assert model.current.number == 1
    assert b"Delete version 2?" in client.get(f"/models/{model.id}/versions/2/delete").content
    assert client.post(f"/models/{model.id}/versions/2/delete").url == f"/models/{model.id}"
    assert client.post(f"/models/{model.id}/versions/2/use").status_code == 404
    assert CONSENT.encode() in client.get(f"/models/{model.id}/pictures").content  # of pictures nobody ticked a box for
    gone = str(model.versions.get(number=2).pk)  # chosen on a page that is older than its end
    answer = client.post(f"/models/{model.id}/refine", order | {"request_key": "s", "parent": gone}, headers=HTMX)
    assert answer.status_code == 422 and b"This version is not there any more. Choose another." in answer.content
    assert Job.objects.filter(kind="refinement").count() == 1

    renamed = client.post(f"/models/{model.id}/rename", {"name": "Azula", "description": ""})
    assert renamed.status_code == 302
    assert client.post(f"/models/{model.id}/rename", {"name": " "}).status_code == 400
    page = client.get(f"/models/{model.id}/delete").content.decode()
    assert "3 training pictures" in page and "1 trained version;" in page
    assert client.post(f"/models/{model.id}/delete", {"typed": "azula"}).status_code == 422
    assert client.post(f"/models/{model.id}/delete", {"typed": "Azula"}).url == "/models"
    assert client.get(f"/models/{model.id}").status_code == 404
    assert b"Teach it something of yours" in client.get("/models").content


def test_a_model_without_any_version_left_can_be_trained_again(user):
    model, client = make_model(user), client_of(user)
    answer = client.post(f"/models/{model.id}/versions/1/delete", headers=HTMX).content.decode()
    assert "there is none to draw with" in answer and f'href="/models/{model.id}/check"' in answer
    client.post(f"/models/{model.id}/check", {"request_key": "k", "has_consent": "on"})
    assert [version.iteration for version in queries.versions_of(model)] == [0, 0]


def test_a_viewer_sees_and_cannot_act(user):
    model, draft = make_model(user), make_draft(user)
    viewer = client_of(make_member(team_of(user), Role.VIEWER))
    page = viewer.get(f"/models/{model.id}").content.decode()
    for act in ("Refine<", "Delete this", "Delete version", "Rename<", "Draw", "Add or change"):
        assert act not in page, act
    assert b"New model" not in viewer.get("/models").content
    assert b"has not trained it yet" in viewer.get(f"/models/{draft.id}").content
    assert viewer.get(f"/models/{draft.id}/pictures").status_code == 403


def test_models_of_another_team_are_not_there(user):
    model, stranger = make_model(user), make_stranger()
    picture = model.pictures.first()
    for path in ("", "/training", "/versions/1/samples/0", f"/pictures/{picture.id}/original", "/cover", "/check"):
        assert stranger.get(f"/models/{model.id}{path}").status_code == 404
    other = make_draft(user)
    assert client_of(user).get(f"/models/{other.id}/pictures/{picture.id}/original").status_code == 404


# --- What it costs --------------------------------------------------------------------------------------------------
def test_the_list_costs_the_same_for_many_as_for_one(user, django_assert_num_queries):
    client = client_of(user)
    make_model(user)
    client.get("/models")
    with django_assert_num_queries(5):
        client.get("/models")
    for _ in range(3):
        make_draft(user)
    with django_assert_num_queries(5):
        client.get("/models")
    assert client.get("/models?cursor=x").status_code == 302
    assert client.get("/models/more?cursor=x").status_code == 404


def test_the_page_costs_the_same_for_many_versions_as_for_one(user, django_assert_num_queries):
    model, client = make_model(user), client_of(user)
    client.get(f"/models/{model.id}")
    with django_assert_num_queries(11):
        client.get(f"/models/{model.id}")
    add_pictures(model, 5)
    job = services.refine(model, user=user, request_key="r")
    with django_assert_num_queries(5):
        client.get(f"/models/{model.id}/training?shows=queued&samples=0&said=0", headers=HTMX)
    train(job)
    with django_assert_num_queries(11):
        client.get(f"/models/{model.id}")


def test_a_curve_is_thinned_and_scaled():
    assert loss_curve([[1, 0.4]], 10) is None and loss_curve([[1, 0.0], [2, 0.0]], 10) is None
    curve = loss_curve([[step, 0.4 if step < 500 else 0.2] for step in range(1, 1001)], 1000)
    assert len(curve.points) <= POINTS_MAX and curve.top == 0.5 and curve.last == (1000, pytest.approx(0.2))
    assert loss_curve([[1, float("nan")], [2, 3.0], [4, 1.0]], 4).line == "M160.0,0.0 L320.0,66.7"
