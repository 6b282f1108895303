"""Somebody's program, as the API tests need it."""

from django.test import Client

from accounts import services as account_services
from accounts.models import User
from tests.factories import team_of

ASK = {"prompt": "a red fox by a lake", "num_inference_steps": 2, "seed": 7}


class Program:
    """Somebody's program: a client with their key, and no cookies."""

    def __init__(self, user: User) -> None:
        self.user, self.team = user, team_of(user)
        _, self.key = account_services.create_api_key(team=self.team, user=user, name="test")
        self.client = Client(headers={"Authorization": f"Bearer {self.key}"})

    def get(self, path: str, **headers: str):
        return self.client.get(f"/api/v1/{path}", headers=headers)

    def post(self, path: str, body: object, **headers: str):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

    def delete(self, path: str):
        return self.client.delete(f"/api/v1/{path}")
