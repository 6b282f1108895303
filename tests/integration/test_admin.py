"""The admin: staff look at everything, act through services, and change no ledger."""

import re

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import services as account_services
from accounts.models import Activity, ApiKey, Invitation, Team, User
from credits.audit import find_drift
from credits.models import (
    Clawback,
    Entry,
    Grant,
    Hold,
    Notice,
    Pass,
    PassProduct,
    Plan,
    PriceVersion,
    Subscription,
    Uncollected,
    Wallet,
)
from credits.queries import balance_of
from generation import services, storage
from generation.models import Image, ImageModel, Job, Product, Provider, ReferenceModel, RemoteRequest, Style
from tests.factories import make_job, make_member, make_user, team_of
from tests.integration import test_billing_admin, test_model_admin
from tests.pictures import deliver
from tests.remote import make_request

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
MODELS = (User, Team, ApiKey, Activity, Invitation, Wallet, Grant, Hold, Entry, Job, Image, Style, Product, ImageModel)
MODELS += (Provider, ReferenceModel, RemoteRequest)
# tests/integration/test_credits_admin.py
ELSEWHERE = (Clawback, Uncollected, Notice, Pass, PassProduct, Plan, PriceVersion, Subscription)
ELSEWHERE += test_billing_admin.MODELS + test_model_admin.MODELS
LEDGER = (Wallet, Grant, Hold, Entry)
LOOK_ONLY = (*LEDGER, Job, ApiKey, Activity, Invitation, RemoteRequest)
PASSWORD = "correct horse battery"


