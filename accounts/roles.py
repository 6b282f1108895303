"""Who may do what in a team: the one table. `docs/roles.md` shows it to people, and a test keeps the two alike."""

from collections.abc import Collection
from enum import StrEnum

from accounts.models import Membership, Scope

Role = Membership.Role


class Ability(StrEnum):
    """Something that a role allows."""

    READ = "read"
    GENERATE = "generate"
    MANAGE_IMAGES = "manage_images"
    TRAIN = "train"
    MANAGE_KEYS = "manage_keys"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_TEAM = "manage_team"
    BILLING = "billing"
    DELETE_TEAM = "delete_team"


EVERYBODY = frozenset({Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER})
WORKERS = EVERYBODY - {Role.VIEWER}
MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
ROLES_OF = {
    Ability.READ: EVERYBODY,
    Ability.GENERATE: WORKERS,
    Ability.MANAGE_IMAGES: WORKERS,
    Ability.TRAIN: WORKERS,
    Ability.MANAGE_KEYS: MANAGERS,
    Ability.MANAGE_MEMBERS: MANAGERS,
    Ability.MANAGE_TEAM: MANAGERS,
    Ability.BILLING: MANAGERS,
    Ability.DELETE_TEAM: frozenset({Role.OWNER}),
}
# What an API key needs besides its maker's role. What is missing here, no key may do.
SCOPE_OF = {
    Ability.READ: Scope.READ,
    Ability.GENERATE: Scope.GENERATE,
    Ability.MANAGE_IMAGES: Scope.GENERATE,
    Ability.TRAIN: Scope.TRAIN,
    Ability.BILLING: Scope.BILLING,
}
# How a refusal names what was wanted.
WORDS = {
    Ability.READ: "look at this",
    Ability.GENERATE: "make pictures",
    Ability.MANAGE_IMAGES: "change or delete pictures",
    Ability.TRAIN: "train models",
    Ability.MANAGE_KEYS: "manage API keys",
    Ability.MANAGE_MEMBERS: "manage members",
    Ability.MANAGE_TEAM: "change the team",
    Ability.BILLING: "manage billing",
    Ability.DELETE_TEAM: "delete the team or hand it over",
}


def allows(role: str, ability: Ability) -> bool:
    return role in ROLES_OF[ability]


def scope_allows(scopes: Collection[str], ability: Ability) -> bool:
    return SCOPE_OF.get(ability) in scopes
