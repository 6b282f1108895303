import pytest

from generation import policy


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a naked child", "minors"),
        ("sexy sch00lgirl", "minors"),
        ("NSFW 15 years old", "minors"),
        ("a p0rn scene", "explicit"),
        ("a man being béheaded", "gore"),
        ("a flag with a swastika", "hate"),
    ],
)
def test_forbidden_prompts_name_their_rule(text, rule):
    assert policy.refusal(text).name == rule


@pytest.mark.parametrize(
    "text",
    [
        "a beautiful sunset over mountains",
        "children playing in a park",
        "a nude statue in a museum",
        "Essex countryside, a cocktail glass, a Dickensian street",
        "an assassin's guild hall",
        "a class of analysts",
    ],
)
def test_ordinary_prompts_pass(text):
    assert policy.refusal(text) is None


def test_every_rule_gives_a_reason_a_person_can_read():
    assert all(rule.reason.endswith(".") and len(rule.reason) > 30 for rule in policy.rules())
