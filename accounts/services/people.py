"""People come, and confirm who they are."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from accounts import activity
from accounts.models import KnownAddress, Membership, Team, User
from accounts.services.teams import open_team
from accounts.signals import person_confirmed, team_described

KNOWN_SALT = "accounts.known_address"


@transaction.atomic
def create_account(email: str, password: str | None, **fields: object) -> User:
    """Make a person with a team of their own. Whoever calls this vouches for the address: it counts as confirmed."""
    user = User.objects.create_user(email, password, **fields)
    open_team(user)
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    confirm_person(user)
    return user


@transaction.atomic
def confirm_person(user: User) -> bool:
    """Note that a person has confirmed an address. Whether they are welcome as a newcomer: once, and once per address.

    Asked again, or for an address that greeted somebody before (also with a `+word` in it, also after a deletion),
    nothing is sent.
    """
    if not User.objects.filter(pk=user.pk, confirmed_at=None).update(confirmed_at=Now()):
        return False
    team = open_team(user)
    activity.record(team=team, actor=user, verb="account.confirmed")
    _, is_new = KnownAddress.objects.get_or_create(digest=_digest(user.email))
    if is_new:
        person_confirmed.send(sender=User, user=user, team=team)
    return is_new


@transaction.atomic
def free_address(address: EmailAddress) -> None:
    """Take an address that somebody has just confirmed away from those who only claimed it, and never could sign in."""
    others = User.objects.filter(email__iexact=address.email).exclude(pk=address.user_id)
    for other in others.exclude(emailaddress__verified=True):
        EmailAddress.objects.filter(user=other, email__iexact=address.email).delete()
        User.objects.filter(pk=other.pk).update(email=f"unconfirmed-{other.pk}@deleted.invalid")


@transaction.atomic
def follow_address(user: User) -> None:
    """The mail of the teams that a person owns goes where theirs goes now."""
    own = Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER, purged_at=None)
    for team in own.exclude(email=user.email):
        Team.objects.filter(pk=team.pk).update(email=user.email)
        team_described.send(sender=Team, team=team)


@transaction.atomic
def switch_second_step_off(user: User, *, actor: str) -> bool:
    """Take a person's app and recovery codes away, for staff. Whether this call did it: without any it does nothing."""
    if not Authenticator.objects.filter(user=user).delete()[0]:
        return False
    if team := Team.objects.filter(memberships__user=user, closed_at=None).order_by("memberships__created_at").first():
        activity.record(team=team, actor=actor, verb="account.mfa_off", target=user.email)
    return True


def _digest(email: str) -> str:
    name, _, host = email.lower().rpartition("@")
    return salted_hmac(KNOWN_SALT, f"{name.partition('+')[0]}@{host}", algorithm="sha256").hexdigest()
