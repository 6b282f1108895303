"""Who you are: people, their teams, the keys of their programs, and what was done."""

from accounts.models.activity import Activity
from accounts.models.keys import ApiKey, Scope
from accounts.models.people import KnownAddress, User, UserManager
from accounts.models.teams import Invitation, Membership, Team

__all__ = ["Activity", "ApiKey", "Invitation", "KnownAddress", "Membership", "Scope", "Team", "User", "UserManager"]
