"""Price lists in the admin: a draft is edited, looked at and published; what counts is only shown."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from credits import prices
from credits.admin.prices import PriceVersionAdmin
from credits.models import PriceRule, PriceVersion
from credits.price_lists import copy_as_draft, publish
from tests.factories import make_job, make_user
from tests.integration.staff import address, errors, make_boss, post, texts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def boss() -> Client:
    return make_boss("ana@example.com")


@pytest.fixture
def draft() -> PriceVersion:
    return copy_as_draft(PriceVersion.objects.get(), "next", actor="x")


def draft_form(draft: PriceVersion, **values: object) -> dict[str, object]:
    """The form as the page sends it, with other values for some rules."""
    rules = list(draft.rules.all())
    said: dict[str, object] = {"name": draft.name, "note": "dearer", "rules-TOTAL_FORMS": len(rules)}
    said |= {"rules-INITIAL_FORMS": len(rules), "rules-MIN_NUM_FORMS": 0, "rules-MAX_NUM_FORMS": 1000}
    for place, rule in enumerate(rules):
        fields = {"id": rule.pk, "version": draft.pk, "name": rule.name, "option": rule.option}
        fields |= {"up_to": "" if rule.up_to is None else rule.up_to, "value": values.get(rule.name, rule.value)}
        said |= {f"rules-{place}-{name}": value for name, value in fields.items()}
    return said


def rules_of(version: PriceVersion) -> list[dict]:
    return list(PriceRule.objects.filter(version=version).order_by("pk").values())


def test_from_a_copy_to_prices_that_count(boss):
    first = PriceVersion.objects.get()
    answer = post(boss, address(PriceVersion, "copy", first.pk), name="2027-01")
    draft = PriceVersion.objects.get(name="2027-01")
    assert texts(answer) == ["2027-01 is a draft with the rules of 2026-11."]
    assert [title for title, _ in answer.context["buttons"]] == ["Preview", "Copy as draft", "Publish"]
    changed = boss.post(address(PriceVersion, "change", draft.pk), draft_form(draft, **{"image.base": "10"}))
    assert changed.status_code == 302
    assert "counts from" in texts(post(boss, address(PriceVersion, "publish", draft.pk), effective_at=""))[-1]
    draft.refresh_from_db()
    assert draft.published_by == "staff:ana@example.com"
    assert (prices.current().version, prices.current().get("image.base")) == ("2027-01", 10)


def test_prices_that_count_are_only_shown(boss):
    first = PriceVersion.objects.get()
    before = rules_of(first)
    page = address(PriceVersion, "change", first.pk)
    html = boss.get(page).content.decode()
    assert "image.resolution" in html and 'name="rules-0-value"' not in html and 'name="note"' not in html
    assert boss.post(page, draft_form(first, **{"image.base": "1"})).status_code == 403
    assert boss.post(address(PriceVersion, "delete", first.pk), {"post": "yes"}).status_code == 403
    assert "published or deleted meanwhile" in errors(post(boss, address(PriceVersion, "publish", first.pk)))
    assert rules_of(first) == before
    first.refresh_from_db()
    assert first.note != "dearer"


def test_a_draft_that_was_published_meanwhile_is_not_changed(boss, draft, monkeypatch):
    before = rules_of(draft)
    said = draft_form(draft, **{"image.base": "1"})
    real = PriceVersionAdmin.save_model

    def published_first(self, request, obj, form, change):
        publish(PriceVersion.objects.get(pk=obj.pk), actor="x")
        real(self, request, obj, form, change)

    monkeypatch.setattr(PriceVersionAdmin, "save_model", published_first)
    answer = boss.post(address(PriceVersion, "change", draft.pk), said, follow=True)
    assert "published or deleted meanwhile" in texts(answer)[0]
    assert rules_of(draft) == before


def test_a_list_with_a_hole_is_named_and_not_published(boss, draft):
    PriceRule.objects.filter(version=draft, name="image.resolution", up_to=None).delete()
    sentence = "image.resolution has a hole: nothing above 1024. Add one without a bound."
    for page in ("change", "preview", "publish"):
        assert sentence in boss.get(address(PriceVersion, page, draft.pk)).content.decode()
    assert sentence in errors(post(boss, address(PriceVersion, "publish", draft.pk)))
    draft.refresh_from_db()
    assert draft.effective_at is None and not LogEntry.objects.exists()


def test_a_list_for_later_is_withdrawn(boss, draft):
    later = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    answer = post(boss, address(PriceVersion, "publish", draft.pk), effective_at=later)
    assert texts(answer) == [f"next counts from {later} UTC."]
    assert [title for title, _ in answer.context["buttons"]] == ["Preview", "Copy as draft", "Withdraw"]
    assert boss.post(address(PriceVersion, "change", draft.pk), draft_form(draft)).status_code == 403
    assert texts(post(boss, address(PriceVersion, "withdraw", draft.pk))) == ["next is a draft again."]
    assert "in the past" in errors(post(boss, address(PriceVersion, "publish", draft.pk), effective_at="2020-01-01"))
    assert "Enter a valid" in errors(post(boss, address(PriceVersion, "publish", draft.pk), effective_at="soon"))
    draft.refresh_from_db()
    assert draft.effective_at is None


def test_the_preview_says_what_the_last_jobs_would_have_cost(boss, draft):
    make_job(make_user(credits=100), count=2)
    PriceRule.objects.filter(version=draft, name="image.base").update(value=10)
    html = boss.get(address(PriceVersion, "preview", draft.pk)).content.decode()
    assert "2 x 256x256 standard" in html and "<td>24</td><td>12</td>" in html
    empty = PriceVersion.objects.create(name="empty")
    assert "image.base is missing." in boss.get(address(PriceVersion, "preview", empty.pk)).content.decode()


def test_a_draft_is_deleted(boss, draft):
    assert boss.post(address(PriceVersion, "delete", draft.pk), {"post": "yes"}).status_code == 302
    assert list(PriceVersion.objects.values_list("name", flat=True)) == ["2026-11"]
    assert not PriceRule.objects.exclude(version__name="2026-11").exists()
