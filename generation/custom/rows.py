"""The one lock of a model: its row. Whoever changes it, its versions or its pictures takes this first."""

from contextlib import AbstractContextManager
from uuid import UUID

from accounts.models import Team
from generation.errors import NoSuchModel
from generation.models import CustomModel, ModelVersion
from tenkaigen import busy


def lock(model: CustomModel) -> CustomModel:
    """The model as it is now, locked until the transaction ends.

    Raises:
        NoSuchModel: it was deleted meanwhile.
        Busy: another transaction kept the row longer than `lock_timeout`.
    """
    with waiting():
        # NO KEY: pictures and versions, which only refer to the model, may be read and inserted meanwhile.
        rows = CustomModel.objects.select_for_update(no_key=True, of=("self",)).filter(pk=model.pk, deleted_at=None)
        found = rows.select_related("team", "reference").first()
    if found is None:
        raise NoSuchModel("This model was deleted.")
    return found


def lock_team(team_id: UUID) -> None:
    """Before a model, whoever counts what a team has. Raises: Busy."""
    with waiting():
        Team.objects.select_for_update(no_key=True).get(pk=team_id)


def own(model: CustomModel, version: ModelVersion) -> ModelVersion:
    """A version of a locked model as it is now."""
    return model.versions.get(pk=version.pk)


def waiting() -> AbstractContextManager[None]:
    """Around a statement that locks rows. Raises: Busy, where the lock did not come in time."""
    return busy.waiting("Somebody is changing this model right now. Try again in a moment.")
