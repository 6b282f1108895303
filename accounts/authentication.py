"""How programs sign in: `Authorization: Bearer tk_...` or `X-API-Key: tk_...`."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User
from accounts.queries import find_key


class ApiKeyAuthentication(BaseAuthentication):
    """Sign a request in as the maker of its key, for the key's team. `request.auth` is the key."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        text = _key_in(request)
        if text is None:
            return None
        found = find_key(text)
        if found is None:
            raise AuthenticationFailed("This API key is not valid. Make a new one on the account page.")
        key, membership = found
        request._request.team, request._request.membership = key.team, membership
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _key_in(request: Request) -> str | None:
    scheme, _, rest = get_authorization_header(request).decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    return request.headers.get("X-API-Key")


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes the keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A team key: `tk_...`"}
