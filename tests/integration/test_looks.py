"""What a request is drawn with: looks and models of the team's own, from the order to the job and back."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credits.queries import balance_of
from generation import looks, services, wording
from generation.errors import InvalidParams, ModelNotReady
from generation.models import CustomModel, ImageModel, Job, ModelVersion, ReferenceModel
from generation.params import make
from tests import fake_gemini as fake
from tests.custom import make_trained
from tests.factories import make_job, make_params, make_user, team_of
from tests.integration.pages import HTMX, client_of, make_completed_job, studio_form
from tests.integration.program import ASK, Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def user():
    return make_user(credits=1000)


def order(team, **given):
    return looks.make({"prompt": "a red fox by a lake", **given}, looks.choice_of(given, team))


def submit(user, key="k", **given) -> Job:
    params = order(team_of(user), **given)
    return services.submit_job(team=team_of(user), user=user, params=params, request_key=key)


# --- Looks ----------------------------------------------------------------------------------------------------------
def test_a_look_dresses_the_words_inside_the_style_and_prices_the_picture(user):
    ReferenceModel.objects.filter(slug="street-style").update(
        complexity="1.50", recipe="street of {prompt}", negative_prompt="crowd"
    )
    job = submit(user, reference_model="street-style", style="sketch")
    assert job.reference_model == "street-style" and job.model_version is None and job.metadata == {}
    assert job.expanded_prompt == "pencil sketch of street of a red fox by a lake, sketch, hand drawn, graphite"
    assert job.negative_prompt == "crowd, color, photo, blurry, low quality"
    plain = submit(user, "plain", size="384x512")
    assert (job.width, job.height) == (plain.width, plain.height) == (384, 512)
    assert job.quoted_centi == plain.quoted_centi * 3 // 2


def test_the_defaults_of_a_look_hold_only_where_the_person_says_nothing(user):
    defaults = {"size": "500x250", "num_inference_steps": 10, "guidance_scale": 99}
    ReferenceModel.objects.filter(slug="street-style").update(defaults=defaults)
    team, look = team_of(user), {"reference_model": "street-style"}
    usual = order(team, **look)  # the nearest shape, and no more guidance than the model takes
    assert (usual.width, usual.height, usual.num_inference_steps, usual.guidance_scale) == (384, 256, 10, 12.0)
    assert order(team, **look, quality="hd").num_inference_steps == 20
    said = order(team, **look, size="256x256", num_inference_steps=3, guidance_scale=2)
    assert (said.width, said.height, said.num_inference_steps, said.guidance_scale) == (256, 256, 3, 2.0)
    poster = order(team, **look, product="poster")
    assert poster.width < poster.height


def test_the_base_model_of_a_look_counts_where_it_is_offered(user, settings):
    team, look = team_of(user), {"reference_model": "street-style"}
    settings.TRAINING_BASE_MODEL = "sdxl-lightning"
    assert order(team, **look).model == "starter"  # not offered
    ImageModel.objects.filter(slug="sdxl-lightning").update(is_active=True)
    assert order(team, **look).model == "sdxl-lightning"
    assert order(team, **look, model="starter").model == "starter"
    ReferenceModel.objects.filter(slug="street-style").update(base_model="starter")
    assert order(team, **look).model == "starter"
    ReferenceModel.objects.filter(slug="street-style").update(base_model="no longer in the catalogue")
    assert order(team, **look).model == "starter"


def test_a_look_that_is_gone_is_refused_and_old_jobs_still_name_it(user):
    job = make_completed_job(user, reference_model="street-style")
    ReferenceModel.objects.filter(slug="street-style").update(is_active=False)
    with pytest.raises(InvalidParams) as refused:
        submit(user, reference_model="street-style")
    assert list(refused.value.fields) == ["reference_model"] and Job.objects.count() == 1
    assert "Street style" in client_of(user).get(f"/jobs/{job.id}").content.decode()


# --- Models of the team's own ---------------------------------------------------------------------------------------
def test_a_job_is_drawn_with_the_current_version_and_says_so(user):
    model = make_trained(team_of(user), versions=2, trigger_word="zuko7")
    ReferenceModel.objects.filter(slug="street-style").update(complexity="2.00")
    job = submit(user, custom_model=str(model.id).upper())
    assert (job.model, job.model_version, job.reference_model) == ("starter", model.current, "")
    assert job.metadata == {"adapters": str(model.current_id)} and str(model.current_id) in job.batch_key
    assert job.expanded_prompt.startswith("zuko7, a red fox by a lake") and "street" not in job.expanded_prompt
    assert job.quoted_centi == 2 * submit(user, "plain").quoted_centi
    older = submit(user, "older", custom_model=str(model.id), version=1)
    assert older.model_version.number == 1 and older.batch_key != job.batch_key


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"prompt": "Zuko7 on a beach"}, "Zuko7 on a beach, highly detailed, beautiful composition"),
        ({"prompt": "zuko77 here", "expand": False}, "zuko7, zuko77 here"),
        ({"expanded_prompt": "my own words"}, "zuko7, my own words"),
        ({"reference_model": "lookbook", "style": "sketch"}, None),
    ],
)
def test_the_trigger_word_stands_in_what_the_model_reads_exactly_once(user, given, read):
    model = make_trained(team_of(user), trigger_word="zuko7")
    job = submit(user, custom_model=str(model.id), **given)
    assert job.expanded_prompt == read or (read is None and "lookbook" in job.expanded_prompt)
    assert job.expanded_prompt.lower().count("zuko7") == (2 if "zuko77" in job.prompt else 1)


def test_a_model_that_cannot_draw_is_refused_and_nothing_is_kept(user):
    team = team_of(user)
    foreign = make_trained(team_of(make_user(credits=100)))
    deleted = make_trained(team)
    CustomModel.objects.filter(pk=deleted.pk).update(deleted_at=timezone.now())
    untrained = make_trained(team)
    ModelVersion.objects.filter(model=untrained).update(adapter_key="", adapter_sha256="", adapter_bytes=0)
    draft = CustomModel.objects.create(team=team, user=user)
    partly = make_trained(team, versions=2)
    ModelVersion.objects.filter(model=partly, number=1).update(deleted_at=timezone.now())
    before, held = Job.objects.count(), balance_of(team)
    cases = [
        ({"custom_model": str(foreign.id)}, InvalidParams, "custom_model"),
        ({"custom_model": str(deleted.id)}, InvalidParams, "custom_model"),
        ({"custom_model": "nonsense"}, InvalidParams, "custom_model"),
        ({"custom_model": str(partly.id), "version": 1}, InvalidParams, "version"),
        ({"custom_model": str(partly.id), "version": 3}, InvalidParams, "version"),
        ({"version": 1}, InvalidParams, "version"),
        ({"custom_model": str(partly.id), "model": "sd15"}, InvalidParams, "model"),
        ({"custom_model": str(untrained.id)}, ModelNotReady, None),
        ({"custom_model": str(untrained.id), "version": 1}, ModelNotReady, None),
        ({"custom_model": str(draft.id)}, ModelNotReady, None),
    ]
    for given, kind, field in cases:
        with pytest.raises(kind) as refused:
            submit(user, **given)
        assert field is None or list(refused.value.fields) == [field], given
    assert (Job.objects.count(), balance_of(team)) == (before, held)


def test_trying_again_and_repeating_keep_what_it_was_drawn_with(user):
    model = make_trained(team_of(user), versions=2)
    job = submit(user, custom_model=str(model.id), version=1, reference_model="lookbook")
    assert services.params_of(job) == make(services.params_of(job).as_dict() | {"size": f"{job.width}x{job.height}"})
    services.cancel_job(job)
    again = services.retry_job(job)
    assert (again.model_version, again.reference_model) == (job.model_version, "lookbook")
    assert again.expanded_prompt == job.expanded_prompt and again.metadata == job.metadata
    # The same key stays the same order when another version becomes the current one meanwhile.
    first = submit(user, "same", custom_model=str(model.id))
    CustomModel.objects.filter(pk=model.pk).update(current=job.model_version)
    assert submit(user, "same", custom_model=str(model.id)) == first


def test_an_order_without_them_keeps_the_fingerprint_that_it_had():
    assert make_params().fingerprint() == "f41c8d013a1afbcd0d8236bfe57fae8e57a0ab3b3ceb1f32ca9c8a5d3a8120d8"
    named = {make_params(reference_model="x").fingerprint(), make_params(custom_model="0" * 32).fingerprint()}
    assert len(named | {make_params().fingerprint()}) == 3


def test_geminis_words_are_dressed_and_keep_the_trigger_word(user, settings):
    model = make_trained(team_of(user), trigger_word="zuko7")
    ReferenceModel.objects.filter(slug="lookbook").update(recipe="lookbook of {prompt}", negative_prompt="drama")
    with fake.switched_on(settings) as gemini:
        gemini.will(fake.good("a wide beach at noon"))
        params = order(team_of(user), prompt="zuko7 on a beach", custom_model=str(model.id), reference_model="lookbook")
        made = wording.suggest_prompt(team=team_of(user), params=params)
        assert made.expander == "gemini" and made.prompt == "zuko7, lookbook of a wide beach at noon"
        assert "drama" in made.negative_prompt
        remembered = submit(user, prompt="zuko7 on a beach", custom_model=str(model.id), reference_model="lookbook")
        assert remembered.expanded_prompt == made.prompt


# --- Where it shows -------------------------------------------------------------------------------------------------
def test_pages_and_api_say_what_made_a_picture_in_no_more_statements(user):
    program, client = Program(user), client_of(user)
    model = make_trained(team_of(user), name="Aki <b>")
    pages = ("/gallery", "/jobs", "/api/v1/jobs")

    def statements(path):
        reader = program.client if path.startswith("/api") else client
        reader.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert reader.get(path).status_code == 200
        return len(captured)

    make_completed_job(user)
    before = {path: statements(path) for path in pages}
    for _ in range(3):
        job = make_completed_job(user, custom_model=model.id, reference_model="lookbook")
    assert {path: statements(path) for path in pages} == before
    answer = program.get(f"jobs/{job.id}").json()
    assert (answer["reference_model"], answer["custom_model"], answer["version"]) == ("lookbook", str(model.id), 1)
    for path in (f"/jobs/{job.id}", f"/jobs/{job.id}/receipt", "/gallery"):
        assert "Aki &lt;b&gt;, version 1" in client.get(path).content.decode(), path
    assert program.get(f"jobs/{make_job(user).id}").json()["custom_model"] is None


def test_a_program_orders_with_them(user):
    program, model = Program(user), make_trained(team_of(user))
    answer = program.post("generate", ASK | {"custom_model": str(model.id), "version": 1})
    assert answer.status_code == 202 and Job.objects.get(id=answer.json()["id"]).model_version == model.current
    refused = program.post("generate", ASK | {"reference_model": "none-such"})
    assert refused.status_code == 400 and list(refused.json()["fields"]) == ["reference_model"]
    assert program.post("generate", ASK | {"custom_model": "a\0b"}).status_code == 400
    CustomModel.objects.filter(pk=model.pk).update(current=None)
    assert program.post("generate", ASK | {"custom_model": str(model.id)}).json()["code"] == "model_not_ready"
    priced = program.post("quotes", {"reference_model": "street-style"}).json()
    assert priced["factors"]["complexity"] == "1.40"
    parsed = program.post("parse-prompt", {"prompt": "x", "reference_model": "street-style"}).json()
    assert "x, street style photograph" in parsed["expanded_prompt"]


def test_the_studio_has_one_control_for_all_of_them(user):
    client, model = client_of(user), make_trained(team_of(user), versions=2)
    other = make_trained(team_of(make_user(credits=100)), name="Theirs")
    page = client.get(f"/studio?custom={model.id}").content.decode()
    assert f'<option value="own:{model.id}" selected>Aki' in page and f"own:{model.id}:1" in page
    assert "Theirs" not in page and page.count('<option value="look:') == 50 and model.trigger_word in page
    page = client.get("/studio?reference=street-style").content.decode()
    assert '<option value="look:street-style" selected>' in page
    chosen = client.post("/studio/settings", studio_form(drawn_with="look:street-style"), headers=HTMX).content.decode()
    assert 'id="model-settings"' in chosen and 'id="chosen"' in chosen and "A long lens" not in chosen
    assert "hx-swap-oob" in chosen
    cases = {"look:lookbook": 201, f"own:{model.id}:1": 201, f"own:{other.id}": 400, "what:ever": 422, "own:x:y": 422}
    for number, (picked, status) in enumerate(cases.items()):
        data = studio_form(drawn_with=picked, request_key=f"k{number}")
        assert client.post("/studio/submit", data, headers=HTMX).status_code == status, picked
    drawn = Job.objects.filter(request_key__in=["k0", "k1"]).order_by("request_key")
    made = [(job.reference_model, job.model_version_id is not None) for job in drawn]
    assert made == [("lookbook", False), ("", True)]
    again = client.get(f"/studio?from={drawn[1].id}").content.decode()
    assert f'<option value="own:{model.id}:1" selected>' in again
