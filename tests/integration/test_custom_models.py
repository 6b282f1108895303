"""Models of one's own, by the services: what is allowed, what it costs, and that a refusal leaves no trace."""

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Activity
from accounts.signals import team_purged
from credits.errors import InsufficientCredits, PriceChanged
from credits.models import Plan
from credits.queries import balance_of
from generation import services as job_services
from generation import storage
from generation.custom import drafts, queries, recipes, services
from generation.engine import catalog
from generation.errors import (
    InvalidParams,
    ModelNotReady,
    ModelTrained,
    NoSuchModel,
    NotAPicture,
    PromptRefused,
    RequestKeyReused,
    TooFast,
    TooManyJobs,
    TooManyModels,
    VersionInUse,
)
from generation.models import CustomModel, ImageModel, Job, ModelVersion, TrainingImage
from tests.custom import add_pictures, make_draft, make_model, make_reference, train
from tests.factories import make_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def user():
    return make_user(credits=1000)


def everything(user):
    rows = [list(m.objects.order_by("id").values()) for m in (CustomModel, ModelVersion, TrainingImage, Job, Activity)]
    return rows, balance_of(team_of(user))


def submit(model, key="k", **options):
    return services.submit_training(model, user=model.user, request_key=key, **options)


def refine(model, key="r", **options):
    return services.refine(model, user=model.user, request_key=key, **options)


def test_ten_pictures_at_complexity_one_and_a_half_cost_115(user, bell, django_capture_on_commit_callbacks):
    model = make_draft(user, pictures=10, train_steps=300)
    with django_capture_on_commit_callbacks(execute=True):
        job = submit(model)
    assert bell == ["ring"]
    assert (services.quote_of(model).total_centi, job.quoted_centi) == (11_500, 11_500)
    assert balance_of(team_of(user)).available_centi == 88_500
    version = job.trained_version
    assert (version.number, version.iteration, version.parent, version.images_count) == (1, 0, None, 10)
    assert (job.kind, job.model, job.prompt, job.expanded_prompt) == ("creation", "starter", "My dog Zuko", "")
    assert (job.width, job.height, job.count, job.num_inference_steps, job.guidance_scale) == (256, 256, 1, 300, 1)
    assert (job.seed, job.batch_key, job.plan) == (version.settings["seed"], "", "free")
    model = queries.model_of(model.team, model.pk)
    assert (model.base_model, model.is_draft, model.status, model.current) == ("starter", False, "queued", None)
    line = Activity.objects.get(verb="model.trained")
    assert (line.actor_user, line.target, line.details["version"]) == (user, "My dog Zuko", 1)


def test_the_second_refinement_at_complexity_one_and_a_half_costs_71_28(user):
    model = make_model(user)
    first = refine(model, "r1", steps=100)
    train(first)
    second = refine(model, "r2", steps=100)
    assert (first.quoted_centi, second.quoted_centi) == (5940, 7128)
    assert services.quote_refinement(model).total_centi == 7128
    version = second.trained_version
    assert (second.kind, version.number, version.iteration, version.parent.number) == ("refinement", 3, 2, 2)
    job_services.cancel_job(second)
    assert refine(model, "r3", steps=100).quoted_centi == 7128  # one that was canceled raises no price


def test_what_suits_a_number_of_pictures_is_worked_out_in_one_place():
    spec = catalog.get("starter")
    made = recipes.make(spec, trigger_word="zuko7", pictures=6, steps=None, train_text_encoder=True, seed=5).as_dict()
    assert made == {
        "steps": 240, "rank": 8, "learning_rate": made["learning_rate"], "resolution": 256, "batch_size": 2, "seed": 5,
        "train_text_encoder": True, "samples": made["samples"],
    }  # fmt: skip
    assert len(made["samples"]) == 4 and all("zuko7" in sample["prompt"] for sample in made["samples"])
    assert len({sample["seed"] for sample in made["samples"]}) == 4
    sdxl = catalog.get("sdxl-lightning")
    made = recipes.make(sdxl, trigger_word="zuko7", pictures=1, steps=77, train_text_encoder=False, seed=5)
    assert (made.steps, made.batch_size, made.resolution, made.train_text_encoder) == (77, 1, 1024, False)


