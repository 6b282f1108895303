"""Every command, link, service and variable that docs/operations names exists."""

import re
import shlex

import pytest
from django.conf import settings

from tests.deployment import EXAMPLE, READ_BY_ENGINE, READ_BY_SETTINGS, ROOT, SERVICES, check_manage

DOCS = sorted((ROOT / "docs" / "operations").glob("*.md"))
OURS_TO_TRY = [document for document in DOCS if document.name != "embedded.md"]


def commands_in(text: str) -> list[list[str]]:
    """Every `manage.py` command line of a page, in a block or in a sentence, without the shell around it."""
    pieces = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for piece in pieces for line in piece.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    found = []
    for line in lines:
        if "manage.py " in line:
            found.append(shlex.split(line.split("manage.py ", 1)[1], comments=True))
    return found


@pytest.mark.parametrize("document", OURS_TO_TRY, ids=lambda document: document.name)
def test_every_command_on_a_page_is_one_that_is_taken(document):
    found = commands_in(document.read_text())
    assert found
    for name, *arguments in found:
        check_manage(name, [argument.replace("%i", "0") for argument in arguments])


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_every_link_and_service_on_a_page_exists(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("http") or (document.parent / target).exists(), target
    for flags, verb, rest in re.findall(r"docker compose((?: --profile \w+)*) (\w+)([^\n`]*)", text):
        assert set(re.findall(r"--profile (\w+)", flags)) <= {"gpu", "cpu", "store"}
        assert verb in {"build", "up", "run", "ps", "stop"}
        if verb == "run":
            assert re.search(r" (web|gpu) python manage\.py ", rest), rest
        if verb == "stop":
            assert set(rest.split()) <= SERVICES.keys()


@pytest.mark.parametrize("document", OURS_TO_TRY, ids=lambda document: document.name)
def test_every_variable_on_a_page_is_read_by_somebody(document):
    known = READ_BY_ENGINE | READ_BY_SETTINGS | EXAMPLE.keys() | set(dir(settings)) | {"WEB_CONCURRENCY"}
    for name in re.findall(r"`([A-Z][A-Z0-9_]{4,})(?:=[^`]*)?`", document.read_text()):
        assert name in known, name
