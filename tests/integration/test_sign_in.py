"""Signing up and in: confirmation, the second step, sessions, limits; and nobody learns who has an account."""

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.mfa.totp.internal import auth as totp
from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.test import Client, override_settings
from django.urls import reverse

from accounts import services
from accounts.models import Activity, KnownAddress, User
from accounts.signals import person_confirmed
from tenkaigen.cache import MEMORY
from tests.factories import make_user, team_of
from tests.integration.pages import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]
PASSWORD = "correct horse battery"
LOGIN, SIGNUP, RESET = "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"
NEW = {"email": "new@example.com", "password1": "a long and good one"}


@pytest.fixture(autouse=True)
def fresh_limits():
    cache.clear()


@pytest.fixture
def confirming(settings):
    """The settings of a server that sends mail."""
    settings.EMAIL_CONFIRMATION = True
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


@pytest.fixture
def welcomed():
    """Everybody who was announced as a newcomer."""
    heard: list[tuple[User, object]] = []

    def hear(sender, user, team, **kwargs):
        heard.append((user, team))

    person_confirmed.connect(hear)
    yield heard
    person_confirmed.disconnect(hear)


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Every hashing of a password."""
    calls: list[str] = []
    encode = MD5PasswordHasher.encode

    def count(self, password, salt):
        calls.append("hash")
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", count)
    return calls


def sign_in(user, client=None, **headers) -> Client:
    client = client or Client(**headers)
    client.post(LOGIN, {"login": user.email, "password": PASSWORD})
    return client


def prove_it(client) -> None:
    """Type the password again, as the pages of security ask."""
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302


def switch_on(client) -> str:
    """Switch the second step on as a person does; the secret of the app."""
    assert client.get("/accounts/2fa/totp/activate/").url.startswith("/accounts/reauthenticate/")
    prove_it(client)
    page = client.get("/accounts/2fa/totp/activate/")
    secret = page.context["form"].secret
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert answer.status_code == 302, answer.content
    return secret


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))


# --- Confirmation ---------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("confirming")
def test_a_newcomer_confirms_the_address_before_the_first_sign_in(welcomed):
    client = Client()
    assert client.post(SIGNUP, NEW).url == "/accounts/confirm-email/"
    assert b"Check your email" in client.get("/accounts/confirm-email/").content
    assert client.get("/studio").status_code == 302 and welcomed == []
    (link,) = re.findall(r"http://testserver(/accounts/confirm-email/\S+)", mail.outbox[0].body)
    assert mail.outbox[0].subject == "Confirm your email address for TenkaiGen"
    assert mail.outbox[0].body.startswith("Hello,\n") and mail.outbox[0].body.endswith("\n\nTenkaiGen")
    assert mail.outbox[0].body.count("testserver") == 1  # in the link alone
    assert b"Confirm your address" in client.get(link).content and welcomed == []
    assert client.post(link).url == "/studio"
    user = User.objects.get(email="new@example.com")
    assert welcomed == [(user, team_of(user))] and user.confirmed_at is not None
    assert client.get("/studio").status_code == 200
    assert b"no longer works" in Client().get(link).content or Client().post(link).status_code == 302
    assert len(welcomed) == 1
    assert "account.confirmed" in Activity.objects.values_list("verb", flat=True)


def test_where_no_mail_is_sent_a_newcomer_begins_at_once(welcomed):
    client = Client()
    assert client.post(SIGNUP, NEW).url == "/studio"
    assert client.get("/studio").status_code == 200 and len(welcomed) == 1
    assert EmailAddress.objects.get().verified


def test_a_person_is_welcomed_once(welcomed):
    user = make_user()
    assert welcomed == [(user, team_of(user))]
    assert not services.confirm_person(user)
    services.create_team(user=user, name="another")
    assert len(welcomed) == 1


@pytest.mark.parametrize("again", ["ana@example.com", "ANA+two@example.com"])
def test_an_address_is_welcomed_once_also_after_a_deletion(welcomed, again):
    make_user(email="ana@example.com")
    EmailAddress.objects.all().delete()
    User.objects.update(email="gone@example.com")
    second = make_user(email=again)
    assert second.confirmed_at is None
    second.refresh_from_db()
    assert second.confirmed_at is not None and len(welcomed) == 1
    assert "ana" not in str(list(KnownAddress.objects.values()))


@pytest.mark.usefixtures("confirming")
def test_an_unconfirmed_person_is_sent_another_link_instead_of_in():
    user = User.objects.create_user("old@example.com", PASSWORD)
    client = Client()
    assert client.post(LOGIN, {"login": user.email, "password": PASSWORD}).url == "/accounts/confirm-email/"
    assert client.get("/studio").status_code == 302 and len(mail.outbox) == 1


def test_an_invited_address_is_not_put_upon_another_sign_up(settings):
    settings.EMAIL_CONFIRMATION = True
    owner = make_user()
    _, secret = services.invite(team=team_of(owner), email="invited@example.com", role="member", actor=owner)
    client = Client()
    client.get(f"/invitations/{secret}")
    client.post(SIGNUP, NEW)
    assert User.objects.get(email="new@example.com")
    assert not User.objects.filter(email="invited@example.com").exists()
    assert not EmailAddress.objects.get(email="new@example.com").verified


@pytest.mark.usefixtures("confirming")
def test_an_address_belongs_to_whoever_confirms_it_first():
    """A sign-up that was never confirmed keeps nobody from their own address."""
    ana = make_user(email="ana@example.com")
    client = sign_in(ana)
    prove_it(client)
    Client().post(SIGNUP, NEW)
    squatter = User.objects.get(email="new@example.com")
    cache.clear()  # one mail in some minutes to an address
    mail.outbox.clear()
    client.post("/accounts/email/", {"email": "new@example.com", "action_add": ""})
    (link,) = re.findall(r"http://testserver(/accounts/confirm-email/\S+)", mail.outbox[0].body)
    client.post(link)
    assert client.post("/accounts/email/", {"email": "new@example.com", "action_primary": ""}).status_code == 302
    assert User.objects.get(email="new@example.com") == ana and team_of(ana).email == "new@example.com"
    squatter.refresh_from_db()
    assert squatter.email == f"unconfirmed-{squatter.pk}@deleted.invalid"
    assert list(EmailAddress.objects.filter(verified=False)) == []


# --- Nobody learns who has an account ---------------------------------------------------------------------------------
def body(answer) -> str:
    """An answer without what differs in every answer, and without the address that was sent."""
    text = answer.content.decode()
    text = re.sub(r'(name="csrfmiddlewaretoken" value=|"X-CSRFToken": |"X-Team": )"[^"]+"', "", text)
    return re.sub(r"(known|nobody)@example\.com", "ADDRESS", text)


@pytest.mark.usefixtures("confirming")
@pytest.mark.parametrize(
    ("url", "form"),
    [
        (LOGIN, {"login": "{}", "password": "a wrong password"}),
        (RESET, {"email": "{}"}),
        (SIGNUP, {"email": "{}", "password1": "a long and good one"}),
    ],
)
def test_a_known_and_an_unknown_address_get_the_same_answer_for_the_same_work(url, form, hashed):
    make_user(email="known@example.com")
    answers, work = [], []
    for name in ("known@example.com", "nobody@example.com"):
        hashed.clear()
        client = Client()
        first = client.post(url, {field: value.format(name) for field, value in form.items()})
        work.append(len(hashed))
        last = client.get(first.url) if first.status_code == 302 else first
        answers.append((first.status_code, first.get("Location"), last.status_code, body(last)))
    assert answers[0] == answers[1]
    assert work[0] == work[1] and work[0] == (0 if url == RESET else 1)
    assert len(mail.outbox) == (0 if url == LOGIN else 2)


def test_inviting_a_known_and_an_unknown_address_is_one_and_the_same(hashed, settings):
    settings.MAIL_IS_SHOWN = False
    make_user(email="known@example.com")
    answers, work, mails = [], [], []
    for name in ("known@example.com", "nobody@example.com"):
        client = client_of(make_user(email=f"o-{name}", name="Foxes"))
        hashed.clear()
        first = client.post("/team/invitations", {"email": name, "role": "member"})
        work.append(len(hashed))
        text = body(client.get(first.url)).replace(f"o-{name}", "").replace("o-ADDRESS", "")
        answers.append((first.status_code, first.url, re.sub(r"/[0-9a-f-]{36}/|/members/\d+/", "/ID/", text)))
        mails.append(re.sub(r"o-\S+@|/invitations/\S+", "", f"{mail.outbox[-1].subject} {mail.outbox[-1].body}"))
    assert answers[0] == answers[1] and mails[0] == mails[1]
    assert work == [0, 0] and [sent.to for sent in mail.outbox] == [["known@example.com"], ["nobody@example.com"]]


# --- Limits -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("email", ["known@example.com", "nobody@example.com"])
def test_an_account_is_tried_five_times_from_wherever(email):
    make_user(email="known@example.com")
    texts = []
    for number in range(6):
        client = Client(REMOTE_ADDR=f"10.0.0.{number + 1}")
        texts.append(client.post(LOGIN, {"login": email, "password": "wrong"}).content.decode())
    assert all("not correct" in text for text in texts[:5]) and "Too many failed" in texts[5]


def test_the_right_password_waits_too_when_an_account_is_tried_too_often():
    user = make_user()
    for _ in range(5):
        Client().post(LOGIN, {"login": user.email, "password": "wrong"})
    assert b"Too many failed" in Client().post(LOGIN, {"login": user.email, "password": PASSWORD}).content


def test_an_address_tries_a_limited_number_of_accounts():
    answers = [Client().post(LOGIN, {"login": f"p{n}@example.com", "password": "wrong"}) for n in range(11)]
    assert b"not correct" in answers[9].content and b"Too many failed" in answers[10].content
    other = Client(REMOTE_ADDR="10.9.9.9").post(LOGIN, {"login": "p@example.com", "password": "wrong"})
    assert b"not correct" in other.content


def test_an_account_is_tried_five_times_also_while_redis_is_away(settings):
    away = {"BACKEND": "tenkaigen.cache.ForgivingRedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = settings.CACHES | {"default": away}
    MEMORY.clear()
    user = make_user()
    texts = [Client().post(LOGIN, {"login": user.email, "password": "wrong"}).content.decode() for _ in range(5)]
    assert all("not correct" in text for text in texts)
    assert b"Too many failed" in Client().post(LOGIN, {"login": user.email, "password": PASSWORD}).content
    cache.set("anything", 1)
    assert cache.get("anything") is None
    MEMORY.clear()


# --- The second step --------------------------------------------------------------------------------------------------
def test_the_second_step_is_asked_for_at_every_sign_in():
    user = make_user()
    secret = switch_on(sign_in(user))
    client = sign_in(user)
    assert client.get("/studio").status_code == 302
    page = client.get("/accounts/2fa/authenticate/")
    assert b"One more step" in page.content
    assert b'class="error"' in client.post("/accounts/2fa/authenticate/", {"code": "000000"}).content
    cache.clear()  # a code is good once; the one of switching it on is still of this half minute
    assert client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).url == "/studio"
    assert client.get("/studio").status_code == 200


def test_a_recovery_code_signs_in_once():
    user = make_user()
    client = sign_in(user)
    switch_on(client)
    codes = re.findall(r"^(?:<pre[^>]*>)?(\d{8})$", client.get("/accounts/2fa/recovery-codes/").content.decode(), re.M)
    assert len(codes) == 10
    used = sign_in(user)
    assert used.post("/accounts/2fa/authenticate/", {"code": codes[0]}).url == "/studio"
    again = sign_in(user)
    assert b'class="error"' in again.post("/accounts/2fa/authenticate/", {"code": codes[0]}).content


def test_switching_the_second_step_off_is_mailed_and_in_the_log():
    user = make_user()
    client = sign_in(user)
    switch_on(client)
    app = Authenticator.objects.get(user=user, type="totp")
    authenticator_added.send(sender=Authenticator, request=None, user=user, authenticator=app)  # after the commit
    mail.outbox.clear()
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
    (told,) = mail.outbox
    assert told.to == [user.email] and "eactivated" in told.body
    log = Activity.objects.filter(team=team_of(user), verb__startswith="account.mfa").order_by("created_at")
    assert [(line.verb, line.actor_user) for line in log] == [("account.mfa_on", user), ("account.mfa_off", user)]


def test_the_secret_of_the_app_is_encrypted(settings):
    user = make_user()
    secret = switch_on(sign_in(user))
    row = Authenticator.objects.get(user=user, type="totp")
    assert secret not in str(row.data)
    cache.clear()  # a code is good once
    with override_settings(SECRET_KEY="another" * 10, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert row.wrap().validate_code(code_of(secret))


def test_staff_reach_the_admin_only_with_the_second_step(settings):
    settings.STAFF_MFA = True
    boss = make_user(is_staff=True, is_superuser=True)
    client = sign_in(boss)
    for page in ("/admin/", reverse("admin:accounts_user_changelist"), "/admin/report/", "/metrics"):
        assert client.get(page).url == "/accounts/2fa/"
    switch_on(client)
    assert client.get("/admin/").status_code == 200


def test_a_superuser_made_at_the_shell_needs_no_mail_to_sign_in(settings):
    settings.ACCOUNT_EMAIL_VERIFICATION, settings.EMAIL_CONFIRMATION = "mandatory", True
    boss = User.objects.create_superuser("boss@example.com", PASSWORD)
    assert sign_in(boss).get("/studio").status_code == 200
    assert mail.outbox == []


def test_the_embedded_servers_let_staff_in_without():
    assert client_of(make_user(is_staff=True, is_superuser=True)).get("/admin/").status_code == 200


def test_the_admin_has_no_sign_in_of_its_own():
    boss = make_user(is_staff=True, is_superuser=True)
    answer = Client().post("/admin/login/", {"username": boss.email, "password": PASSWORD})
    assert answer.url.startswith(LOGIN)
    assert client_of(make_user()).get("/admin/login/").status_code == 403


@pytest.mark.parametrize("path", ["2fa/", "2fa/totp/activate/", "sessions/", "reauthenticate/"])
def test_the_pages_of_security_are_in_our_design(path):
    client = sign_in(make_user())
    if "activate" in path:
        prove_it(client)
    answer = client.get(f"/accounts/{path}")
    text = answer.content.decode()
    assert answer.status_code == 200 and 'id="balance"' in text and "<style" not in text and "<script>" not in text


# --- Sessions ---------------------------------------------------------------------------------------------------------
def test_a_person_ends_one_of_their_sessions():
    user = make_user()
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
    safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 20_0 like Mac OS X) Version/20.0 Mobile/15E148 Safari/604.1"
    laptop = sign_in(user, headers={"User-Agent": firefox})
    phone = sign_in(user, headers={"User-Agent": safari})
    text = laptop.get("/accounts/sessions/").content.decode()
    assert ">Firefox on Linux<" in text and ">Safari on iPhone<" in text
    session = UserSession.objects.get(user_agent=safari)
    assert client_of(make_user()).post(f"/account/sessions/{session.pk}/end").status_code == 404
    assert laptop.post(f"/account/sessions/{session.pk}/end").url == "/accounts/sessions/"
    assert phone.get("/studio").status_code == 302 and laptop.get("/studio").status_code == 200


def test_a_person_ends_all_other_sessions():
    user = make_user()
    laptop, phone, tablet = (sign_in(user) for _ in range(3))
    laptop.post("/accounts/sessions/")
    assert [client.get("/studio").status_code for client in (laptop, phone, tablet)] == [200, 302, 302]


def test_a_changed_password_ends_the_other_sessions():
    user = make_user()
    laptop, phone = sign_in(user), sign_in(user)
    new = {"oldpassword": PASSWORD, "password1": "a new and good one", "password2": "a new and good one"}
    assert laptop.post("/accounts/password/change/", new).status_code == 302
    assert laptop.get("/studio").status_code == 200 and phone.get("/studio").status_code == 302
    assert "password" in mail.outbox[-1].subject.lower() and mail.outbox[-1].to == [user.email]