@pytest.mark.parametrize(
    ("model", "is_wanted", "learns"),
    [
        ("starter", False, True),
        ("sdxl-lightning", True, True),
        ("flux-schnell", True, False),
        ("qwen-image-lightning", True, False),
    ],
)
def test_a_text_encoder_learns_where_it_must_or_is_asked_to_and_can(model, is_wanted, learns):
    wish = {"trigger_word": "zuko7", "pictures": 6, "steps": None, "seed": 5, "train_text_encoder": is_wanted}
    assert recipes.make(catalog.get(model), **wish).train_text_encoder is learns


def test_a_draft_is_kept_and_offered_again(user):
    first = drafts.begin(team=team_of(user), user=user)
    second = make_draft(user)
    assert queries.draft_of(team_of(user), user) == second
    submit(second)
    assert queries.draft_of(team_of(user), user) == first
    assert queries.draft_of(team_of(user), make_user()) is None
    for _ in range(drafts.DRAFTS_MAX - 1):
        drafts.begin(team=team_of(user), user=user)
    before = everything(user)
    with pytest.raises(TooManyModels, match="20 drafts"):
        drafts.begin(team=team_of(user), user=user)
    assert everything(user) == before


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"name": "x" * 61}, InvalidParams, "at most 60 characters; this has 61"),
        ({"description": "x" * 301}, InvalidParams, "at most 300"),
        ({"trigger_word": "Zuko"}, InvalidParams, "small letters"),
        ({"trigger_word": "dog"}, InvalidParams, "ordinary word"),
        ({"trigger_word": "taken1"}, InvalidParams, "Another model of your team is called by 'taken1'"),
        ({"train_steps": 49}, InvalidParams, "from 50 to 4,000"),
        ({"train_steps": 4001}, InvalidParams, "from 50 to 4,000"),
        ({"reference": "nowhere"}, InvalidParams, "no reference model called 'nowhere'"),
        ({"reference": "retired"}, InvalidParams, "no reference model called 'retired'"),
        ({"name": "a nude child"}, PromptRefused, "."),
    ],
)
def test_a_draft_takes_nothing_that_is_not_offered(user, fields, error, words):
    make_draft(user, trigger_word="taken1")
    make_reference(slug="retired", is_active=False)
    model = make_draft(user)
    before = everything(user)
    with pytest.raises(error, match=words):
        drafts.change(model, actor=user, **fields)
    assert everything(user) == before


def test_a_trigger_word_is_free_again_once_its_model_is_deleted_and_never_taken_by_another_team(user):
    model = make_draft(user, trigger_word="zuko7")
    make_draft(make_user(), trigger_word="zuko7")
    services.delete_model(model, actor=user)
    assert make_draft(user, trigger_word="zuko7").trigger_word == "zuko7"


@pytest.mark.parametrize("attempt", [
    ("reference", {"reference": None}), ("name", {"name": ""}), ("trigger_word", {"trigger_word": ""}),
    ("has_consent", {"has_consent": False}), ("pictures", {"pictures": 2}), ("pictures", {"pictures": 41}),
], ids=str)  # fmt: skip
def test_what_is_missing_is_named_and_nothing_is_charged(user, attempt):
    field, fields = attempt
    model = make_draft(user, pictures=fields.pop("pictures", 3))
    model = drafts.change(model, actor=user, **fields)
    assert list(services.problems_of(model)) == [field]
    before = everything(user)
    with pytest.raises(InvalidParams) as refusal:
        submit(model)
    assert list(refusal.value.fields) == [field]
    assert everything(user) == before


def test_every_other_refusal_leaves_no_trace_either(user, settings):
    model = make_draft(user)
    plan = Plan.objects.filter(is_default=True)

    def refused(error, words, **options):
        before = everything(user)
        with pytest.raises(error, match=words):
            submit(model, **options)
        assert everything(user) == before

    refused(PriceChanged, "costs", at_most_centi=11_249)
    plan.update(training_images_max=2)
    refused(InvalidParams, "allows 2 pictures a model; there are 3")
    plan.update(training_images_max=40, models_max=0)
    refused(TooManyModels, "allows 0 models of your own")
    plan.update(models_max=1, model_storage_bytes=2999)
    refused(TooManyModels, "of training pictures and versions")
    plan.update(model_storage_bytes=10**9, queue_cap=1)
    make_job(user, request_key="taken")
    refused(TooManyJobs, "queues up to 1")
    plan.update(queue_cap=20)
    refused(RequestKeyReused, "another request", key="taken")
    settings.RATE_LIMITS = True
    refused(TooFast, "Wait")
    settings.RATE_LIMITS = False
    ImageModel.objects.filter(slug="starter").update(is_active=False)
    refused(InvalidParams, "cannot be trained from on this server")
    ImageModel.objects.filter(slug="starter").update(is_active=True)
    model.pictures.update(caption="a nude child")
    refused(PromptRefused, ".")
    model.pictures.update(caption="")
    poor = make_draft(make_user(credits=10))
    with pytest.raises(InsufficientCredits):
        submit(poor)
    assert not Job.objects.filter(team=poor.team).exists() and queries.model_of(poor.team, poor.pk).is_draft
    submit(model)


