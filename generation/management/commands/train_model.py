from pathlib import Path
from time import sleep
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import Membership, User
from generation import events
from generation.custom import drafts, pictures, services
from generation.models import CustomModel, Job, ModelVersion
from generation.training_limits import UPLOADS_MAX
from tenkaigen.errors import DomainError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
LOOK_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Train a model of a team's own from a folder of pictures, for the team's credits, and follow it to its end. "
        "Again with the same trigger word goes on where it was, or tries again what failed, and charges nothing twice. "
        "Ctrl-C only stops watching."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="the id of a team, or the address of its owner")
        parser.add_argument("--reference", required=True, help="slug of a reference model")
        parser.add_argument("--name", required=True)
        parser.add_argument("--trigger", required=True, help="the invented word that calls the subject, such as zuko7")
        parser.add_argument("--images", required=True, type=Path, help=f"a folder with {', '.join(sorted(SUFFIXES))}")
        parser.add_argument("--steps", type=int, help="default: what suits the pictures")
        parser.add_argument("--consent", action="store_true", help="the people in the pictures agreed")

    def handle(self, *, team: str, trigger: str, images: Path, **options: Any) -> None:
        owner = _owner(team)
        try:
            model = CustomModel.objects.filter(team=owner.team, trigger_word=trigger, deleted_at=None).first()
            newest = _newest(model) if model else None
            if model is None or newest is None or newest.job.status in (Job.Status.FAILED, Job.Status.CANCELED):
                model = self._prepare(model, owner, trigger, images, options)
                request_key = f"train_model:{model.pk}:{model.versions.count()}"
                services.submit_training(model, user=owner.user, request_key=request_key)
        except DomainError as error:
            raise CommandError(str(error)) from error
        version = _newest(model)
        if version is None:
            raise CommandError("The model was deleted meanwhile.")
        self.stdout.write(f"model {model.pk}\njob {version.job_id}")
        self._follow(version.job)
        self.stdout.write(f"trained version {version.number}")

    def _prepare(
        self, model: CustomModel | None, owner: Membership, trigger: str, images: Path, options: dict[str, Any]
    ) -> CustomModel:
        files = _files(images)
        with transaction.atomic():  # what is refused leaves no draft without a word to find it by
            model = drafts.change(
                model or drafts.begin(team=owner.team, user=owner.user),
                actor=owner.user,
                reference=options["reference"],
                name=options["name"],
                trigger_word=trigger,
                train_steps=options["steps"],
                has_consent=options["consent"],
            )
        for refused in pictures.add_files(model, user=owner.user, files=files).refused:  # again: the ones it has, too
            self.stdout.write(f"refused {refused.name}: {refused.reason}")
        if problems := services.problems_of(model):
            raise CommandError(" ".join(problems.values()))
        return model

    def _follow(self, job: Job) -> None:
        said = ""
        while not job.is_over:
            progress = events.progress_of(job.id)
            words = _words(progress) if progress else job.status
            if words != said:
                self.stdout.write(words)
                said = words
            sleep(LOOK_SECONDS)
            job.refresh_from_db(fields=["status", "failure"])
        if job.status != Job.Status.COMPLETED:
            raise CommandError(f"{job.status}: {job.failure or 'it was canceled.'} Its credits were given back.")


def _owner(team: str) -> Membership:
    owners = Membership.objects.filter(role=Membership.Role.OWNER).select_related("team", "user")
    try:
        found = owners.filter(team_id=UUID(team))
    except ValueError:
        found = owners.filter(user__in=User.objects.filter(email__iexact=team))
    owner = found.order_by("created_at").first()
    if owner is None:
        raise CommandError(f"There is no team {team!r}, and nobody of that address owns one.")
    return owner


def _newest(model: CustomModel) -> ModelVersion | None:
    return ModelVersion.objects.filter(model=model).select_related("job").order_by("-number").first()


def _files(folder: Path) -> list[tuple[str, bytes]]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if len(found) > UPLOADS_MAX:
            raise CommandError(f"{folder} has {len(found)} pictures; a model learns from at most {UPLOADS_MAX}.")
        return [(path.name, path.read_bytes()) for path in found]
    except OSError as error:
        raise CommandError(f"{folder} cannot be read: {error.strerror}.") from error


def _words(progress: events.Progress) -> str:
    if progress.phase == "training":
        loss = f", loss {progress.loss:.4f}" if progress.loss is not None else ""
        return f"step {progress.steps_done} of {progress.steps_total}{loss}"
    return progress.phase or progress.reason or progress.status
