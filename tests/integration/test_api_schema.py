"""The OpenAPI document: valid, complete, and true."""

import json
from io import StringIO
from uuid import uuid4

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from openapi_schema_validator import OAS31Validator

from accounts import services as account_services
from credits import api_urls as credits_api_urls
from credits.billing import api_urls as billing_api_urls
from generation import api_urls, events
from tests.factories import make_job, make_user, team_of
from tests.pictures import deliver

HIDDEN = {"root", "schema", "not_found", "provider_webhook"}
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> dict:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


def test_it_is_valid_and_names_every_address(schema):
    assert get_resolver()
    paths = {f"/api/v1/{pattern.pattern}" for pattern in api_urls.urlpatterns if pattern.name not in HIDDEN}
    for others in (credits_api_urls, billing_api_urls):
        paths |= {f"/api/v1/{pattern.pattern}" for pattern in others.urlpatterns}
    assert {path.replace("<str:", "{").replace(">", "}") for path in paths} == set(schema["paths"])
    schemes = schema["components"]["securitySchemes"]
    assert schemes["apiKey"]["scheme"] == "bearer"
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert "401" in operation["responses"] and {"apiKey": []} in operation["security"]


def test_it_is_served_to_everybody():
    answer = Client().get("/api/v1/schema")
    assert answer.status_code == 200
    assert yaml.safe_load(answer.content)["info"]["title"] == "TenkaiGen"
    assert Client().get("/api/v1/schema?format=json").json()["openapi"].startswith("3.")
    assert Client().get("/api/v1/").json()["schema"] == "http://testserver/api/v1/schema"


@pytest.mark.usefixtures("catalogue", "bell")
def test_answers_are_what_it_says(schema):
    user = make_user(credits=100)
    _, text = account_services.create_api_key(team=team_of(user), user=user, name="ci")
    client = Client(headers={"X-API-Key": text})
    done, opened = make_job(user, count=2), make_job(user)
    deliver(done)
    events.publish([opened.id], events.Progress("queued", position=2, seconds_left=None))
    paths = {
        f"/api/v1/generate/{done.id}": "/api/v1/generate/{job_id}",
        f"/api/v1/generate/{opened.id}": "/api/v1/generate/{job_id}",
        f"/api/v1/generate/{uuid4()}": "/api/v1/generate/{job_id}",
        f"/api/v1/jobs/{done.id}": "/api/v1/jobs/{job_id}",
        f"/api/v1/jobs/{opened.id}": "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/7": "/api/v1/jobs/{job_id}",
        "/api/v1/jobs": "/api/v1/jobs",
        "/api/v1/jobs?limit=0": "/api/v1/jobs",
        "/api/v1/styles": "/api/v1/styles",
    }
    for address, path in paths.items():
        check(schema, path, "get", client.get(address))
    post = {"content_type": "application/json"}
    check(schema, "/api/v1/generate", "post", client.post("/api/v1/generate", {"prompt": "a fox"}, **post))
    check(schema, "/api/v1/generate", "post", client.post("/api/v1/generate", {"prompt": ""}, **post))
    check(schema, "/api/v1/parse-prompt", "post", client.post("/api/v1/parse-prompt", {"prompt": "fox"}, **post))
    check(schema, "/api/v1/jobs/{job_id}", "delete", client.delete(f"/api/v1/jobs/{opened.id}"))
    check(schema, "/api/v1/jobs/{job_id}", "delete", client.delete(f"/api/v1/jobs/{opened.id}"))
    check(schema, "/api/v1/jobs", "get", Client().get("/api/v1/jobs"))


def check(schema: dict, path: str, method: str, answer) -> None:
    """The answer's status is announced, and its body has the announced shape and no field more."""
    responses = schema["paths"][path][method]["responses"]
    assert str(answer.status_code) in responses, (path, answer.status_code)
    shape = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
    closed = {name: {**part, "additionalProperties": False} for name, part in schema["components"]["schemas"].items()}
    for part in closed.values():
        part.setdefault("properties", {})
    whole = {**shape, "components": {"schemas": closed}}
    errors = [error.message for error in OAS31Validator(whole).iter_errors(answer.json())]
    assert errors == [], (path, errors)
