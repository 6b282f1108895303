import logging
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Train the starter model on scenes it paints itself. Resumes where the last run of the same folder stopped."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--minutes", type=float, required=True, help="of training in all, resumed ones included")
        parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
        parser.add_argument("--out", type=Path, default=Path(settings.BASE_DIR) / "var" / "starter")
        parser.add_argument("--publish", type=Path, help="weights folder to replace at every snapshot")
        parser.add_argument("--batch", type=int, default=32, help="pictures a step; 256 or more on a GPU")
        parser.add_argument("--workers", type=int, default=2, help="parts of a batch side by side; 1 on a GPU")

    def handle(self, *, publish: Path | None, **options: Any) -> None:
        # Imported here: torch takes seconds, and `manage.py help` must not wait for it.
        from generation.engine.starter.train import Plan, train

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        names = ("minutes", "out", "device", "batch", "workers")
        train(Plan(publish_to=publish, **{name: options[name] for name in names}))
