"""Reference models: the file they come from, the pages and addresses that show them, staff's form and the samples."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse
from PIL import Image as Pillow

from generation import policy, seed
from generation.admin_looks import problem_of
from generation.engine import catalog
from generation.looks import Choice
from generation.management.commands import render_previews as command
from generation.models import ReferenceModel
from generation.templatetags import generation as tags
from tests.factories import make_user
from tests.fake_engine import FakeEngine
from tests.integration.pages import client_of
from tests.integration.program import Program
from tests.integration.staff import make_boss

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]
PAGE = "/reference-models"


# --- The file -------------------------------------------------------------------------------------------------------
def test_the_file_has_ten_whole_looks_in_each_category():
    rows = seed.read_rows("reference_models.toml", "reference_model")
    per_category = {value: sum(row["category"] == value for row in rows) for value in ReferenceModel.Category.values}
    assert set(per_category.values()) == {10} and len({row["slug"] for row in rows}) == 50
    assert len({row["name"] for row in rows}) == len({row["recipe"] for row in rows}) == 50
    for look in ReferenceModel.objects.all():
        look.full_clean()
        assert "{prompt}" in look.recipe and look.negative_prompt and problem_of(look.defaults) == ""
        assert policy.refusal(look.recipe, look.negative_prompt, look.example_prompt) is None
        for spec in catalog.CATALOG.values():
            assert Choice(spec.name, look).usual()["size"]


def test_seeding_again_keeps_what_staff_changed():
    ReferenceModel.objects.filter(slug="street-style").update(name="Ours", complexity="1.90", is_active=False)
    ReferenceModel.objects.filter(slug="lookbook").delete()
    assert seed.seed()["reference models"] == 1
    kept = ReferenceModel.objects.values_list("name", "complexity", "is_active").get(slug="street-style")
    assert (kept[0], str(kept[1]), kept[2]) == ("Ours", "1.90", False)


# --- Pages ----------------------------------------------------------------------------------------------------------
def test_the_list_is_filtered_searched_and_says_when_it_is_empty(django_assert_max_num_queries):
    client = client_of(make_user())
    everything = client.get(PAGE)
    assert everything.content.count(b'<li class="look"') == 50
    with django_assert_max_num_queries(5):
        client.get(PAGE)
    cases = {
        "?category=beauty": 10,
        "?category=nonsense": 50,
        "?q=YOGA": 1,
        "?q=portrait&category=business": 1,
        "?q=portrait%20pet": 1,
        "?q=%00%27%25": 0,
        "?q=<script>": 0,
    }
    for query, found in cases.items():
        page = client.get(PAGE + query)
        assert (page.status_code, page.content.count(b'<li class="look"')) == (200, found), query
        assert (b"No look like that" in page.content) is (found == 0)
    assert b"<script>\xe2\x80\x9d" not in page.content and b"&lt;script&gt;" in page.content


def test_a_look_has_a_page_that_explains_it_and_leads_to_the_studio():
    client = client_of(make_user())
    ReferenceModel.objects.filter(slug="lookbook").update(description="<b>plain</b>", recipe="a {prompt} <i>b")
    page = client.get(f"{PAGE}/lookbook").content.decode()
    assert 'href="/studio?reference=lookbook"' in page and "a <mark>your words</mark> &lt;i&gt;b" in page
    assert "&lt;b&gt;plain" in page and "price × 1.2<" in page and "drawn by the installed model" in page
    ReferenceModel.objects.filter(slug="lookbook").update(is_active=False)
    assert client.get(f"{PAGE}/lookbook").status_code == client.get(f"{PAGE}/none").status_code == 404


def test_a_sample_that_is_not_there_breaks_no_page(settings):
    ReferenceModel.objects.filter(slug="lookbook").update(preview="reference/gone.webp")
    client = client_of(make_user())
    assert b"Not drawn yet" in client.get(f"{PAGE}/lookbook").content
    assert b"gone.webp" not in client.get(f"{PAGE}?q=lookbook").content


def test_every_shipped_look_has_a_small_sample():
    for look in ReferenceModel.objects.all():
        file = seed.STATIC / look.preview
        assert look.preview and file.stat().st_size <= command.BYTES_MAX and Pillow.open(file).size == (256, 256)
        assert tags.reference_preview(look).endswith(f"reference/{look.slug}.webp")


# --- REST -----------------------------------------------------------------------------------------------------------
def test_programs_list_and_read_looks(django_assert_max_num_queries):
    program = Program(make_user())
    program.get("styles")  # notes the key's use
    with django_assert_max_num_queries(2):  # the key and the looks
        rows = program.get("reference-models").json()
    assert len(rows) == 50 and [row["category"] for row in rows] == sorted(row["category"] for row in rows)
    assert [row["id"] for row in program.get("reference-models?category=fitness&q=dawn").json()] == ["yoga-at-dawn"]
    one = program.get("reference-models/yoga-at-dawn").json()
    assert one == next(row for row in rows if row["id"] == "yoga-at-dawn")
    assert (one["complexity"], one["base_model"], one["defaults"]) == ("1.30", "starter", {"size": "512x384"})
    assert one["preview_url"] == "http://testserver/static/reference/yoga-at-dawn.webp"
    for path, status in {
        "?category=x": 400,
        "?what=x": 400,
        "/none": 404,
        "/a%00b": 404,
        f"?q={'x' * 101}": 400,
    }.items():
        assert program.get(f"reference-models{path}").status_code == status, path


# --- Staff ----------------------------------------------------------------------------------------------------------
def test_staff_edit_a_look_and_broken_ones_are_refused():
    boss, look = make_boss("boss@example.com"), ReferenceModel.objects.get(slug="lookbook")
    page = reverse("admin:generation_referencemodel_change", args=[look.pk])
    whole = {
        "name": "Book", "category": "fashion", "description": "d", "complexity": "1.25", "base_model": "",
        "recipe": "{prompt}, plain", "negative_prompt": "", "defaults": '{"size": "512x384"}',
        "example_prompt": "a fox", "position": "3", "is_active": "on",
    }  # fmt: skip
    for field, value in {
        "recipe": "no words", "complexity": "2.01", "base_model": "unheard-of", "defaults": '{"steps": 3}',
        "category": "x", "example_prompt": "",
    }.items():  # fmt: skip
        answer = boss.post(page, whole | {field: value})
        assert answer.status_code == 200 and field in errors_of(answer), field
    look.refresh_from_db()
    assert look.name == "Lookbook"
    assert boss.post(page, whole | {"slug": "renamed"}).status_code == 302
    look.refresh_from_db()
    assert (look.name, look.slug, str(look.complexity), look.defaults) == (
        "Book", "lookbook", "1.25", {"size": "512x384"},
    )  # fmt: skip
    trained = f"{reverse('admin:generation_custommodel_changelist')}?reference__id__exact={look.pk}"
    assert trained in boss.get(page).content.decode() and boss.get(trained).status_code == 200
    assert boss.get(reverse("admin:generation_referencemodel_add")).status_code == 200


def errors_of(answer) -> list[str]:
    return list(answer.context["adminform"].form.errors)


@pytest.mark.parametrize(
    "defaults",
    [[], {"steps": 3}, {"size": "big"}, {"size": 3}, {"num_inference_steps": 0}, {"num_inference_steps": True},
     {"num_inference_steps": 10**9}, {"guidance_scale": "4"}, {"guidance_scale": 1000}],
)  # fmt: skip
def test_defaults_that_no_order_could_take_are_refused(defaults):
    assert problem_of(defaults) and problem_of(json.loads('{"size": "384x512", "guidance_scale": 4.5}')) == ""


# --- Samples --------------------------------------------------------------------------------------------------------
def test_samples_are_drawn_by_the_chosen_model_and_shown(tmp_path, settings, monkeypatch, capsys):
    engine = FakeEngine()
    settings.BASE_DIR = tmp_path
    monkeypatch.setattr(command, "build", lambda device: engine)
    ReferenceModel.objects.update(preview="")
    call_command("render_previews", "--only", "lookbook", "--model", "sdxl-lightning")
    (batch,) = engine.batches
    assert (batch.model, batch.width, batch.height) == ("sdxl-lightning", 1024, 1024)
    assert "a white cat in a meadow" in batch.requests[0].prompt and "lookbook" in batch.requests[0].prompt
    file = tmp_path / "static/reference/lookbook.webp"
    assert Pillow.open(file).size == (256, 256) and file.stat().st_size <= 14_000
    assert list(ReferenceModel.objects.exclude(preview="").values_list("preview", flat=True)) == [
        "reference/lookbook.webp"
    ]
    call_command("render_previews")
    assert len(engine.batches) == 51 and not ReferenceModel.objects.filter(preview="").exists()
    assert capsys.readouterr().out.count(".webp") == 51
    with pytest.raises(CommandError, match="no such look"):
        call_command("render_previews", "--only", "none")
