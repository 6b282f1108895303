"""Remote GPU providers, what was asked of them, and what they delivered by webhook. Written only by `remote`."""

import re
import uuid
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from generation.engine import catalog
from generation.models.jobs import Job
from tenkaigen.outgoing import UrlRefused, urls

REQUEST_ID_CHARS_MAX = 100
PLACEHOLDER = "{request_id}"
HOST = re.compile(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)+")
secret_name = RegexValidator(r"^[A-Z][A-Z0-9_]{0,39}$", "Capital letters, digits and underscores, as FAL_2.")


def validate_deadline(seconds: int) -> None:
    if seconds > settings.JOB_SECONDS_MAX:
        raise ValidationError(f"At most {settings.JOB_SECONDS_MAX} seconds: a job that has run longer has hung.")


def validate_models(names: object) -> None:
    if not isinstance(names, list) or not names:
        raise ValidationError('Write a list of names, as ["starter"].')
    if unknown := [name for name in names if name not in catalog.CATALOG]:
        raise ValidationError(f"Not in the catalogue: {', '.join(map(str, unknown))}.")


def validate_hosts(hosts: object) -> None:
    if not isinstance(hosts, list) or not hosts:
        raise ValidationError('Write a list of hosts, as ["fal.media", ".fal.media"]. A dot first: every name below.')
    if wrong := [host for host in hosts if not isinstance(host, str) or not HOST.fullmatch(host)]:
        raise ValidationError(f"Not a host: {', '.join(map(str, wrong))}.")


def validate_url(url: str) -> None:
    """An address that the guarded client will go to, as far as the address alone can tell."""
    try:
        urls.parse(url.replace(PLACEHOLDER, "id"))
    except UrlRefused as refusal:
        raise ValidationError(str(refusal)) from refusal


def validate_url_of_request(url: str) -> None:
    if url.count(PLACEHOLDER) != 1:
        raise ValidationError(f"Write {PLACEHOLDER} where the provider's id of a request belongs.")
    validate_url(url)


class Provider(models.Model):
    """A service that draws for us. It names no prices and no people: both stand in our own rows."""

    class Kind(models.TextChoices):
        ENDPOINT = "endpoint", "endpoint: answers at once or calls back (as on Modal)"
        QUEUE = "queue", "queue: submit, ask for the status, fetch the result (as on fal)"

    class Scheme(models.TextChoices):
        HMAC = "hmac-sha256", "HMAC-SHA256, a shared secret"
        ED25519 = "ed25519", "Ed25519, the provider's public key"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    endpoint = models.CharField(max_length=500, validators=[validate_url], help_text="Where requests are posted to.")
    status_url = models.CharField(
        max_length=500, blank=True, validators=[validate_url_of_request], help_text=f"With {PLACEHOLDER}."
    )
    result_url = models.CharField(
        max_length=500, blank=True, validators=[validate_url_of_request], help_text="Where the status has no pictures."
    )
    serves = models.JSONField(validators=[validate_models], help_text="Models, by their names in our catalogue.")
    result_hosts = models.JSONField(validators=[validate_hosts], help_text="The only hosts pictures are fetched from.")
    # Names, never secrets: the environment holds PROVIDER_SECRET_<name>.
    api_secret = models.CharField(max_length=40, validators=[secret_name], help_text="Of PROVIDER_SECRET_<name>.")
    signature_scheme = models.CharField(max_length=12, choices=Scheme.choices, default=Scheme.HMAC)
    webhook_secret = models.CharField(
        max_length=40, blank=True, validators=[secret_name], help_text="Empty: no callbacks, the provider is asked."
    )
    webhook_secret_next = models.CharField(
        max_length=40, blank=True, validators=[secret_name], help_text="While rotating, both are good."
    )
    price_per_image = models.DecimalField(
        max_digits=10,
        decimal_places=5,
        default=0,
        validators=[MinValueValidator(0)],
        help_text="What we pay, in PRICE_CURRENCY. For the report; customers pay by the price list.",
    )
    deadline_seconds = models.PositiveIntegerField(default=300, validators=[MinValueValidator(5), validate_deadline])
    requests_max = models.PositiveSmallIntegerField(
        default=4, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text="Open requests at a time."
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="Who is asked first.")
    is_active = models.BooleanField(default=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["position", "slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(deadline_seconds__gte=1, requests_max__gte=1), name="provider_has_time_and_room"
            ),
            models.CheckConstraint(condition=Q(price_per_image__gte=0), name="provider_price_is_not_negative"),
        ]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        if self.kind == self.Kind.QUEUE and not self.status_url:
            raise ValidationError({"status_url": "A queue is asked for the status of its requests."})
        if not self.status_url and not self.webhook_secret:
            raise ValidationError("Give it a status address or a webhook secret, or nobody tells us when it is done.")


class RemoteRequest(models.Model):
    """One job at one provider. It outlives the process that posted it, and its fence follows the job's."""

    class State(models.TextChoices):
        UNSENT = "unsent"
        POSTED = "posted"
        ANSWERED = "answered"
        DELIVERING = "delivering"
        DELIVERED = "delivered"
        FAILED = "failed"
        EXPIRED = "expired"
        DROPPED = "dropped", "dropped: nobody wanted it any more"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.PROTECT, related_name="requests")
    job = models.ForeignKey(Job, models.CASCADE, related_name="remote_requests")
    fence = models.PositiveIntegerField()
    request_key = models.CharField(max_length=60, unique=True, help_text="The provider's idempotency key.")
    provider_request_id = models.CharField(max_length=REQUEST_ID_CHARS_MAX, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNSENT)
    deadline_at = models.DateTimeField()
    next_poll_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Failures in a row of what is tried now.")
    polls = models.PositiveIntegerField(default=0)
    answer = models.JSONField(default=dict, blank=True)
    failure = models.CharField(max_length=300, blank=True, help_text="For staff.")
    images = models.PositiveSmallIntegerField(default=0, help_text="Delivered.")
    price_per_image = models.DecimalField(max_digits=10, decimal_places=5)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    posted_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    OPEN = (State.UNSENT, State.POSTED, State.ANSWERED, State.DELIVERING)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "provider_request_id"],
                condition=~Q(provider_request_id=""),
                name="remote_request_once_per_provider_id",
            ),
            models.UniqueConstraint(
                fields=["job"],
                condition=Q(state__in=["unsent", "posted", "answered", "delivering"]),
                name="remote_request_open_once_per_job",
            ),
            models.CheckConstraint(
                name="remote_request_has_an_end_when_it_is_over",
                condition=Q(state__in=["unsent", "posted", "answered", "delivering"], finished_at__isnull=True)
                | Q(state__in=["delivered", "failed", "expired", "dropped"], finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_poll_at"],
                condition=Q(state__in=["unsent", "posted", "answered", "delivering"]),
                name="remote_request_due",
            ),
            models.Index(fields=["-created_at", "-id"], name="remote_request_list"),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.request_key}"


class ProviderDelivery(models.Model):
    """A webhook that was signed well. Kept for a day, so that the same delivery is known when it comes again."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="deliveries")
    delivery_id = models.CharField(max_length=REQUEST_ID_CHARS_MAX)
    provider_request_id = models.CharField(max_length=REQUEST_ID_CHARS_MAX)
    answer = models.JSONField()
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    applied_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "delivery_id"], name="delivery_once_per_provider_and_id")
        ]
        indexes = [
            models.Index(fields=["received_at"], name="delivery_age"),
            models.Index(
                fields=["provider", "provider_request_id"],
                condition=Q(applied_at__isnull=True),
                name="delivery_kept",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} of {self.provider_id}"
