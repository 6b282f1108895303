import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.engine import EngineError, fetching
from generation.engine.hub import Hub
from generation.engine.loading import Shelf

SECONDS_BETWEEN_LINES = 2.0


class Command(BaseCommand):
    help = (
        "Download a model of the catalogue and pin it in models.lock: revision, and SHA-256 of every file. A locked "
        "model is fetched as the lock says. Run it again after a break: it goes on where it was."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="its name in the catalogue")
        parser.add_argument("--update", action="store_true", help="show what the newest revision would change")
        parser.add_argument("--yes", action="store_true", help="with --update: and take it")
        parser.add_argument("--dir", help="where models lie; default TENKAIGEN_MODELS_DIR, else var/models")

    def handle(self, *, name: str, update: bool, yes: bool, dir: str | None, **options: Any) -> None:
        if yes and not update:
            raise CommandError("--yes takes an update: say --update, too.")
        shelf, hub = Shelf.at(dir), Hub.from_environment()
        try:
            shelf.spec(name)  # before anything is made or asked
            with fetching.turn(shelf):
                plan = fetching.plan(shelf, name, hub, update=update)
                if update:
                    self._show_difference(plan)
                if update and not yes:
                    self.stdout.write("nothing changed: run it again with --yes to take this")
                    return
                changed = fetching.fetch(shelf, plan, hub, self._progress())
        except (EngineError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"model {name}\nrevision {plan.wanted.revision}")
        if plan.wanted.adapter_revision:
            self.stdout.write(f"adapter_revision {plan.wanted.adapter_revision}")
        self.stdout.write(f"files {len(plan.wanted.files)}\nbytes {plan.bytes}")
        self.stdout.write(f"locked {shelf.lock_file}" if changed else "unchanged")

    def _show_difference(self, plan: fetching.Plan) -> None:
        before = plan.locked
        self.stdout.write(f"revision {before.revision if before else 'none'} -> {plan.wanted.revision}")
        if plan.wanted.adapter_revision:
            old = before.adapter_revision if before else ""
            self.stdout.write(f"adapter_revision {old or 'none'} -> {plan.wanted.adapter_revision}")
        for word, paths in (("added", plan.added()), ("changed", plan.changed())):
            for path in paths:
                self.stdout.write(f"{word} {path} {plan.wanted.files[path].size}")
        for path in plan.removed():
            self.stdout.write(f"removed {path}")
        new = sum(plan.wanted.files[path].size for path in (*plan.added(), *plan.changed()))
        self.stdout.write(f"bytes {new} new of {plan.bytes}")

    def _progress(self) -> Any:
        """Something to watch on stderr: a line now and then, and one at the end."""
        last = 0.0

        def show(progress: fetching.Progress) -> None:
            nonlocal last
            done, total = progress.bytes_done, progress.bytes_total
            if time.monotonic() - last < SECONDS_BETWEEN_LINES and done < total:
                return
            last = time.monotonic()
            percent = 100 * done // total if total else 100
            self.stderr.write(f"{percent:3d} %  {_size(done)} of {_size(total)}  {progress.path}")

        return show


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
