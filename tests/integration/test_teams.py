"""Several teams: opened, named, switched, left, handed over, deleted and restored; members and their roles."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from accounts import services
from accounts.errors import MemberGone, NotAllowed, OwnerStays, TooLate, TooManyTeams
from accounts.models import Activity, ApiKey, Membership, Team
from accounts.queries import find_key
from generation.models import Job
from tests.factories import make_job, make_member, make_user, team_of
from tests.integration.pages import HTMX, client_of, studio_form

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
Role = Membership.Role


def place(user, team=None) -> Membership:
    return Membership.objects.get(user=user, team=team or team_of(user))


def roles(team) -> dict[str, str]:
    return dict(Membership.objects.filter(team=team).values_list("user__email", "role"))


def verbs(team) -> list[str]:
    return list(Activity.objects.filter(team=team).order_by("created_at").values_list("verb", flat=True))


# --- Several teams --------------------------------------------------------------------------------------------------
def test_opening_another_team_acts_for_it_at_once_and_the_header_says_so():
    user = make_user(name="Ana")
    client = client_of(user)
    answer = client.post("/teams", {"name": "Studio <b>Two</b>"}, follow=True)
    text = answer.content.decode()
    assert "Team: Studio &lt;b&gt;Two&lt;/b&gt;" in text and "You are now in" in text
    made = Team.objects.get(name="Studio <b>Two</b>")
    assert roles(made) == {user.email: "owner"} and verbs(made) == ["team.created"]


def test_each_session_has_a_choice_of_its_own():
    user = make_user(name="Ana")
    other = services.create_team(user=user, name="Other")
    laptop, phone = client_of(user), client_of(user)
    assert laptop.post(f"/teams/{other.pk}/switch").url == "/studio"
    assert "Team: Other" in laptop.get("/studio").content.decode()
    assert "Team: Ana" in phone.get("/studio").content.decode()


def test_each_team_sees_its_own_jobs_only():
    user = make_user(credits=100)
    job = make_job(user, prompt="a very red fox")
    other = services.create_team(user=user, name="Other")
    client = client_of(user)
    assert client.get(f"/jobs/{job.pk}").status_code == 200
    client.post(f"/teams/{other.pk}/switch")
    assert client.get(f"/jobs/{job.pk}").status_code == 404
    assert "a very red fox" not in client.get("/jobs").content.decode()


def test_nobody_switches_into_a_team_they_are_not_in():
    client, foreign = client_of(make_user(name="Ana")), team_of(make_user())
    assert client.post(f"/teams/{foreign.pk}/switch").status_code == 404
    assert "Team: Ana" in client.get("/studio").content.decode()


@pytest.mark.parametrize("moves", ["switched in another tab", "was removed"])
def test_a_page_that_was_opened_in_another_team_orders_nothing_in_this_one(moves):
    owner, user = make_user(credits=100), make_user(credits=100)
    team, own = team_of(owner), team_of(user)
    Membership.objects.create(user=user, team=team, role=Role.MEMBER)
    client = client_of(user)
    client.post(f"/teams/{team.pk}/switch")
    assert f'"X-Team": "{team.pk}"' in client.get("/studio").content.decode()
    if moves == "was removed":
        services.remove_member(member=place(user, team), actor=owner)
    else:
        client.post(f"/teams/{own.pk}/switch")
    answer = client.post("/studio/submit", studio_form(), headers=HTMX | {"X-Team": str(team.pk)})
    assert answer["HX-Refresh"] == "true" and not Job.objects.exists()
    assert f'"X-Team": "{own.pk}"' in client.get("/studio").content.decode()
    assert client.post("/studio/submit", studio_form(), headers=HTMX | {"X-Team": str(own.pk)}).status_code == 201
    assert Job.objects.get().team == own


def test_a_person_owns_a_limited_number_of_teams(monkeypatch):
    monkeypatch.setattr("accounts.services.teams.TEAMS_OWNED_MAX", 2)
    user = make_user()
    services.create_team(user=user, name="two")
    with pytest.raises(TooManyTeams, match="can own 2 teams"):
        services.create_team(user=user, name="three")
    answer = client_of(user).post("/teams", {"name": "three"})
    assert answer.status_code == 409 and b"can own 2 teams" in answer.content
    assert Team.objects.count() == 2


@pytest.mark.parametrize("name", ["", " ", "x" * 81])
def test_a_team_needs_a_name(name):
    user = make_user(name="Ana")
    client = client_of(user)
    assert client.post("/teams", {"name": name}).status_code == 422
    assert client.post("/team/name", {"name": name}).status_code == 422
    assert list(Team.objects.values_list("name", flat=True)) == ["Ana"]


def test_renaming_is_noted_once():
    user = make_user(name="Ana")
    client = client_of(user)
    for _ in range(2):
        assert client.post("/team/name", {"name": "Foxes"}).url == "/team/"
    assert team_of(user).name == "Foxes" and verbs(team_of(user)) == [
        "account.created",
        "account.confirmed",
        "team.renamed",
    ]


def test_pages_of_a_person_with_many_teams_take_no_more_statements(django_assert_max_num_queries):
    user = make_user()
    for number in range(6):
        services.create_team(user=user, name=f"team {number}")
    client = client_of(user)
    with django_assert_max_num_queries(6):
        text = client.get("/teams").content.decode()
    assert text.count("person__who") == 7


# --- Members --------------------------------------------------------------------------------------------------------
def test_the_team_page_lists_members_with_few_statements(django_assert_max_num_queries):
    user = make_user()
    for _ in range(8):
        make_member(team_of(user))
    client = client_of(user)
    with django_assert_max_num_queries(7):
        text = client.get("/team/").content.decode()
    assert text.count("person__who") == 9 and text.count("/owner") == 8


def test_a_viewer_sees_who_is_there_and_no_buttons():
    user = make_user()
    viewer = make_member(team_of(user), Role.VIEWER)
    text = client_of(viewer).get("/team/").content.decode()
    assert user.email in text and "Leave this team" in text
    assert not any(words in text for words in ("Invite somebody", "Remove", "Rename", "Delete this team"))


def test_an_admin_changes_roles_but_not_the_owners_and_not_their_own():
    user = make_user()
    team = team_of(user)
    admin, member = make_member(team, Role.ADMIN), make_member(team)
    client = client_of(admin)
    assert client.post(f"/team/members/{place(member).pk}/role", {"role": "viewer"}).url == "/team/"
    assert client.post(f"/team/members/{place(user).pk}/role", {"role": "viewer"}).status_code == 409
    assert client.post(f"/team/members/{place(admin).pk}/role", {"role": "viewer"}).status_code == 403
    assert client.post(f"/team/members/{place(member).pk}/role", {"role": "owner"}).status_code == 422
    assert roles(team) == {user.email: "owner", admin.email: "admin", member.email: "viewer"}
    assert verbs(team)[-1] == "member.role_changed"


def test_a_role_above_ones_own_is_not_given():
    user = make_user()
    member, other = make_member(team_of(user)), make_member(team_of(user), Role.VIEWER)
    with pytest.raises(NotAllowed):
        services.change_role(member=place(other), role=Role.ADMIN, actor=member)
    with pytest.raises(NotAllowed):
        services.remove_member(member=place(user), actor=other)
    assert roles(team_of(user))[other.email] == "viewer"


def test_a_removed_member_is_out_at_once_with_keys_and_pages():
    user = make_user()
    team = team_of(user)
    member = make_member(team, name="Bob")
    _, text = services.create_api_key(team=team, user=member, name="bot")
    client = client_of(member)
    assert f"Team: {team.name}" in client.get("/studio").content.decode()
    boss = client_of(user)
    address = f"/team/members/{place(member).pk}/remove"
    assert f"Remove {member.email}?" in boss.get(address).content.decode()
    assert boss.post(address).url == "/team/"
    assert find_key(text) is None
    assert "Team: Bob" in client.get("/studio").content.decode()
    # Coming back does not bring the key back.
    Membership.objects.create(team=team, user=member)
    assert find_key(text) is None and ApiKey.objects.get(name="bot").revoked_at is not None
    assert verbs(team)[-1] == "member.removed"


def test_whoever_is_removed_watches_no_job_any_longer(django_capture_on_commit_callbacks):
    user = make_user(credits=100)
    member = make_member(team_of(user))
    job = make_job(user)
    client = client_of(member)
    card = client.get(f"/jobs/{job.pk}").content.decode()
    address = card.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert client.get(address).status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        services.remove_member(member=place(member), actor=user)
    assert client.get(address).status_code == 404


def test_leaving_asks_first_and_the_owner_stays():
    user = make_user()
    team = team_of(user)
    member = make_member(team)
    client = client_of(member)
    assert b"need an invitation" in client.get("/team/leave").content
    assert client.post("/team/leave").url == "/teams"
    assert client_of(user).post("/team/leave").status_code == 409
    assert roles(team) == {user.email: "owner"} and verbs(team)[-1] == "member.left"


def test_a_team_is_handed_over():
    user = make_user()
    team = team_of(user)
    heir = make_member(team)
    client = client_of(user)
    address = f"/team/members/{place(heir).pk}/owner"
    assert b"You become an admin" in client.get(address).content
    assert client.post(address).url == "/team/"
    assert roles(team) == {user.email: "admin", heir.email: "owner"}
    team.refresh_from_db()
    assert team.email == heir.email and verbs(team)[-1] == "team.transferred"
    assert client.post(address).status_code == 403


def test_people_are_told_by_mail_when_others_change_their_place():
    owner = make_user(name="Foxes", email="ana@example.com")
    member = make_member(team_of(owner))
    client = client_of(owner)
    for url, form in (("role", {"role": "viewer"}), ("role", {"role": "viewer"}), ("remove", {})):
        assert client.post(f"/team/members/{place(member).pk}/{url}", form).url == "/team/"
    changed, removed = mail.outbox  # the role that somebody has is no news
    assert (changed.to, removed.to) == ([member.email], [member.email])
    assert "ana@example.com changed your role" in changed.body and "you are now its viewer" in changed.body
    assert removed.subject.startswith("You are no longer in Foxes") and "Your keys for it have stopped" in removed.body
    verbs = Activity.objects.filter(target=member.email).order_by("created_at").values_list("verb", flat=True)
    assert list(verbs) == ["member.role_changed", "member.removed"]
    heir = make_member(team_of(owner))
    client.post(f"/team/members/{place(heir).pk}/owner")
    assert mail.outbox[2].to == [heir.email] and "you are now its owner" in mail.outbox[2].body


def test_an_admin_does_not_take_the_team():
    user = make_user()
    admin = make_member(team_of(user), Role.ADMIN)
    assert client_of(admin).post(f"/team/members/{place(admin).pk}/owner").status_code == 403
    assert roles(team_of(user))[user.email] == "owner"


def test_members_of_another_team_are_not_there():
    user, other = make_user(), make_user()
    member = make_member(team_of(other))
    client = client_of(user)
    for act in ("role", "remove", "owner"):
        assert client.post(f"/team/members/{place(member).pk}/{act}", {"role": "viewer"}).status_code == 404
    assert roles(team_of(other)) == {other.email: "owner", member.email: "member"}


def test_whoever_handed_the_team_over_a_moment_ago_does_not_take_it_back():
    """Two clicks of one owner, on two people: the second was let in before the first was done."""
    user = make_user()
    team = team_of(user)
    heir, other = make_member(team), make_member(team)
    assert services.transfer_team(team=team, to=place(heir), actor=user)
    with pytest.raises(NotAllowed):
        services.transfer_team(team=team, to=place(other), actor=user)
    assert roles(team) == {user.email: "admin", heir.email: "owner", other.email: "member"}


@pytest.mark.parametrize("act", ["role", "remove", "owner"])
def test_a_click_on_somebody_who_has_just_left_is_told_so(act, monkeypatch):
    user = make_user()
    team = team_of(user)
    late = place(make_member(team))
    before = roles(team)

    def lock(team: Team) -> Team:
        Membership.objects.filter(pk=late.pk).delete()  # after the page has looked; the refusal takes it back
        return team

    for module in ("members", "teams"):
        monkeypatch.setattr(f"accounts.services.{module}.lock_team", lock)
    answer = client_of(user).post(f"/team/members/{late.pk}/{act}", {"role": "viewer"})
    assert answer.status_code == 409 and b"They have left the team in the meantime." in answer.content
    assert roles(team) == before and mail.outbox == []


# --- Deleting a team ------------------------------------------------------------------------------------------------
def test_a_deleted_team_stops_at_once_and_can_be_restored(django_capture_on_commit_callbacks):
    user = make_user(credits=100, name="Ana")
    team, job = team_of(user), make_job(user)
    member = make_member(team, name="Bob")
    _, text = services.create_api_key(team=team, user=user, name="bot")
    client = client_of(user)
    assert b"For 7 days you can restore it" in client.get("/team/delete").content
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/team/delete").url == "/teams"
    job.refresh_from_db()
    assert job.status == "canceled" and find_key(text) is None
    assert client.get(f"/jobs/{job.pk}").status_code == 404
    assert "Team: Bob" in client_of(member).get("/studio").content.decode()

    assert "Restore" in client.get("/teams").content.decode()
    assert client_of(member).post(f"/teams/{team.pk}/restore").status_code == 404
    assert client.post(f"/teams/{team.pk}/restore").url == "/team/"
    assert client.get(f"/jobs/{job.pk}").status_code == 200 and find_key(text) is not None
    assert verbs(team)[-3:] == ["team.closed", "job.canceled", "team.restored"]


def test_after_the_grace_nothing_is_restored(settings):
    user = make_user()
    team = team_of(user)
    assert services.close_team(team=team, actor=user) and not services.close_team(team=team, actor=user)
    ended = timezone.now() - timedelta(days=settings.GRACE_DAYS, seconds=1)
    Team.objects.filter(pk=team.pk).update(closed_at=ended)
    with pytest.raises(TooLate):
        services.reopen_team(team=team, actor=user)
    client = client_of(user)
    assert "Restore" not in client.get("/teams").content.decode()
    assert client.post(f"/teams/{team.pk}/restore").status_code == 404
    team.refresh_from_db()
    assert team.closed_at == ended


def test_only_the_owner_deletes():
    user = make_user()
    admin = make_member(team_of(user), Role.ADMIN)
    assert client_of(admin).post("/team/delete").status_code == 403
    assert team_of(user).closed_at is None


def test_there_is_one_owner_whoever_hands_over_twice():
    user = make_user()
    team = team_of(user)
    first, second = make_member(team), make_member(team)
    services.transfer_team(team=team, to=place(first), actor=user)
    services.transfer_team(team=team, to=place(second), actor=first)
    services.transfer_team(team=team, to=place(second), actor=first)
    assert sorted(roles(team).values()) == ["admin", "admin", "owner"]
    with pytest.raises(OwnerStays):
        services.leave_team(place(second, team))
    with pytest.raises(MemberGone):
        services.transfer_team(team=team, to=Membership(pk=0), actor=second)