def address(model, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def sign_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make_staff(*permissions: str) -> User:
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def texts(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def boss() -> Client:
    return sign_in(make_user(is_staff=True, is_superuser=True))


@pytest.fixture
def somebody() -> User:
    """A customer with one row of everything."""
    user = make_user(credits=100)
    account_services.create_api_key(team=team_of(user), user=user, name="ci")
    account_services.invite(team=team_of(user), email="p@example.com", role="member", actor=user)
    deliver(make_job(user, prompt="<b>a red fox</b>"))
    make_request(make_job(user))
    return user


def act(client: Client, model, action: str, *rows, **more: str):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(address(model, "changelist"), data, follow=True)


def test_everything_is_registered():
    ours = {model for model in admin.site._registry if model._meta.app_label in ("accounts", "credits", "generation")}
    assert ours == {*MODELS, *ELSEWHERE}


def test_staff_sign_in_by_email():
    staff = make_user(is_staff=True, is_superuser=True)
    client = Client()
    form = {"login": staff.email, "password": PASSWORD}
    assert client.get(reverse("admin:login")).url == f"{reverse('account_login')}?next=%2Fadmin%2Flogin%2F"
    assert client.post(reverse("account_login"), form).status_code == 302
    assert client.get(reverse("admin:index")).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_strangers_and_customers_are_sent_to_the_sign_in(model, somebody):
    row = model.objects.first()
    for client in (Client(), sign_in(somebody)):
        for page, args in (("changelist", ()), ("add", ()), ("change", (row.pk,)), ("delete", (row.pk,))):
            answer = client.get(address(model, page, *args))
            assert answer.status_code == 302 and answer["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_staff_with_the_right_to_look_can_look(model, somebody):
    looker = sign_in(make_staff(*(f"view_{model._meta.model_name}" for model in MODELS)))
    row = model.objects.first()
    for page in (address(model, "changelist"), address(model, "change", row.pk), address(model, "history", row.pk)):
        assert looker.get(page).status_code == 200
    assert sign_in(make_staff()).get(address(model, "changelist")).status_code == 403


@pytest.mark.parametrize("model", LOOK_ONLY, ids=lambda model: model.__name__)
def test_nobody_adds_changes_or_deletes(model, somebody, boss):
    row = model.objects.first()
    before = list(model.objects.order_by("pk").values())
    assert boss.get(address(model, "add")).status_code == 403
    assert boss.post(address(model, "add"), {}).status_code == 403
    assert boss.post(address(model, "change", row.pk), {"amount_centi": 1}).status_code == 403
    assert boss.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    act(boss, model, "delete_selected", row, post="yes")
    after = list(model.objects.order_by("pk").values())
    assert before == after
    assert find_drift() == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_search_finds_ids_and_survives_anything(model, somebody, boss):
    job = Job.objects.first()
    for term in (str(job.id), str(job.team_id), somebody.email, "nothing such", "'", "%", '"open quote', "x" * 3000):
        assert boss.get(address(model, "changelist"), {"q": term}).status_code == 200


def test_jobs_are_found_by_id_person_and_team(somebody, boss):
    other = make_job(make_user(credits=100))
    for term in (str(other.id), other.user.email, str(other.team_id)):
        found = boss.get(address(Job, "changelist"), {"q": term}).context["cl"].queryset
        assert list(found) == [other]
    found = boss.get(address(Entry, "changelist"), {"q": str(other.id)}).context["cl"].queryset
    assert [entry.kind for entry in found] == ["reserve"]


def test_jobs_are_filtered(somebody, boss):
    for query in ({"status__exact": "completed"}, {"kind__exact": "image", "model": "starter"}):
        found = boss.get(address(Job, "changelist"), query).context["cl"].queryset
        assert set(found) == set(Job.objects.filter(**({"status": "completed"} if "status__exact" in query else {})))
    assert not boss.get(address(Job, "changelist"), {"model": "sd15"}).context["cl"].queryset.exists()


def test_a_long_list_costs_as_many_statements_as_a_short_one(somebody, boss):
    pages = {model: address(model, "changelist") for model in MODELS}
    boss.get(pages[Job])  # reads content types and permissions, which are kept
    short = {model: count_statements(boss, page) for model, page in pages.items()}
    for _ in range(19):
        user = make_user(credits=100)
        account_services.create_api_key(team=team_of(user), user=user, name="ci")
        deliver(make_job(user))
    long = {model: count_statements(boss, page) for model, page in pages.items()}
    assert long == short
    assert max(long.values()) <= 8


def count_statements(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return len(captured)


def test_every_page_obeys_the_content_security_policy(somebody, boss):
    pages = [reverse("admin:index")]
    for model in MODELS:
        row = model.objects.first()
        pages += [address(model, "changelist"), address(model, "change", row.pk), address(model, "history", row.pk)]
    pages += [address(User, "add"), address(Style, "add"), address(Image, "delete", Image.objects.first().pk)]
    for page in pages:
        answer = boss.get(page)
        html = answer.content.decode()
        assert answer.status_code == 200
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", html), page
        assert not re.search(r"<[a-z][^>]*\s(style|on[a-z]+)=", html), page
        assert "<style" not in html, page


def test_links_lead_from_row_to_row(somebody, boss):
    team = team_of(somebody)
    links: set[str] = set()  # each page repeats those of the menu
    for model in MODELS:
        row = model.objects.filter(pk=team.wallet.pk).first() if model is Wallet else model.objects.first()
        html = boss.get(address(model, "change", row.pk)).content.decode()
        links |= set(re.findall(r'href="(/admin/(?:accounts|credits|generation)/[^"]+)"', html))
    for link in sorted(links):
        assert boss.get(link.replace("&amp;", "&")).status_code == 200, link
    html = boss.get(address(Wallet, "changelist")).content.decode()
    assert f"{address(Entry, 'changelist')}?wallet__id__exact={team.wallet.pk}" in html


def test_prompts_are_shown_as_text(somebody, boss):
    html = boss.get(address(Image, "changelist")).content.decode()
    assert "&lt;b&gt;a red fox" in html and "<b>a red fox" not in html


def test_cancel_gives_back_and_reports_what_was_too_late(somebody, boss):
    opened = Job.objects.get(status="queued")
    over = Job.objects.get(status="completed")
    answer = act(boss, Job, "cancel", opened, over)
    opened.refresh_from_db()
    assert opened.status == "canceled"
    assert texts(answer) == [f"{over.pk}: This job is completed already.", "Canceled: 1."]
    assert balance_of(team_of(somebody)).held_centi == 0
    assert "Canceled" in boss.get(address(Job, "history", opened.pk)).content.decode()


def test_refund_gives_back_what_a_job_was_charged_once_and_needs_the_right_to_adjust(somebody, boss):
    opened, over = Job.objects.get(status="queued"), Job.objects.get(status="completed")
    before = balance_of(team_of(somebody)).available_centi
    act(sign_in(make_staff("view_job", "change_job")), Job, "refund", over)
    assert balance_of(team_of(somebody)).available_centi == before
    for _ in range(2):
        answer = act(boss, Job, "refund", opened, over)
    assert texts(answer) == [f"{opened.pk}: This job was charged no credits.", "Refunded: 1."]
    assert balance_of(team_of(somebody)).available_centi == before + over.charged_centi > before
    entry = Entry.objects.get(grant__source="adjustment")
    assert (entry.kind, entry.reason, entry.grant.source_ref) == ("grant", "Job refunded", f"staff:job:{over.pk}")
    assert find_drift() == []


def test_retry_makes_a_new_job_for_its_person(somebody, boss):
    job = services.cancel_job(Job.objects.get(status="queued"))
    answer = act(boss, Job, "retry", job)
    again = Job.objects.get(request_key=f"retry:{job.id}")
    assert (again.user, again.team, again.status) == (job.user, job.team, "queued")
    assert texts(answer) == ["Tried again: 1."]
    assert texts(act(boss, Job, "retry", Job.objects.get(status="completed"))) != ["Tried again: 1."]


def test_retry_costs_and_says_so(boss):
    poor = make_user(credits=6)
    job = make_job(poor)
    services.cancel_job(job)
    make_job(poor)
    answer = act(boss, Job, "retry", job)
    assert texts(answer) == [f"{job.pk}: This costs 6 credits; you have 0."]


def test_looking_is_not_acting(somebody):
    looker = sign_in(make_staff("view_job", "view_apikey", "view_image"))
    job = Job.objects.get(status="queued")
    act(looker, Job, "cancel", job)
    act(looker, ApiKey, "revoke", ApiKey.objects.get())
    act(looker, Image, "delete_selected", Image.objects.get(), post="yes")
    job.refresh_from_db()
    assert (job.status, ApiKey.objects.get().revoked_at, Image.objects.count()) == ("queued", None, 1)
    actor = sign_in(make_staff("view_job", "change_job"))
    act(actor, Job, "cancel", job)
    job.refresh_from_db()
    assert job.status == "canceled"


def test_revoked_keys_open_nothing(somebody, boss):
    key, text = account_services.create_api_key(team=team_of(somebody), user=somebody, name="gone")
    assert texts(act(boss, ApiKey, "revoke", key)) == ["Revoked: 1."]
    assert Client(headers={"X-API-Key": text}).get("/api/v1/jobs").status_code == 401


def test_images_are_deleted_with_their_files(somebody, boss, django_capture_on_commit_callbacks):
    deliver(make_job(somebody))
    deliver(make_job(somebody))
    one, *more = Image.objects.order_by("created_at")
    files = [key for image in (one, *more) for key in storage.files_of(image)]
    assert set(files) <= set(storage.walk())
    with django_capture_on_commit_callbacks(execute=True):
        assert boss.post(address(Image, "delete", one.pk), {"post": "yes"}).status_code == 302
        ask = act(boss, Image, "delete_selected", *more)
        assert "Are you sure" in ask.content.decode() and Image.objects.count() == 2
        act(boss, Image, "delete_selected", *more, post="yes")
    assert not Image.objects.exists()
    assert not set(files) & set(storage.walk())
    assert Job.objects.filter(status="completed").count() == 3


def test_staff_see_pictures_of_every_team(somebody, boss):
    image = Image.objects.get()
    page = reverse("admin:generation_image_file", args=[image.pk, "thumbnail"])
    assert page in boss.get(address(Image, "changelist")).content.decode()
    answer = boss.get(page)
    assert answer.status_code == 302
    assert boss.get(answer["Location"]).status_code == 200
    assert boss.get(reverse("admin:generation_image_file", args=[image.pk, "key"])).status_code == 404
    assert sign_in(make_staff("view_job")).get(page).status_code == 403


def test_the_catalogue_is_edited_but_its_slugs_stay(boss):
    style = Style.objects.get(slug="anime")
    form = {"slug": "renamed", "name": "Manga", "recipe": "{prompt}, manga", "position": 3, "is_active": "on"}
    assert boss.post(address(Style, "change", style.pk), form).status_code == 302
    style.refresh_from_db()
    assert (style.slug, style.name) == ("anime", "Manga")
    lost = boss.post(address(Style, "change", style.pk), form | {"recipe": "just manga"})
    assert "Write {prompt}" in lost.content.decode()
    assert boss.post(address(Style, "add"), form | {"slug": "new"}).status_code == 302
    assert Style.objects.filter(slug="new").exists()
    assert boss.post(address(Style, "delete", style.pk), {"post": "yes"}).status_code == 403
    assert boss.get(address(ImageModel, "add")).status_code == 403


def test_people_are_made_and_switched_off(boss):
    secret = "long enough for 2026"
    form = {"email": "New@Example.com", "name": "", "usable_password": "true", "password1": secret, "password2": secret}
    assert boss.post(address(User, "add"), form).status_code == 302
    new = User.objects.get(email="new@example.com")
    assert new.check_password(secret)
    twin = boss.post(address(User, "add"), form | {"email": "NEW@example.com"})
    assert twin.status_code == 200 and User.objects.filter(email__iexact="new@example.com").count() == 1


# --- Members and second steps ---------------------------------------------------------------------------------------
def change_members(boss: Client, team: Team, *rows: dict) -> object:
    form = {"name": team.name, "email": team.email, "memberships-TOTAL_FORMS": len(rows)}
    form["memberships-INITIAL_FORMS"] = len(rows)
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
    return boss.post(address(Team, "change", team.pk), form, follow=True)


def test_staff_change_members_as_a_team_does_it_with_a_mail_and_a_line_in_the_log(
    boss, django_capture_on_commit_callbacks
):
    owner = make_user()
    team = team_of(owner)
    goes, rises = make_member(team), make_member(team, "viewer")
    account_services.create_api_key(team=team, user=goes, name="ci")
    rows = [{"id": place.pk, "team": team.pk, "role": place.role} for place in team.memberships.order_by("created_at")]
    mail.outbox.clear()
    assert "Owner" in boss.get(address(Team, "change", team.pk)).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        change_members(boss, team, rows[0], rows[1] | {"DELETE": "on"}, rows[2] | {"role": "admin"})
    assert dict(team.memberships.values_list("user__email", "role")) == {owner.email: "owner", rises.email: "admin"}
    assert ApiKey.objects.get(user=goes).revoked_at
    log = Activity.objects.filter(team=team, topic="member").order_by("created_at")
    staff = f"staff:{User.objects.get(is_superuser=True).email}"
    assert [(line.verb, line.actor, line.target) for line in log] == [
        ("member.removed", staff, goes.email), ("member.role_changed", staff, rises.email),
    ]  # fmt: skip
    assert [sent.to for sent in mail.outbox] == [[goes.email], [rises.email]]
    assert all("Our staff" in sent.body for sent in mail.outbox)


def test_staff_make_and_remove_no_owner(boss, django_capture_on_commit_callbacks):
    owner = make_user()
    team = team_of(owner)
    member = make_member(team)
    mine, theirs = ({"id": place.pk, "team": team.pk} for place in team.memberships.order_by("created_at"))
    before = list(team.memberships.order_by("pk").values())
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        refused = change_members(boss, team, mine | {"DELETE": "on"}, theirs | {"role": "member"})
        change_members(boss, team, mine | {"role": "viewer"}, theirs | {"role": "owner"})
        change_members(
            boss, team, mine, theirs | {"role": "member"}, {"team": team.pk, "user": boss.session["_auth_user_id"]}
        )
    assert "The owner hands the team over first, or deletes it." in texts(refused)
    assert list(team.memberships.order_by("pk").values()) == before
    assert not Activity.objects.filter(team=team, topic="member").exists() and mail.outbox == []
    assert member.memberships.get().role == "member"


def test_staff_switch_a_second_step_off_with_a_mail_and_a_line_in_the_log(boss):
    user = make_user()
    app, _ = (Authenticator.objects.create(user=user, type=kind, data={}) for kind in ("totp", "recovery_codes"))
    mail.outbox.clear()
    looker = sign_in(make_staff("view_authenticator", "change_authenticator"))
    act(looker, Authenticator, "switch_off", app)
    assert boss.post(address(Authenticator, "delete", app.pk), {"post": "yes"}).status_code == 403
    assert "data" not in boss.get(address(Authenticator, "change", app.pk)).context["adminform"].readonly_fields
    assert Authenticator.objects.filter(user=user).count() == 2 and mail.outbox == []
    assert texts(act(boss, Authenticator, "switch_off", app)) == ["Switched off: 1."]
    assert not Authenticator.objects.filter(user=user).exists()
    (told,) = mail.outbox
    assert told.to == [user.email] and "switched two-step sign-in off" in told.body
    line = Activity.objects.get(verb="account.mfa_off")
    assert (line.team, line.target, line.actor_user) == (team_of(user), user.email, None)
    assert line.actor.startswith("staff:")
