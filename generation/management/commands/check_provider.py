from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import Provider
from generation.remote import trial
from generation.remote.calls import CallFailed
from tenkaigen.outgoing import Client


class Command(BaseCommand):
    help = "Order one picture from a provider and fetch it: one fact a line. It costs what the provider takes for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--model", default="", help="one that it serves; default: its first")
        parser.add_argument("--seconds", type=float, default=0, help="how long to wait; default: its deadline")

    def handle(self, *, slug: str, model: str, seconds: float, **options: Any) -> None:
        provider = Provider.objects.filter(slug=slug).first()
        if provider is None:
            known = ", ".join(Provider.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"no provider {slug}. There are: {known}")
        if model and model not in provider.serves:
            raise CommandError(f"{slug} does not serve {model}, but: {', '.join(provider.serves)}")
        try:
            for name, value in trial.order_one(provider, Client(), model=model, seconds_max=seconds):
                self.stdout.write(f"{name} {value}")
        except CallFailed as failure:
            raise CommandError(f"{failure.kind}: {failure}") from failure
