"""Models of one's own, by the services: what is allowed, what it costs, and that a refusal leaves no trace."""

import pytest

from credits.queries import balance_of
from generation.custom import services
from generation.models import CustomModel, Job, ModelVersion
from tests.custom import make_draft
from tests.factories import make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


def state(user):
    models = list(CustomModel.objects.order_by("id").values())
    return models, list(ModelVersion.objects.order_by("id").values()), Job.objects.count(), balance_of(team_of(user))


def test_ten_pictures_at_complexity_one_and_a_half_cost_115(bell):
    user = make_user(credits=200)
    model = make_draft(user, pictures=10)
    job = services.submit_training(model, user=user, request_key="k")
    assert (services.quote_of(model).total_centi, job.quoted_centi) == (11_500, 11_500)
    assert balance_of(team_of(user)).available_centi == 8_500
