"""Two people change a team at the same moment: it keeps exactly one owner, and a link lets in exactly one person."""

import threading

from accounts import services
from accounts.errors import InvitationGone, MemberGone, NotAllowed, TeamIsClosed
from accounts.models import Invitation, Membership, Team
from accounts.services import invitations, leaving, members, teams
from tests.factories import make_member, make_user, team_of

Role = Membership.Role
WAIT_SECONDS = 1.0  # how long the removal waits for the hand-over, which the lock keeps out meanwhile
PEOPLE = 5


def hand_over_while_removing(run_together, monkeypatch) -> tuple[list[str], list[object]]:
    """Make somebody the owner who is being removed; the roles that are left, and what the two acts answered."""
    owner = make_user()
    team = team_of(owner)
    admin, heir = make_member(team, Role.ADMIN), make_member(team)
    place = Membership.objects.get(user=heir)
    has_looked, is_handed_over = threading.Event(), threading.Event()
    check_rank = members.check_rank

    def slow_check(*args: object) -> None:
        check_rank(*args)
        has_looked.set()
        is_handed_over.wait(WAIT_SECONDS)

    monkeypatch.setattr(members, "check_rank", slow_check)

    def remove() -> None:
        services.remove_member(member=place, actor=admin)

    def hand_over() -> None:
        assert has_looked.wait(30)
        services.transfer_team(team=team, to=place, actor=owner)
        is_handed_over.set()

    answers = run_together([remove, hand_over])
    return sorted(Membership.objects.filter(team=team).values_list("role", flat=True)), answers


def test_a_team_keeps_its_owner_whatever_comes_together(run_together, monkeypatch):
    roles, answers = hand_over_while_removing(run_together, monkeypatch)
    assert roles == ["admin", "owner"]
    assert answers[0] is None and isinstance(answers[1], MemberGone)


def test_without_the_lock_a_team_loses_its_owner(run_together, monkeypatch):
    for module in (teams, members):
        monkeypatch.setattr(module, "lock_team", lambda team: team)
    roles, answers = hand_over_while_removing(run_together, monkeypatch)
    assert roles == ["admin", "admin"] and answers == [None, None]


def accept_together(run_together) -> tuple[int, list[object]]:
    owner = make_user()
    invitation, _ = services.invite(team=team_of(owner), email="p@example.com", role=Role.MEMBER, actor=owner)

    def accepting(user):
        return lambda: services.accept_invitation(invitation, user=user, as_other_address=True)

    answers = run_together([accepting(make_user()) for _ in range(PEOPLE)])
    return Membership.objects.filter(team=team_of(owner)).exclude(user=owner).count(), answers


def test_a_link_lets_in_one_person(run_together):
    count, answers = accept_together(run_together)
    assert count == 1 and sum(isinstance(answer, InvitationGone) for answer in answers) == PEOPLE - 1


def test_a_link_that_is_checked_before_it_is_used_lets_in_everybody(run_together, monkeypatch):
    barrier = threading.Barrier(PEOPLE)

    def check_then_take(invitation, user) -> bool:
        is_open = Invitation.objects.filter(pk=invitation.pk, accepted_at=None).exists()
        barrier.wait(timeout=30)  # everybody has looked before anybody writes
        Invitation.objects.filter(pk=invitation.pk).update(accepted_by=user)
        return is_open

    monkeypatch.setattr(invitations, "lock_team", lambda team: team)
    monkeypatch.setattr(invitations, "_take", check_then_take)
    assert accept_together(run_together)[0] == PEOPLE


def test_a_late_click_does_not_remove_the_new_owner(run_together):
    owner = make_user()
    team = team_of(owner)
    heir = make_member(team)
    place = Membership.objects.get(user=heir)
    services.transfer_team(team=team, to=place, actor=owner)
    (answer,) = run_together([lambda: services.remove_member(member=place, actor=owner)])
    assert isinstance(answer, NotAllowed) and Membership.objects.get(pk=place.pk).role == "owner"


def join_while_the_owner_goes(run_together, monkeypatch) -> tuple[int, bool, object]:
    """How many are in a team then, whether it is closed, and what who accepted the invitation was answered."""
    owner, guest = make_user(), make_user()
    team = team_of(owner)
    invitation, _ = services.invite(team=team, email="p@example.com", role=Role.MEMBER, actor=owner)
    has_looked, has_joined = threading.Event(), threading.Event()
    close_team = leaving.close_team

    def slow_close(**wanted: object) -> bool:
        has_looked.set()
        has_joined.wait(WAIT_SECONDS / 2)
        return close_team(**wanted)

    monkeypatch.setattr(leaving, "close_team", slow_close)

    def join() -> None:
        assert has_looked.wait(30)
        services.accept_invitation(invitation, user=guest, as_other_address=True)
        has_joined.set()

    _, answer = run_together([lambda: services.close_account(owner), join])
    is_closed = Team.objects.get(pk=team.pk).closed_at is not None
    return Membership.objects.filter(team=team).count(), is_closed, answer


def test_nobody_joins_a_team_that_goes_with_its_owner(run_together, monkeypatch):
    count, is_closed, answer = join_while_the_owner_goes(run_together, monkeypatch)
    assert (count, is_closed) == (1, True) and isinstance(answer, TeamIsClosed)


def test_without_the_lock_somebody_joins_what_is_deleted(run_together, monkeypatch):
    monkeypatch.setattr(leaving, "lock_team", lambda team: team)
    assert join_while_the_owner_goes(run_together, monkeypatch) == (2, True, None)
