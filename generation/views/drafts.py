"""What the composer starts with: words kept from the landing page, or the settings of an earlier job."""

from dataclasses import replace
from uuid import UUID

from django.http import HttpRequest

from accounts.models import Team
from generation import looks, queries, services, wording
from generation.errors import InvalidParams
from generation.forms import GenerateForm
from generation.models import Job
from generation.params import size_name

SESSION_KEY = "draft"
DRAFT_FIELDS = ("prompt", "style", "product")
CHOSEN = {"reference": "reference_model", "custom": "custom_model", "version": "version"}  # by links to the studio


def keep_draft(request: HttpRequest, form: GenerateForm) -> None:
    """Keep a stranger's valid request over the sign-up, in their session: prompts do not belong in addresses."""
    request.session[SESSION_KEY] = {name: form.cleaned_data[name] for name in DRAFT_FIELDS}


def drop_draft(request: HttpRequest) -> None:
    request.session.pop(SESSION_KEY, None)


def initial_of(request: HttpRequest, team: Team) -> dict[str, object]:
    """The values the composer opens with."""
    job = _job_in(request, team)
    if job is None:
        chosen = {field: request.GET[name] for name, field in CHOSEN.items() if request.GET.get(name)}
        return {**request.session.get(SESSION_KEY, {}), **chosen}
    try:
        return _values_of(job, request.GET.get("seed", ""))
    except InvalidParams:  # it was made with something that is no longer offered
        return {"prompt": job.prompt}


def _job_in(request: HttpRequest, team: Team) -> Job | None:
    try:
        return queries.jobs_of(team).filter(id=UUID(request.GET.get("from", ""))).first()
    except ValueError:
        return None


def _values_of(job: Job, seed: str) -> dict[str, object]:
    """A job's settings. Its seed only on request: without it, the same words give a new picture."""
    wanted = services.params_of(job)
    suggested = wording.expand_prompt(replace(wanted, negative_prompt=""), looks.of_job(job)).negative_prompt
    values = wanted.as_dict() | {
        "expanded_prompt": job.expanded_prompt if job.expander == "person" else "",
        "negative_prompt": "" if job.negative_prompt == suggested else job.negative_prompt,
        "size": size_name(job.width, job.height),
        "seed": int(seed) if seed.isdecimal() and len(seed) < 12 else None,
    }
    return values | {"is_advanced": True}
