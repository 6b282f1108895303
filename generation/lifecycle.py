"""The rules by which a bucket deletes files itself, should nobody else. Pure; `storage_lifecycle` prints and applies.

`cleanup_images` deletes pictures with their rows every hour. The bucket's own rule is the second wall: it also ends
what has no row, old versions where a bucket keeps them, and uploads that nobody finished. What people's models are
made of does not expire, but what was deleted of it must not stay as an old version either.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rule = Mapping[str, Any]
IMAGES, MODELS = "tenkaigen-images", "tenkaigen-models"
VERSION_DAYS = UPLOAD_DAYS = 1
ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")


def of_images(prefix: str, days: int, *, is_versioned: bool) -> dict[str, Any]:
    """The one rule for every picture: it goes after so many days."""
    return _rule(IMAGES, prefix, {"Expiration": {"Days": days}}, is_versioned=is_versioned)


def of_models(prefix: str, *, is_versioned: bool) -> dict[str, Any]:
    """The one rule for training pictures and trained versions: nothing expires."""
    return _rule(MODELS, prefix, {}, is_versioned=is_versioned)


def _rule(name: str, prefix: str, expiry: dict[str, Any], *, is_versioned: bool) -> dict[str, Any]:
    rule = {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/"},
        **expiry,
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }
    # In a versioned bucket, as every one of B2 is, expiring and deleting only hide a file: this says when the hidden
    # version goes.
    return rule | ({"NoncurrentVersionExpiration": {"NoncurrentDays": VERSION_DAYS}} if is_versioned else {})


def is_ours(found: Rule, wanted: Iterable[Rule]) -> bool:
    """Whether a rule is one of these, or a piece of one: B2 forgets names and hands one rule back as several."""
    return any(_is_piece(found, rule) for rule in wanted)


def foreign(rules: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    return [found for found in rules if not is_ours(found, wanted)]


def is_in_force(rules: Sequence[Rule], rule: Rule) -> bool:
    """Whether the enabled rules that are pieces of `rule` say together what it says."""
    present: dict[str, Any] = {}
    for found in rules:
        if _is_piece(found, rule) and found.get("Status") == "Enabled" and _prefix_of(found) == _prefix_of(rule):
            present |= {name: found[name] for name in ACTIONS if name in found and not _is_marker(found[name])}
    return present == {name: rule[name] for name in ACTIONS if name in rule}


def describe(rule: Rule) -> str:
    """One line for one rule."""
    actions = [f"{action} {value}" for part in ACTIONS for action, value in rule.get(part, {}).items()]
    others = sorted(set(rule) - {"ID", "Status", "Filter", "Prefix", *ACTIONS})
    return (
        f"{rule.get('ID', 'without a name')} {rule.get('Status')} {_prefix_of(rule)!r}: {', '.join(actions + others)}"
    )


def _is_piece(found: Rule, rule: Rule) -> bool:
    known = {"ID", "Status", "Filter", "Prefix", *ACTIONS}
    return found.get("ID") == rule["ID"] or (_prefix_of(found) == _prefix_of(rule) and set(found) <= known)


def _prefix_of(rule: Rule) -> str | None:
    """The prefix, when nothing else narrows the rule."""
    narrowed = rule.get("Filter", {"Prefix": rule.get("Prefix", "")})
    return narrowed.get("Prefix", "") if set(narrowed) <= {"Prefix"} else None


def _is_marker(action: Mapping[str, Any]) -> bool:
    return "ExpiredObjectDeleteMarker" in action
