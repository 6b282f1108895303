"""Models of one's own in the admin: staff look at everything, and act through services."""

import pytest

from accounts.models import Activity
from credits.queries import balance_of
from generation.custom import services
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from tests.custom import make_draft, make_model
from tests.factories import make_user, team_of
from tests.integration.staff import address, make_boss, post, staff_with, texts

MODELS = (CustomModel, ModelVersion, TrainingImage)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


def test_staff_find_and_read_everything_and_change_nothing_by_hand():
    user = make_user(credits=1000)
    model = make_model(user)
    rows = {CustomModel: model, ModelVersion: model.current, TrainingImage: model.pictures.first()}
    boss, looker = make_boss("boss@example.com"), staff_with(*(f"view_{m._meta.model_name}" for m in MODELS))
    for kind, row in rows.items():
        for words in ("Zuko", model.trigger_word, str(row.pk), str(model.team_id), "x' OR 1=1 \u202e %"):
            found = looker.get(address(kind, "changelist"), {"q": words})
            assert found.status_code == 200
            assert (row in found.context["cl"].queryset) == ("OR" not in words), (kind, words)
        page = looker.get(address(kind, "change", row.pk))
        assert page.status_code == 200 and address(type(model.team), "change", model.team_id) in page.content.decode()
        assert boss.get(address(kind, "add")).status_code == 403
        assert boss.post(address(kind, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert boss.post(address(kind, "change", row.pk), {"name": "x"}).status_code == 403
    assert CustomModel.objects.get().name == "My dog Zuko"


def test_staff_cancel_a_training_and_delete_a_model_in_their_own_name():
    user = make_user(credits=1000)
    model, idle = make_draft(user), make_draft(user)
    services.submit_training(model, user=user, request_key="k")
    both = {"_selected_action": [str(model.pk), str(idle.pk)]}
    looker = staff_with("view_custommodel")
    post(looker, address(CustomModel, "changelist"), action="cancel_training", **both)
    assert Job.objects.get().status == "queued"
    boss = make_boss("boss@example.com")
    answer = post(boss, address(CustomModel, "changelist"), action="cancel_training", **both)
    assert sorted(texts(answer)) == sorted(
        [f"{idle.pk}: No training of this model is open.", "Canceled the training: 1."]
    )
    assert Job.objects.get().status == "canceled" and balance_of(team_of(user)).available_centi == 100_000
    post(boss, address(CustomModel, "changelist"), action="delete_models", _selected_action=[str(model.pk)])
    model.refresh_from_db()
    assert model.deleted_at is not None and not model.pictures.exists()
    acts = dict(Activity.objects.filter(verb__in=("job.canceled", "model.deleted")).values_list("verb", "actor"))
    assert acts == {"job.canceled": "staff:boss@example.com", "model.deleted": "staff:boss@example.com"}
