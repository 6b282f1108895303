"""Refuses, at start, settings that would be dangerous or could not work."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, register, run_checks

SECRET_KEY_LENGTH_MIN = 50  # below that, Django warns, too


@register(Tags.security)
def production_is_safe(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Outside `make run`: no DEBUG, no short or well-known secret."""
    if settings.EMBEDDED:
        return []
    errors: list[CheckMessage] = []
    if settings.DEBUG:
        errors.append(Error("DEBUG is on. Unset it: it shows settings and code to strangers.", id="tenkaigen.E001"))
    if len(settings.SECRET_KEY) < SECRET_KEY_LENGTH_MIN or "insecure" in settings.SECRET_KEY:
        hint = "Set SECRET_KEY to 50 random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        errors.append(Error("SECRET_KEY is too short or a default.", hint=hint, id="tenkaigen.E002"))
    if settings.FAILPOINTS:
        errors.append(Error("FAILPOINTS is set. Unset it: it breaks the product on purpose.", id="tenkaigen.E008"))
    return errors


@register(Tags.compatibility)
def times_fit_together(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Times that depend on one another: a lease must outlive several heartbeats, and so on."""
    errors: list[CheckMessage] = []
    if settings.LEASE_SECONDS < 3 * settings.HEARTBEAT_SECONDS:
        errors.append(Error("LEASE_SECONDS must be at least 3 x HEARTBEAT_SECONDS.", id="tenkaigen.E003"))
    if settings.JOB_SECONDS_MAX <= settings.LEASE_SECONDS:
        errors.append(Error("JOB_SECONDS_MAX must be longer than LEASE_SECONDS.", id="tenkaigen.E004"))
    if min(settings.HOLD_SECONDS.values()) < settings.JOB_SECONDS_MAX * settings.JOB_ATTEMPTS_MAX:
        errors.append(Error("HOLD_SECONDS must cover JOB_ATTEMPTS_MAX runs of JOB_SECONDS_MAX.", id="tenkaigen.E005"))
    if settings.SIGNED_URL_SECONDS > 300:
        errors.append(Error("SIGNED_URL_SECONDS must be at most 300.", id="tenkaigen.E006"))
    return errors


def refuse_unsafe_start() -> None:
    """Stop the web process before it answers anybody: gunicorn, unlike `manage.py`, runs no checks.

    Raises:
        SystemExit: with every reason, one a line.
    """
    reasons = [f"{error.id}: {error.msg}" for error in run_checks() if error.is_serious()]
    if not settings.EMBEDDED and get_user_model().objects.filter(is_demo=True).exists():
        reasons.append("tenkaigen.E007: a demo account exists. Delete it before this server is public.")
    if reasons:
        raise SystemExit("TenkaiGen does not start:\n" + "\n".join(reasons))
