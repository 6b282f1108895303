"""Who may do what: the table in the code, and the same table for people."""

import re
from pathlib import Path

import pytest

from accounts.models import Scope
from accounts.roles import ROLES_OF, SCOPE_OF, WORDS, Ability, Role, allows, scope_allows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "roles.md"
COLUMNS = (Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER)


def test_the_table_for_people_is_the_table_in_the_code():
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \| (?:`(\w+)`|no key may) \|$", PAGE.read_text(), re.M
    )
    told = {name: ([word == "yes" for word in words], scope) for name, *words, scope in rows}
    assert told == {
        ability: ([allows(role, ability) for role in COLUMNS], SCOPE_OF.get(ability, "")) for ability in Ability
    }


def test_every_ability_has_roles_and_words():
    assert set(ROLES_OF) == set(WORDS) == set(Ability)
    assert all(allows(Role.OWNER, ability) for ability in Ability)


@pytest.mark.parametrize("ability", [Ability.GENERATE, Ability.MANAGE_IMAGES, Ability.TRAIN])
def test_viewers_only_look(ability):
    assert not allows(Role.VIEWER, ability) and allows(Role.VIEWER, Ability.READ)


@pytest.mark.parametrize("ability", [Ability.MANAGE_KEYS, Ability.MANAGE_MEMBERS, Ability.DELETE_TEAM])
def test_no_key_rules_a_team(ability):
    assert not scope_allows(Scope.values, ability)


def test_an_unknown_role_may_nothing():
    assert not any(allows("emperor", ability) for ability in Ability)
