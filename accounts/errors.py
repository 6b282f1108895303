"""What a person can be told no for about accounts."""

from tenkaigen.errors import DomainError


class NotAllowed(DomainError):
    """The role, or the key's scopes, do not suffice."""

    code = "not_allowed"
    http_status = 403


class TooManyKeys(DomainError):
    code = "too_many_keys"


class TooManyTeams(DomainError):
    code = "too_many_teams"


class TeamIsClosed(DomainError):
    code = "team_is_closed"


class TooLate(DomainError):
    code = "too_late"


class OwnerStays(DomainError):
    """A team has exactly one owner, until it is handed over."""

    code = "owner_stays"


class MemberGone(DomainError):
    """They left, or were removed, while somebody was about to change their place."""

    code = "member_gone"


class AlreadyMember(DomainError):
    code = "already_member"


class InvitationGone(DomainError):
    """Used, revoked or expired."""

    code = "invitation_gone"
    http_status = 410


class OtherAddress(DomainError):
    """The invitation names an address that is not confirmed as this person's."""

    code = "other_address"


class TooManyInvitations(DomainError):
    code = "too_many_invitations"
    http_status = 429
    retry_after_seconds = 3600


class TooSoon(DomainError):
    code = "too_soon"
    http_status = 429
    retry_after_seconds = 60
