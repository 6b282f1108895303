"""The rule by which a bucket deletes pictures itself, should nobody else. Pure; `storage_lifecycle` prints and applies.

`cleanup_images` deletes pictures with their rows every hour. The bucket's own rule is the second wall: it also ends
what has no row, old versions where a bucket keeps them, and uploads that nobody finished.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Rule = Mapping[str, Any]
RULE_ID = "tenkaigen-images"
VERSION_DAYS = UPLOAD_DAYS = 1
ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")


def wanted(prefix: str, days: int, *, is_versioned: bool) -> dict[str, Any]:
    """The one rule for everything under `prefix`.

    In a versioned bucket, as every one of B2 is, expiring and deleting only hide a file: a second number says when
    the hidden version goes.
    """
    rule: dict[str, Any] = {
        "ID": RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/"},
        "Expiration": {"Days": days},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }
    if is_versioned:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": VERSION_DAYS}
    return rule


def is_ours(rule: Rule, prefix: str) -> bool:
    """Whether a rule is this one, or a piece of it: B2 forgets names and hands one rule back as several."""
    if rule.get("ID") == RULE_ID:
        return True
    known = {"ID", "Status", "Filter", "Prefix", *ACTIONS}
    return _prefix_of(rule) == f"{prefix}/" and set(rule) <= known


def foreign(rules: Sequence[Rule], prefix: str) -> list[Rule]:
    return [rule for rule in rules if not is_ours(rule, prefix)]


def is_in_force(rules: Sequence[Rule], rule: Rule, prefix: str) -> bool:
    """Whether the enabled rules that are ours say together what `rule` says."""
    present: dict[str, Any] = {}
    for found in rules:
        if is_ours(found, prefix) and found.get("Status") == "Enabled" and _prefix_of(found) == f"{prefix}/":
            present |= {name: found[name] for name in ACTIONS if name in found and not _is_marker(found[name])}
    return present == {name: rule[name] for name in ACTIONS if name in rule}


def describe(rule: Rule) -> str:
    """One line for one rule."""
    actions = [f"{action} {value}" for part in ACTIONS for action, value in rule.get(part, {}).items()]
    others = sorted(set(rule) - {"ID", "Status", "Filter", "Prefix", *ACTIONS})
    return (
        f"{rule.get('ID', 'without a name')} {rule.get('Status')} {_prefix_of(rule)!r}: {', '.join(actions + others)}"
    )


def _prefix_of(rule: Rule) -> str | None:
    """The prefix, when nothing else narrows the rule."""
    narrowed = rule.get("Filter", {"Prefix": rule.get("Prefix", "")})
    return narrowed.get("Prefix", "") if set(narrowed) <= {"Prefix"} else None


def _is_marker(action: Mapping[str, Any]) -> bool:
    return "ExpiredObjectDeleteMarker" in action
