"""What the product did, by day, model and plan, and what it cost. Reads only; one statement for each table.

Days are days of TIME_ZONE. A job counts on the day it ended. Jobs of one batch share the device, so a batch's device
time is that of its longest job, and each has the share of its pictures; attempts before a job's last one are not in it.
Trainings are jobs, too, and take devices, but what is said of a picture (its seconds, its cost) is not of them.
"""

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.models import User
from credits.models import Purchase
from generation import counts
from generation.models import DayCount, Image

DAYS_MAX = 366
HOUR_SECONDS = 3600
MONTH_DAYS = 30
GB_BYTES = 10**9
FOREVER_AGO = datetime(2000, 1, 1, tzinfo=UTC)
CACHE_SECONDS = 2 * 86_400
CLOSED = """
WITH closed AS (
    SELECT (finished_at AT TIME ZONE %(zone)s)::date AS day, status, kind, model, failure_code,
        COALESCE(NULLIF(plan, ''), 'unknown') AS plan,
        charged_centi, stored_bytes, processing_ms / 1000.0 AS processing_seconds,
        EXTRACT(epoch FROM claimed_at - created_at) AS waiting_seconds,
        CASE WHEN status = 'completed' AND kind = 'image'
            THEN count - COALESCE(jsonb_array_length(metadata -> 'blocked'), 0) ELSE 0 END AS images,
        COALESCE(MAX(device_ms) OVER batch * count / 1000.0 / SUM(count) OVER batch, 0) AS device_seconds,
        (SELECT SUM(images * price_per_image) FROM generation_remoterequest WHERE job_id = generation_job.id)
            AS remote_price
    FROM generation_job
    WHERE finished_at >= %(since)s AND finished_at < %(until)s
    WINDOW batch AS (PARTITION BY worker, claimed_at)
)
"""
LINES = """
SELECT {name},
    COUNT(*) FILTER (WHERE status = 'completed'),
    COUNT(*) FILTER (WHERE status = 'failed'),
    COUNT(*) FILTER (WHERE status = 'canceled'),
    COALESCE(SUM(images), 0),
    AVG(processing_seconds) FILTER (WHERE status = 'completed' AND kind = 'image'),
    PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY processing_seconds)
        FILTER (WHERE status = 'completed' AND kind = 'image'),
    COALESCE(SUM(device_seconds), 0),
    COALESCE(SUM(device_seconds) FILTER (WHERE kind = 'image'), 0),
    COALESCE(SUM(stored_bytes) FILTER (WHERE kind = 'image'), 0),
    COALESCE(SUM(charged_centi), 0),
    COALESCE(SUM(remote_price), 0)
FROM closed GROUP BY 1 ORDER BY 1
"""
TALLY = """
SELECT status, kind, model, plan, failure_code, COUNT(*), COALESCE(SUM(images), 0), COALESCE(SUM(device_seconds), 0),
    COALESCE(SUM(processing_seconds), 0), COALESCE(SUM(waiting_seconds), 0), COALESCE(SUM(charged_centi), 0)
FROM closed GROUP BY 1, 2, 3, 4, 5
"""
NAMES = {"day": "day", "model": "model", "plan": "plan", "all": "'all'"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: what ended under one name."""

    name: str
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    images: int = 0
    mean_seconds: float | None = None
    p95_seconds: float | None = None
    device_seconds: float = 0.0
    image_device_seconds: float = 0.0  # of them, those that no training took
    stored_bytes: int = 0
    charged_centi: int = 0
    remote_price: Decimal = Decimal(0)  # what remote providers took, in PRICE_CURRENCY

    @property
    def jobs(self) -> int:
        return self.completed + self.failed + self.canceled

    @property
    def success_percent(self) -> float | None:
        """Completed among those that were not canceled; None without any."""
        tried = self.completed + self.failed
        return 100 * self.completed / tried if tried else None

    @property
    def cost(self) -> Decimal | None:
        """What devices, providers and the store took for this, in PRICE_CURRENCY; None while no price is set."""
        return self._cost_with(self.device_seconds)

    @property
    def cost_per_1000(self) -> Decimal | None:
        """Of a thousand images; what trainings took is not in it. None while no price is set, and without images."""
        cost = self._cost_with(self.image_device_seconds)
        return cost / self.images * 1000 if cost is not None and self.images else None

    def _cost_with(self, device_seconds: float) -> Decimal | None:
        if not settings.DEVICE_PRICE_PER_HOUR and not self.remote_price:
            return None
        device = Decimal(device_seconds) / HOUR_SECONDS * settings.DEVICE_PRICE_PER_HOUR
        months = Decimal(settings.IMAGE_LIFETIME_DAYS) / MONTH_DAYS
        return (
            device
            + self.remote_price
            + Decimal(self.stored_bytes) / GB_BYTES * months * settings.STORAGE_PRICE_PER_GB_MONTH
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many came, signed up and bought on one day."""

    name: str
    visits: int = 0
    sign_ups: int = 0
    buyers: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the command and the page show."""

    days: Sequence[Line]
    models: Sequence[Line]
    plans: Sequence[Line]
    total: Line
    funnel: Sequence[Funnel]
    stored_bytes: int  # what is in the store now


class Ending(NamedTuple):
    """How jobs ended, in the words of their columns."""

    status: str
    kind: str
    model: str
    plan: str
    code: str


class Tally(NamedTuple):
    """Sums over jobs that ended."""

    jobs: int = 0
    images: int = 0
    device_seconds: float = 0.0
    processing_seconds: float = 0.0
    waiting_seconds: float = 0.0
    charged_centi: int = 0

    def plus(self, other: Iterable[float]) -> "Tally":
        return Tally(*map(operator.add, self, other))


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days, the last one included."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        return _midnight(self.first)

    @property
    def until(self) -> datetime:
        return _midnight(self.last + timedelta(days=1))

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=place) for place in range((self.last - self.first).days + 1))


def last_days(days: int) -> Span:
    """Today and the days before it, `days` in all."""
    assert 1 <= days <= DAYS_MAX
    today = timezone.localdate()
    return Span(today - timedelta(days=days - 1), today)


def make(span: Span) -> Report:
    counts.write_down()
    of_day = {line.name: line for line in lines(span, "day")}
    total = lines(span, "all")
    return Report(
        days=[of_day.get(str(day), Line(str(day))) for day in span],
        models=lines(span, "model"),
        plans=lines(span, "plan"),
        total=total[0] if total else Line("all"),
        funnel=funnel(span),
        stored_bytes=Image.objects.aggregate(bytes=Sum("size_bytes"))["bytes"] or 0,
    )


def lines(span: Span, by: str) -> list[Line]:
    """One table, by "day", "model", "plan" or "all"."""
    rows = _closed(LINES.format(name=NAMES[by]), span.since, span.until)
    return [_line(*row) for row in rows]


def funnel(span: Span) -> list[Funnel]:
    visits = DayCount.objects.filter(name=counts.VISIT, day__range=(span.first, span.last)).values_list("day", "count")
    people = User.objects.filter(is_demo=False, date_joined__gte=span.since, date_joined__lt=span.until)
    sign_ups = _per_day(people, "date_joined", Count("id"))
    bought = Purchase.objects.filter(paid_at__gte=span.since, paid_at__lt=span.until)
    buyers = _per_day(bought, "paid_at", Count("team", distinct=True))
    seen = dict(visits)
    return [Funnel(str(day), seen.get(day, 0), sign_ups.get(day, 0), buyers.get(day, 0)) for day in span]


def tallies() -> dict[Ending, Tally]:
    """Sums over all jobs that ever ended.

    Jobs that ended on an earlier day do not change any more: their sums are kept in the cache. An hour's grace lets
    every transaction of the old day commit first.
    """
    cut = datetime.combine((timezone.now() - timedelta(hours=1)).date(), time.min, UTC)
    key = f"report:tallies-by-plan:{cut:%Y-%m-%d}"
    old = cache.get(key)
    if old is None:
        old = _closed(TALLY, FOREVER_AGO, cut)
        cache.set(key, old, CACHE_SECONDS)
    sums: dict[Ending, Tally] = {}
    for status, kind, model, plan, code, *numbers in [*old, *_closed(TALLY, cut, timezone.now() + timedelta(hours=1))]:
        ending = Ending(status, kind, model, plan, code)
        sums[ending] = sums.get(ending, Tally()).plus(map(_number, numbers))
    return sums


def _line(name: Any, completed: int, failed: int, canceled: int, images: Any, *rest: Any) -> Line:
    mean, p95, device, of_images, stored, charged, remote = rest
    return Line(
        name=str(name),
        completed=completed,
        failed=failed,
        canceled=canceled,
        images=int(images),
        mean_seconds=_float(mean),
        p95_seconds=_float(p95),
        device_seconds=float(device),
        image_device_seconds=float(of_images),
        stored_bytes=int(stored),
        charged_centi=int(charged),
        remote_price=Decimal(remote),
    )


def _closed(select: str, since: datetime, until: datetime) -> list[Sequence[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(CLOSED + select, {"zone": settings.TIME_ZONE, "since": since, "until": until})
        return list(cursor.fetchall())


def _per_day(rows: Any, moment: str, number: Any) -> dict[date, int]:
    days = rows.annotate(of_day=TruncDate(moment)).values("of_day").annotate(number=number)
    return dict(days.order_by().values_list("of_day", "number"))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, timezone.get_default_timezone())


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, Decimal) else value
