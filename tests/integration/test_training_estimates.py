"""How long a training takes: told from the last ones here, and found without reading everything else."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from generation.custom import queries
from generation.models import Job
from tests.custom import make_draft, make_model
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def user():
    return make_user(credits=1000)


def test_how_long_it_takes_is_told_from_the_last_ones_here(user):
    model = make_draft(user, train_steps=200)
    assert queries.estimate_seconds(model) is None
    trained = make_model(user, train_steps=100)
    version = trained.current
    Job.objects.filter(pk=version.job_id).update(processing_ms=30_000)
    assert queries.estimate_seconds(model) == 60
    assert queries.estimate_seconds(trained) == 36  # a refinement with three pictures: 120 steps
    assert version.model.reference_id != model.reference_id  # by the base model, whatever the look


def test_the_last_trainings_are_found_without_walking_through_all_pictures(user):
    make_model(user)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO generation_job (id, kind, status, finished_at, request_key, {columns})
            SELECT gen_random_uuid(), 'image', 'completed', now() + n * interval '1 s', 'copy' || n, {columns}
            FROM generation_job, generate_series(1, 3000) AS n
            """.format(
                columns=", ".join(
                    field.column
                    for field in Job._meta.concrete_fields
                    if field.column not in ("id", "kind", "status", "finished_at", "request_key")
                )
            )
        )
        cursor.execute("ANALYZE generation_job")
        with CaptureQueriesContext(connection) as asked:
            queries.estimate_seconds(make_draft(user))
        (newest,) = [query["sql"] for query in asked if "LIMIT 20" in query["sql"]]
        cursor.execute(f"EXPLAIN {newest}")
        assert "job_trainings" in str(cursor.fetchall())
