"""Invitations: a link by e-mail, for one person, once, for a week. The link is a secret: only its hash is stored."""

import secrets
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import activity
from accounts.errors import AlreadyMember, InvitationGone, OtherAddress, TooManyInvitations, TooSoon
from accounts.models import Invitation, Membership, Team, User
from accounts.services.keys import hash_secret
from accounts.services.locks import lock_team
from accounts.services.members import check_rank

OPEN_PER_TEAM_MAX = 50
MAILS_PER_DAY_MAX = 50  # of one team, so that nobody's mailbox is flooded in its name
RESEND_SECONDS = 60


@transaction.atomic
def invite(*, team: Team, email: str, role: str, actor: User) -> tuple[Invitation, str]:
    """Offer a place, and return the offer with its secret. To send it is the caller's business, after the commit.

    To an address that was invited already, the open invitation is renewed as by `resend_invitation`. What is done
    and answered does not depend on whether anybody has an account with this address.

    Raises:
        AlreadyMember: a member of this team has this address.
        NotAllowed: the role is above the actor's.
        TooManyInvitations, TooSoon
    """
    team, email = lock_team(team), email.lower()
    check_rank(team, actor, role)
    if Membership.objects.filter(team=team, user__email=email).exists():
        raise AlreadyMember(f"{email} is in this team already.")
    open_ones = Invitation.objects.filter(team=team, accepted_at=None, revoked_at=None)
    if again := open_ones.filter(email=email).first():
        return _renew(again, actor, role)
    if open_ones.count() >= OPEN_PER_TEAM_MAX:
        raise TooManyInvitations(f"A team can have {OPEN_PER_TEAM_MAX} open invitations. Revoke one first.")
    _check_mails(team)
    secret = secrets.token_urlsafe(32)
    made = Invitation.objects.create(
        team=team,
        email=email,
        role=role,
        invited_by=actor,
        token_sha256=hash_secret(secret),
        expires_at=_end(),
    )
    activity.record(team=team, actor=actor, verb="member.invited", target=email, role=role)
    return made, secret


@transaction.atomic
def resend_invitation(invitation: Invitation, *, actor: User) -> tuple[Invitation, str]:
    """Make a new link with a new end; the old link is dead.

    Raises:
        InvitationGone: accepted or revoked.
        TooSoon: the last one was sent less than `RESEND_SECONDS` ago.
        TooManyInvitations
    """
    lock_team(invitation.team)
    found = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).first()
    if found is None:
        raise InvitationGone("This invitation was accepted or revoked.")
    check_rank(found.team, actor, found.role)
    return _renew(found, actor, found.role)


@transaction.atomic
def revoke_invitation(invitation: Invitation, *, actor: User) -> bool:
    """Take an offer back. Whether this call did it."""
    if not Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(revoked_at=Now()):
        return False
    activity.record(team=invitation.team, actor=actor, verb="member.uninvited", target=invitation.email)
    return True


@transaction.atomic
def accept_invitation(invitation: Invitation, *, user: User, as_other_address: bool = False) -> Membership:
    """Take the place, once. Whoever is in the team already keeps their role.

    Raises:
        InvitationGone: used, revoked or expired.
        OtherAddress: it was sent to an address that is not confirmed as this person's, and they have not said that
            they want to accept it as themselves nevertheless (`as_other_address`).
        TeamIsClosed
    """
    team = lock_team(invitation.team)
    if not as_other_address and not has_address(user, invitation.email):
        raise OtherAddress(f"This invitation was sent to {invitation.email}.")
    if not _take(invitation, user):
        raise InvitationGone("This invitation no longer works. Ask for a new one.")
    place, is_new = Membership.objects.get_or_create(user=user, team=team, defaults={"role": invitation.role})
    if is_new:
        activity.record(team=team, actor=user, verb="member.joined", invited=invitation.email, role=place.role)
    return place


def has_address(user: User, email: str) -> bool:
    """Whether a person has shown that this address is theirs."""
    return EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists()


def _take(invitation: Invitation, user: User) -> bool:
    """Use an invitation up, if its link still works. One UPDATE, so that of many at once one wins."""
    working = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=Now())
    same_link = working.filter(pk=invitation.pk, token_sha256=invitation.token_sha256)
    return same_link.update(accepted_at=Now(), accepted_by=user) == 1


def _renew(invitation: Invitation, actor: User, role: str) -> tuple[Invitation, str]:
    if (timezone.now() - invitation.sent_at).total_seconds() < RESEND_SECONDS:
        raise TooSoon("An invitation is on its way to this address. Wait a minute before you send another.")
    _check_mails(invitation.team)
    secret = secrets.token_urlsafe(32)
    invitation.token_sha256, invitation.expires_at, invitation.role = hash_secret(secret), _end(), role
    invitation.sent_at, invitation.sent_count = timezone.now(), invitation.sent_count + 1
    invitation.save(update_fields=["token_sha256", "expires_at", "role", "sent_at", "sent_count"])
    activity.record(team=invitation.team, actor=actor, verb="member.invited_again", target=invitation.email)
    return invitation, secret


def _check_mails(team: Team) -> None:
    since = timezone.now() - timedelta(days=1)
    sent = Invitation.objects.filter(team=team, sent_at__gt=since).values_list("sent_count", flat=True)
    if sum(sent) >= MAILS_PER_DAY_MAX:
        raise TooManyInvitations(f"A team can send {MAILS_PER_DAY_MAX} invitations a day.")


def _end() -> datetime:
    return timezone.now() + timedelta(days=settings.INVITATION_DAYS)