def test_the_same_key_is_the_same_training(user):
    model = make_draft(user)
    job = submit(model)
    before = everything(user)
    assert submit(model) == job
    with pytest.raises(RequestKeyReused):
        submit(make_draft(user))
    with pytest.raises(RequestKeyReused):
        refine(model, "k", steps=100)
    assert everything(user)[0][1] == before[0][1] and balance_of(team_of(user)) == before[1]


def test_one_training_at_a_time_and_a_failed_one_is_submitted_again(user):
    model = make_draft(user)
    job = submit(model)
    before = everything(user)
    for attempt in (
        lambda: submit(model, "k2"),
        lambda: refine(model, steps=100),
        lambda: drafts.change(model, actor=user, name="Other"),
    ):
        with pytest.raises(ModelNotReady):
            attempt()
    with pytest.raises(VersionInUse):
        services.delete_version(model, job.trained_version, actor=user)
    assert everything(user) == before
    job_services.cancel_job(job, actor=user)
    assert balance_of(team_of(user)).available_centi == 100_000
    with pytest.raises(NotAPicture):
        job_services.retry_job(job)
    with pytest.raises(InvalidParams, match="needs a name"):
        drafts.change(model, actor=user, name=" ")
    drafts.change(model, actor=user, name="Zuko the second", train_steps=60)
    again = submit(model, "k2")
    assert (again.trained_version.number, again.trained_version.iteration, again.quoted_centi) == (2, 0, 11_250)
    assert (again.prompt, again.num_inference_steps) == ("Zuko the second", 60)


def test_a_trained_model_is_refined_from_any_ready_version_and_only_for_a_change(user):
    model = make_model(user)
    first = model.current
    before = everything(user)
    for refusal, attempt in (
        (ModelTrained, lambda: submit(model, "k2")),
        (ModelTrained, lambda: drafts.change(model, actor=user, trigger_word="other7")),
        (InvalidParams, lambda: refine(model)),
        (InvalidParams, lambda: refine(model, steps=10)),
    ):
        with pytest.raises(refusal):
            attempt()
    assert everything(user) == before
    add_pictures(model, 1)
    second = train(refine(model))
    assert (second.images_count, second.job.num_inference_steps, second.parent) == (4, 160, first)
    third = train(refine(model, "r3", parent=first))  # the picture is new to version 1
    assert (third.number, third.parent, third.iteration) == (3, first, 2)
    with pytest.raises(InvalidParams, match="new since version 3"):
        refine(model, "r4")


def test_versions_are_promoted_rolled_back_and_deleted_with_their_files(user, django_capture_on_commit_callbacks):
    model = make_model(user)
    first, second = model.current, train(refine(model, steps=100))
    for version in (first, second):
        storage.put(version.adapter_key, b"weights")
    assert services.promote(model, first, actor=user).current == first
    assert services.promote(model, first, actor=user).current == first
    assert Activity.objects.filter(verb="model.promoted").count() == 1
    job = make_job(user)
    Job.objects.filter(pk=job.pk).update(model_version=first)
    with pytest.raises(VersionInUse, match=r"Pictures are being made with it \(1\)"):
        services.delete_version(model, first, actor=user)
    job_services.cancel_job(job)
    running = refine(model, "r2", parent=first, steps=100)
    with pytest.raises(VersionInUse, match="starts from version 1"):
        services.delete_version(model, first, actor=user)
    job_services.cancel_job(running)
    with django_capture_on_commit_callbacks(execute=True):
        model = services.delete_version(model, first, actor=user)
    assert model.current == second
    first.refresh_from_db()
    assert (first.is_ready, first.adapter_key, first.samples, first.losses) == (False, "", [], [[10, 0.5], [20, 0.25]])
    assert services.delete_version(model, first, actor=user).current == second
    for attempt in (
        lambda: services.promote(model, first, actor=user),
        lambda: refine(model, "r3", parent=first, steps=100),
    ):
        with pytest.raises(ModelNotReady, match="Version 1 cannot be"):
            attempt()
    assert not default_storage.exists(f"models/{model.team_id}/{model.pk}/{first.pk}.1/adapter.safetensors")
    assert default_storage.exists(second.adapter_key)
    assert queries.storage_of(model.team) == 3000 + 5000
    assert services.delete_version(model, second, actor=user).current is None


