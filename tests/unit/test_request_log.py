"""What the log keeps of a request: enough to follow it, nothing that opens a door."""

import pytest
from django.test import RequestFactory

from tenkaigen.middleware import RequestLogMiddleware


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("/files/eyJuYW1lIjo:1x:sig", "GET /files/<token>"),
        ("/invitations/iVxQ-secret", "GET /invitations/<secret>"),
        ("/accounts/confirm-email/Mg:1x:sig/", "GET /accounts/confirm-email/<key>/"),
        ("/accounts/password/reset/key/5-cz1x-abc/", "GET /accounts/password/reset/key/5-<key>/"),
        ("/jobs?status=failed&token=ticket", "GET /jobs"),
        ("/no-such-page?q=a+red+fox", "GET /no-such-page"),
        ("/jobs/1f0c9a52-6f1e-4a57-9f0f-0d9f4a3f5e11", "GET /jobs/1f0c9a52-6f1e-4a57-9f0f-0d9f4a3f5e11"),
    ],
)
def test_an_address_is_kept_without_what_opens_a_door(asked, kept):
    assert RequestLogMiddleware.format_request(RequestFactory().get(asked)) == kept


def test_the_service_logs_by_it(settings):
    assert "tenkaigen.middleware.RequestLogMiddleware" in settings.MIDDLEWARE
    assert not [name for name in settings.MIDDLEWARE if name.startswith("django_structlog.")]
