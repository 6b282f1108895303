"""Every URL refuses strangers, what belongs to another team is not there, and a role or scope opens what it should.

A new route needs a row in `tests/routes.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from accounts import services as account_services
from accounts.models import ApiKey, Invitation, Membership, Scope, Team, User
from accounts.roles import ROLES_OF, SCOPE_OF, Ability, Role
from credits import passes
from credits.models import Notice, Pass, PassProduct, Purchase
from generation import events, storage
from generation.models import CustomModel, Image, Job, ModelVersion, TrainingImage
from tests.custom import add_pictures, make_model
from tests.factories import make_job, make_member, make_user, team_of
from tests.pictures import deliver
from tests.routes import ANSWERS, API, HIDDEN, OWN, PAGE, PUBLIC, ROUTES, STAFF, TICKET

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]

MODELS = (CustomModel, ModelVersion, TrainingImage)
METHODS = ("get", "post", "put", "patch", "delete")
OBJECTS = (
    *("session_id", "team_id", "member_id", "invitation_id"),
    *("job_id", "image_id", "key_id", "pass_id", "notice_id", "purchase_id"),
    *("model_id", "picture_id"),
)


def routes(resolver: URLResolver, namespace: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, names of its parts) of every URL pattern."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, namespace + (f"{pattern.namespace}:" if pattern.namespace else ""))
        else:
            yield f"{namespace}{pattern.name}", tuple(pattern.pattern.converters)


# `test_permissions_of_pages` goes through the admin, which is generated, and through what no role opens.
PARTS = {name: parts for name, parts in routes(get_resolver()) if not name.startswith("admin:")}
PRIVATE = [name for name in PARTS if name in ROUTES and ROUTES[name].guard != PUBLIC]
FOR_MEMBERS = [name for name in PRIVATE if ROUTES[name].needs]
WITH_OBJECTS = [name for name in PRIVATE if set(PARTS[name]) & set(OBJECTS)]


@dataclass
class Owner:
    """Somebody with one of everything."""

    user: User
    job: Job
    image: Image
    key: ApiKey
    key_text: str
    waiting_pass: Pass
    notice: Notice
    model: CustomModel

    def address(self, name: str) -> str:
        values = {
            "session_id": UserSession.objects.get(user=self.user).pk,
            "team_id": self.job.team_id,
            "member_id": Membership.objects.filter(role=Role.MEMBER).order_by("pk").values_list("pk", flat=True)[0],
            "invitation_id": Invitation.objects.get().pk,
            "secret": "made-up",
            "job_id": self.job.pk,
            "image_id": self.image.pk,
            "key_id": self.key.pk,
            "pass_id": self.waiting_pass.pk,
            "notice_id": self.notice.pk,
            "purchase_id": Purchase.objects.get(team=self.job.team).pk,
            "model_id": self.model.pk,
            "picture_id": self.model.pictures.values_list("pk", flat=True)[0],
            "number": self.model.current.number,
            "variant": "original",
            "token": "forged",
            "slug": "street-style",
            "reference_id": "street-style",
            "index": 0,
        }
        return reverse(name, kwargs={part: values[part] for part in PARTS[name]})


@pytest.fixture
def owner() -> Owner:
    user = make_user(credits=1000)
    (image,) = deliver(make_job(user))
    key, text = account_services.create_api_key(team=team_of(user), user=user, name="theirs")
    make_member(team_of(user))
    UserSession.objects.create(user=user, ip="10.0.0.1", session_key="theirs", user_agent="a browser")
    account_services.invite(team=team_of(user), email="p@example.com", role=Role.MEMBER, actor=user)
    flash = PassProduct.objects.get(slug="flash")
    waiting = passes.issue(team=team_of(user), product=flash, reference="sale", actor="test")
    notice = Notice.objects.create(wallet=team_of(user).wallet, kind="low", key="1000", text="Few credits are left.")
    Purchase.objects.create(team=team_of(user), kind="pack", slug="x", name="x", price_cents=1, currency="INR")
    model = make_model(user)
    add_pictures(model, 1)  # so that it can be refined
    return Owner(user, make_job(user), image, key, text, waiting, notice, model)


def everything() -> list[Any]:
    rows = [
        list(model.objects.order_by("pk").values())
        for model in (Job, Image, ApiKey, Membership, Team, Invitation, Pass, Notice, *MODELS)
    ]
    for row in rows[2]:
        del row["last_used_at"]
    return rows


def is_refused(answer: HttpResponse, guard: str) -> bool:
    if guard == API:
        return answer.status_code == 401 and answer.json()["code"] in ("not_authenticated", "authentication_failed")
    if guard == HIDDEN:
        return answer.status_code == 404
    sign_in = reverse("admin:login" if guard == STAFF else "account_login")
    to_sign_in = answer.status_code == 302 and answer["Location"].startswith(sign_in)
    return to_sign_in or (guard == TICKET and answer.status_code in (404, 405))


def test_every_route_has_a_row_and_every_row_a_route():
    assert sorted(set(PARTS) ^ (set(ROUTES) | set(ANSWERS))) == []
    assert {name for name, row in ROUTES.items() if row.guard in (OWN, PUBLIC)} <= set(ANSWERS)


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is done inside is undone: the next request meets the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# Each of these is one test: to make somebody with one of everything takes longer than most of the requests.
def test_the_matrix(owner, settings):
    """Every method of every route, for everybody who can be in the team or hold one of its keys.

    A method that a route does not have is tried by every role, and with one key of each.
    """
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    addresses = {name: owner.address(name) for name in FOR_MEMBERS}
    wrong: dict[tuple[str, str, str], str] = {}
    seen: set[tuple[str, bool]] = set()
    for who, client, allowed, is_api in actors(owner):
        role = (who.partition(" with ")[0], is_api)
        is_first = role not in seen
        seen.add(role)
        for name, address in addresses.items():
            row = ROUTES[name]
            if is_api != (row.guard == API):
                continue
            for method in METHODS if is_first else row.needs:
                with undone():
                    found = outcome(getattr(client, method)(address))
                if found != ("done" if row.needs.get(method) in allowed else "refused"):
                    wrong[who, name, method] = found
    assert wrong == {}


def actors(owner: Owner) -> Iterator[tuple[str, Client, set[str], bool]]:
    """(who, their client, what it may do, whether it is a key).

    People in each role, and their keys with one scope, and with all but one.
    """
    for role in Role:
        user = owner.user if role == Role.OWNER else make_member(team_of(owner.user), role)
        abilities = {ability for ability in Ability if role in ROLES_OF[ability]}
        client = Client()
        client.force_login(user)
        yield role, client, abilities, False
        key, text = account_services.create_api_key(team=team_of(owner.user), user=user, name="matrix")
        client = Client(headers={"X-API-Key": text})
        for scopes in [{scope} for scope in Scope] + [set(Scope) - {scope} for scope in Scope]:
            ApiKey.objects.filter(pk=key.pk).update(scopes=sorted(scopes))
            yield f"{role} with {sorted(scopes)}", client, {a for a in abilities if SCOPE_OF.get(a) in scopes}, True


def outcome(answer: HttpResponse) -> str:
    assert answer.status_code < 500
    if answer.status_code in (401, 403, 404, 405) or is_refused(answer, PAGE):
        return "refused"
    return "done"


def let_in(clients: Sequence[Client], addresses: Mapping[str, str], methods: Sequence[str] = METHODS) -> list[Any]:
    """Who was not refused: (number of the client, route, method, status)."""
    return [
        (number, name, method, answer.status_code)
        for number, client in enumerate(clients)
        for name, address in addresses.items()
        for method in methods
        if not is_refused(answer := getattr(client, method)(address), ROUTES[name].guard)
    ]


def test_strangers_are_refused(owner):
    session_of_gone = Client()
    session_of_gone.force_login(make_user(is_active=False))
    guessed = Client(headers={"Authorization": "Bearer tk_00000000_guess"})
    before = everything()
    assert let_in((Client(), session_of_gone, guessed), {name: owner.address(name) for name in PRIVATE}) == []
    assert everything() == before


@pytest.mark.parametrize("loss", ["revoked", "left the team", "switched off"])
def test_a_lost_key_opens_nothing(loss, owner):
    addresses = {name: owner.address(name) for name in PRIVATE if ROUTES[name].guard == API}
    if loss == "revoked":
        account_services.revoke_api_key(owner.key, actor=owner.user)
    elif loss == "left the team":
        Membership.objects.filter(user=owner.user).delete()
    else:
        User.objects.filter(pk=owner.user.pk).update(is_active=False)
    assert let_in([Client(headers={"X-API-Key": owner.key_text})], addresses) == []


def test_a_key_opens_no_page(owner):
    pages = {name: owner.address(name) for name in PRIVATE if ROUTES[name].guard != API}
    assert let_in([Client(headers={"X-API-Key": owner.key_text})], pages, ["get"]) == []


def test_customers_are_no_staff(owner):
    client = Client()
    client.force_login(owner.user)
    assert let_in([client], {n: owner.address(n) for n in PRIVATE if ROUTES[n].guard in (STAFF, HIDDEN)}) == []


def test_what_is_not_yours_is_not_there(owner):
    other = make_user(credits=100)
    boss = make_user(is_staff=True, is_superuser=True)
    before = everything()
    wrong = {}
    for user in (other, boss):
        client = Client()
        client.force_login(user)
        for name in WITH_OBJECTS:
            answers = [getattr(client, method)(owner.address(name)).status_code for method in METHODS]
            if not set(answers) <= {404, 405} or 404 not in answers:
                wrong[user.is_staff, name] = answers
    assert wrong == {}
    assert everything() == before


def test_it_is_there_for_its_owner(owner):
    client = Client()
    client.force_login(owner.user)
    for name in WITH_OBJECTS:
        with undone():
            assert_there(client, owner, name)


def assert_there(client: Client, owner: Owner, name: str) -> None:
    address = owner.address(name)
    if name == "generation:preview":
        events.publish([owner.job.pk], events.Progress("processing"), [b"rough"])
        team = team_of(owner.user)
        ticket = events.card_token(job_id=owner.job.pk, user_id=owner.user.pk, team_id=team.pk, status="processing")
        address += f"?token={ticket}"
    if name == "accounts:restore_team":
        account_services.close_team(team=team_of(owner.user), actor=owner.user)
    methods = ("delete",) if set(ROUTES[name].needs) == {"patch", "delete"} else ("get", "post")
    sent = {"content_type": "application/json"} if ROUTES[name].guard == API else {}
    answers = {method: getattr(client, method)(address, **sent).status_code for method in methods}
    assert 404 not in answers.values(), (name, answers)
    assert [status for status in answers.values() if status < 400 or status in (409, 422, 429)], (name, answers)


def test_a_ticket_is_for_one_job(owner):
    mine = make_job(make_user(credits=100))
    events.publish([owner.job.pk], events.Progress("processing", phase="drawing"), [b"rough"])
    ticket = events.card_token(job_id=mine.pk, user_id=mine.user_id, team_id=mine.team_id, status="processing")
    client = Client()
    client.force_login(mine.user)
    for name in ("generation:job_progress", "generation:preview"):
        assert client.get(f"{owner.address(name)}?token={ticket}").status_code == 404


def test_a_signed_link_opens_one_file_for_a_while(owner, settings):
    link = storage.short_lived_url(owner.image, "original")
    assert Client().get(link).status_code == 200
    assert Client().get(link[:-1] + ("A" if link[-1] != "A" else "B")).status_code == 404
    settings.SIGNED_URL_SECONDS = -1
    assert Client().get(link).status_code == 404


def test_the_way_to_a_picture_by_key(owner):
    client = Client(headers={"X-API-Key": owner.key_text})
    answer = client.get(f"/api/v1/jobs/{owner.image.job_id}")
    (image,) = answer.json()["images"]
    for link in (image["url"], image["preview_url"], image["thumbnail_url"]):
        redirect = client.get(link)
        assert redirect.status_code == 302 and redirect["Cache-Control"] == "private, no-store"
        picture = Client().get(redirect["Location"])
        assert picture.status_code == 200 and b"".join(picture.streaming_content).startswith(b"\x89PNG")
    assert client.get(reverse("api:image", args=[owner.image.pk, "key"])).status_code == 404


def test_a_person_who_left_reads_nothing_more(owner):
    client = Client()
    client.force_login(owner.user)
    assert client.get(owner.address("generation:job")).status_code == 200
    Membership.objects.filter(user=owner.user).delete()
    assert client.get(owner.address("generation:job")).status_code == 404


def test_the_landing_page_orders_nothing_for_a_viewer(owner):
    client = Client()
    client.force_login(make_member(team_of(owner.user), Role.VIEWER))
    before = everything()
    answer = client.post(reverse("generation:start"), {"prompt": "a red fox", "request_key": "k"})
    assert answer.status_code == 403 and b"does not let you make pictures" in answer.content
    assert everything() == before


def test_a_lost_role_is_lost_with_the_next_request(owner):
    member = make_member(team_of(owner.user), Role.MEMBER)
    client = Client()
    client.force_login(member)
    assert client.get(owner.address("generation:image_delete")).status_code == 200
    Membership.objects.filter(user=member).update(role=Role.VIEWER)
    assert client.get(owner.address("generation:image_delete")).status_code == 403
    Membership.objects.filter(user=member).delete()
    assert client.get(owner.address("generation:image_delete")).status_code == 404


def test_a_refusal_by_scope_has_a_code_for_programs(owner):
    ApiKey.objects.filter(pk=owner.key.pk).update(scopes=["read"])
    client = Client(headers={"X-API-Key": owner.key_text})
    answer = client.post(reverse("api:generate"), {"prompt": "a red fox"}, content_type="application/json")
    assert answer.status_code == 403 and answer.json()["code"] == "not_allowed"
    assert answer.json()["message"] == "This API key may not make pictures: it lacks the scope for it."
