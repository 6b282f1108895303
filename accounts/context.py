"""What every template may ask of the team: `can`, and the places to switch between."""

from django.http import HttpRequest

from accounts.access import may
from accounts.roles import Ability


class Can:
    """`{% if can.generate %}`: what the role of whoever asks allows here."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def __getitem__(self, ability: str) -> bool:
        return may(self.request, Ability(ability))


def team(request: HttpRequest) -> dict[str, object]:
    return {"can": Can(request), "memberships": getattr(request, "memberships", [])}
