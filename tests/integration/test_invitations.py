"""Invitations: sent by mail, accepted once by a known or a new person, resent, taken back, run out."""

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.errors import InvitationGone, OtherAddress, TeamIsClosed, TooManyInvitations, TooSoon
from accounts.models import Activity, Invitation, Membership, User
from tests.factories import make_member, make_user, team_of
from tests.integration.pages import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
Role = Membership.Role
ADDRESS = "new@example.com"


@pytest.fixture(autouse=True)
def with_mail(settings):
    settings.MAIL_IS_SHOWN = False


def invite(owner, email: str = ADDRESS, role: str = Role.MEMBER) -> tuple[Invitation, str]:
    return services.invite(team=team_of(owner), email=email, role=role, actor=owner)


def confirm(user) -> User:
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    return user


def link_in(message) -> str:
    (link,) = re.findall(r"http://testserver(/invitations/\S+)", message.body)
    return link


def age(invitation, **time: int) -> None:
    """Let an invitation's mail have gone out earlier."""
    Invitation.objects.filter(pk=invitation.pk).update(sent_at=timezone.now() - timedelta(**time))


def everything() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Invitation, Membership, Activity)]


def test_a_new_person_signs_up_by_the_link_and_joins():
    owner = make_user(name="Ana")
    assert client_of(owner).post("/team/invitations", {"email": "New@Example.com", "role": "viewer"}).url == "/team/"
    (message,) = mail.outbox
    assert message.to == [ADDRESS] and message.subject == "Ana invites you to TenkaiGen"
    client = Client()
    answer = client.get(link_in(message))
    assert answer.url == "/invitation"
    page = client.get("/invitation").content.decode()
    assert "Join Ana?" in page and "as viewer" in page and "/accounts/signup/?next=%2Finvitation" in page
    signed_up = client.post(
        "/accounts/signup/?next=/invitation", {"email": ADDRESS, "password1": "a long and good one"}
    )
    assert signed_up.url == "/invitation"
    assert client.post("/invitation").url == "/studio"
    user = User.objects.get(email=ADDRESS)
    assert Membership.objects.get(user=user, team=team_of(owner)).role == "viewer"
    assert EmailAddress.objects.get(user=user).verified
    assert "Team: Ana" in client.get("/studio").content.decode()
    assert Activity.objects.filter(team=team_of(owner)).latest("created_at").verb == "member.joined"


def test_a_known_person_accepts_with_their_confirmed_address():
    owner, user = make_user(name="Ana"), confirm(make_user(email=ADDRESS))
    _, secret = invite(owner)
    client = client_of(user)
    page = client.get(f"/invitations/{secret}", follow=True).content.decode()
    assert "nevertheless" not in page
    assert client.post("/invitation").url == "/studio"
    assert Membership.objects.get(user=user, team=team_of(owner)).role == "member"


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_another_address_is_accepted_only_on_purpose(is_confirmed):
    owner = make_user(name="Ana")
    email = "other@example.com" if is_confirmed else ADDRESS
    user = make_user(email=email)
    EmailAddress.objects.filter(user=user).delete()
    if is_confirmed:
        confirm(user)
    _, secret = invite(owner)
    client = client_of(user)
    assert "nevertheless" in client.get(f"/invitations/{secret}", follow=True).content.decode()
    before = everything()
    refused = client.post("/invitation")
    assert refused.status_code == 409 and b"was sent to new@example.com" in refused.content
    assert everything() == before
    assert client.post("/invitation", {"as_other": "on"}).url == "/studio"
    assert Membership.objects.filter(user=user, team=team_of(owner)).exists()


def test_a_link_works_once():
    owner = make_user()
    _, secret = invite(owner)
    first, second = client_of(make_user()), client_of(make_user())
    for client in (first, second):
        client.get(f"/invitations/{secret}")
    assert first.post("/invitation", {"as_other": "on"}).url == "/studio"
    before = everything()
    assert second.post("/invitation", {"as_other": "on"}).status_code == 410
    assert Client().get(f"/invitations/{secret}").status_code == 410
    assert everything() == before


@pytest.mark.parametrize("end", ["expired", "revoked", "renewed", "team closed"])
def test_a_dead_link_is_told_so_and_does_nothing(end):
    owner, user = make_user(), confirm(make_user(email=ADDRESS))
    invitation, secret = invite(owner)
    client = client_of(user)
    client.get(f"/invitations/{secret}")
    loaded = Invitation.objects.get()
    error: type[Exception] = InvitationGone
    if end == "expired":
        Invitation.objects.update(expires_at=timezone.now())
    elif end == "revoked":
        assert services.revoke_invitation(invitation, actor=owner)
        assert not services.revoke_invitation(invitation, actor=owner)
    elif end == "renewed":
        age(invitation, minutes=2)
        services.resend_invitation(invitation, actor=owner)
    else:
        services.close_team(team=team_of(owner), actor=owner)
        error = TeamIsClosed
    before = everything()
    with pytest.raises(error):
        services.accept_invitation(loaded, user=user)
    answer = Client().get(f"/invitations/{secret}")
    assert answer.status_code == 410 and b"no longer works" in answer.content
    assert everything() == before


def test_a_made_up_link_is_told_the_same():
    make_user()
    assert Client().get("/invitations/made-up").status_code == 410
    assert client_of(make_user()).get("/invitation").status_code == 410
    assert client_of(make_user()).post("/invitation", {"as_other": "on"}).status_code == 410


def test_only_the_hash_of_a_link_is_stored():
    _, secret = invite(make_user())
    row = Invitation.objects.values().get()
    assert secret not in str(row) and len(row["token_sha256"]) == 64
    assert secret not in str(list(Activity.objects.values()))