def test_deleting_a_model_cancels_its_training_and_leaves_its_jobs(user, django_capture_on_commit_callbacks):
    model = make_model(user)
    (picture, *_) = queries.pictures_of(model)
    keys = [picture.key, picture.thumbnail_key, model.current.adapter_key, model.current.samples[0]["key"]]
    for key in keys:
        storage.put(key, b"x")
    drawn = make_job(user)
    Job.objects.filter(pk=drawn.pk).update(model_version=model.current)
    running = refine(model, steps=100)
    before = everything(user)
    with pytest.raises(VersionInUse):
        services.delete_model(model, actor=user)
    assert everything(user) == before
    job_services.cancel_job(drawn)
    held = balance_of(team_of(user))
    with django_capture_on_commit_callbacks(execute=True):
        services.delete_model(model, actor=user)
    assert not any(default_storage.exists(key) for key in keys)
    running.refresh_from_db()
    assert running.status == "canceled"
    assert balance_of(team_of(user)).available_centi == held.available_centi + 5940
    assert queries.model_of(model.team, model.pk) is None and queries.usable(model.team) == []
    assert (Job.objects.count(), ModelVersion.objects.count(), TrainingImage.objects.count()) == (3, 2, 0)
    assert queries.storage_of(model.team) == 0
    for attempt in (
        lambda: services.delete_model(model, actor=user),
        lambda: services.rename(model, actor=user, name="x"),
        lambda: refine(model, "r2", steps=100),
    ):
        with pytest.raises(NoSuchModel):
            attempt()


def test_a_model_is_renamed_at_any_time(user):
    model = make_model(user)
    model = services.rename(model, actor=user, name="  Zuko\u202e the \n dog ", description="Ours")
    assert (model.name, model.description) == ("Zuko the dog", "Ours")
    before = everything(user)
    for error, fields in (
        (InvalidParams, {"name": ""}),
        (InvalidParams, {"name": "x" * 61}),
        (PromptRefused, {"description": "a nude child"}),
    ):
        with pytest.raises(error):
            services.rename(model, actor=user, **fields)
    assert everything(user) == before


def test_a_deleted_team_leaves_no_model_behind(user, django_capture_on_commit_callbacks):
    model = make_model(user)
    make_draft(user)
    storage.put(model.current.adapter_key, b"x")
    refine(model, steps=100)
    with django_capture_on_commit_callbacks(execute=True):
        team_purged.send(sender=None, team=model.team)
    assert not default_storage.exists(model.current.adapter_key)
    assert not CustomModel.objects.filter(team=team_of(user)).exists() and not TrainingImage.objects.exists()
    assert Job.objects.filter(team=team_of(user)).count() == 2


def test_lists_ask_the_same_number_of_questions_however_long_they_are(user):
    team = team_of(user)
    Plan.objects.filter(is_default=True).update(models_max=100)
    counts = []
    for models in (1, 4):
        for _ in range(models):
            make_model(user)
        with CaptureQueriesContext(connection) as asked:
            page = queries.models_page(team, None)
            assert all((m.pictures_count, m.status, m.reference.name, m.current.number) for m in page.items)
            usable = queries.usable(team)
            assert all((m.ready[0].number, m.current.number, m.reference.slug) for m in usable)
        counts.append(len(asked))
    assert counts == [3, 3] and len(page.items) == len(usable) == 5
    first = queries.models_page(team, None, size=2)
    assert [len(first.items), len(queries.models_page(team, first.next_cursor, size=2).items)] == [2, 2]