def test_inviting_again_renews_after_a_minute():
    owner = make_user()
    first, old = invite(owner)
    with pytest.raises(TooSoon):
        invite(owner)
    age(first, minutes=2)
    again, new = invite(owner, role=Role.ADMIN)
    assert again.pk == first.pk and again.role == "admin" and again.sent_count == 2 and new != old
    assert Client().get(f"/invitations/{old}").status_code == 410
    assert Client().get(f"/invitations/{new}").status_code == 302


def test_the_page_sends_again_and_takes_back():
    owner = make_user()
    invitation, _ = invite(owner)
    client, address = client_of(owner), f"/team/invitations/{invitation.pk}"
    assert client.post(f"{address}/resend").status_code == 429
    age(invitation, minutes=2)
    assert client.post(f"{address}/resend").url == "/team/"
    assert len(mail.outbox) == 1
    assert client.post(f"{address}/revoke").url == "/team/"
    assert client.post(f"{address}/revoke").status_code == 404
    assert ADDRESS not in client.get("/team/").content.decode().split("Invite somebody")[1]


def test_the_answer_does_not_tell_whether_the_address_has_an_account(monkeypatch):
    make_user(email="known@example.com")
    owner = make_user()
    hashed: list[str] = []
    monkeypatch.setattr(
        "django.contrib.auth.hashers.MD5PasswordHasher.encode", lambda *args: hashed.append("hash") or "md5$a$b"
    )
    client, bodies = client_of(owner), []
    for email in ("known@example.com", "nobody@example.com"):
        answer = client.post("/team/invitations", {"email": email, "role": "member"}, follow=True)
        text = re.sub(r"[\w-]{40,}", "", answer.content.decode().replace(email, "ADDRESS"))
        bodies.append(re.findall(r"An invitation is on its way to ADDRESS\.", text))
    assert bodies[0] == bodies[1] != [] and hashed == [] and len(mail.outbox) == 2


def test_whoever_is_in_the_team_is_not_invited_and_keeps_their_role():
    owner = make_user()
    member = confirm(make_member(team_of(owner), Role.VIEWER))
    answer = client_of(owner).post("/team/invitations", {"email": member.email.upper(), "role": "admin"})
    assert answer.status_code == 409 and not Invitation.objects.exists()
    _, secret = invite(owner, "else@example.com", Role.ADMIN)
    client = client_of(member)
    client.get(f"/invitations/{secret}")
    client.post("/invitation", {"as_other": "on"})
    assert Membership.objects.get(user=member).role == "viewer"


def test_an_invitation_gives_no_role_above_the_inviters(monkeypatch):
    owner = make_user()
    assert client_of(owner).post("/team/invitations", {"email": ADDRESS, "role": "owner"}).status_code == 422
    member = make_member(team_of(owner))
    assert client_of(member).post("/team/invitations", {"email": ADDRESS, "role": "viewer"}).status_code == 403
    assert not Invitation.objects.exists()


def test_mails_in_a_teams_name_are_limited(monkeypatch):
    monkeypatch.setattr("accounts.services.invitations.MAILS_PER_DAY_MAX", 2)
    owner = make_user()
    for number in range(2):
        invite(owner, f"p{number}@example.com")
    with pytest.raises(TooManyInvitations, match="2 invitations a day"):
        invite(owner)
    answer = client_of(owner).post("/team/invitations", {"email": ADDRESS, "role": "member"})
    assert answer.status_code == 429 and Invitation.objects.count() == 2


def test_open_invitations_are_limited(monkeypatch):
    monkeypatch.setattr("accounts.services.invitations.OPEN_PER_TEAM_MAX", 1)
    owner = make_user()
    invite(owner, "p@example.com")
    with pytest.raises(TooManyInvitations, match="1 open invitations"):
        invite(owner)


def test_the_invitations_of_a_removed_admin_are_dead():
    owner = make_user()
    admin = make_member(team_of(owner), Role.ADMIN)
    _, secret = services.invite(team=team_of(owner), email=ADDRESS, role=Role.ADMIN, actor=admin)
    services.remove_member(member=Membership.objects.get(user=admin), actor=owner)
    assert Client().get(f"/invitations/{secret}").status_code == 410


def test_a_mail_that_cannot_be_sent_is_told(monkeypatch):
    def fail(*args):
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)
    answer = client_of(make_user()).post("/team/invitations", {"email": ADDRESS, "role": "member"})
    assert answer.status_code == 409 and b"could not be sent" in answer.content


def test_a_server_without_mail_shows_the_link_instead(settings):
    settings.MAIL_IS_SHOWN = True
    answer = client_of(make_user()).post("/team/invitations", {"email": ADDRESS, "role": "member"})
    assert answer.status_code == 201 and mail.outbox == []
    (link,) = re.findall(r"http://testserver(/invitations/[\w-]{43})", answer.content.decode())
    assert Client().get(link).url == "/invitation"


def test_invitations_of_another_team_are_not_there():
    invitation, _ = invite(make_user())
    client = client_of(make_user())
    for act in ("resend", "revoke"):
        assert client.post(f"/team/invitations/{invitation.pk}/{act}").status_code == 404
    invitation.refresh_from_db()
    assert invitation.revoked_at is None


def test_a_stranger_who_posts_is_shown_the_way_in():
    _, secret = invite(make_user())
    client = Client()
    client.get(f"/invitations/{secret}")
    before = everything()
    assert b"Sign up" in client.post("/invitation", {"as_other": "on"}).content
    assert everything() == before


def test_the_wrong_person_is_refused_by_the_service():
    owner, user = make_user(), make_user()
    invitation, _ = invite(owner)
    with pytest.raises(OtherAddress):
        services.accept_invitation(invitation, user=user)
    assert not Membership.objects.filter(user=user, team=team_of(owner)).exists()
