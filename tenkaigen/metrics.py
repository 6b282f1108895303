"""/metrics for Prometheus. Every figure is read when it is asked for, from PostgreSQL and Redis: with several web
processes, GPU workers and beat, a counter in one process's memory would know a part of it."""

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Sum
from django.db.models.functions import Extract, Now
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from credits.models import Wallet
from generation import counts, events, report, transitions
from generation.models import DayCount, ExpansionUse, Job
from generation.report import Ending, Tally
from tenkaigen import checks

CENTI = 100
WORKER_STATES = ("loading", "idle", "busy")


def metrics(request: HttpRequest) -> HttpResponse:
    """For staff, and for whoever holds METRICS_TOKEN. Everybody else is told that there is nothing here."""
    if request.method != "GET" or not _may_look(request):
        raise Http404
    registry = CollectorRegistry()
    registry.register(Found(families()))
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Found:
    """Families that are there already, as `prometheus_client` wants to collect them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families

    def describe(self) -> list[Metric]:
        return []


def families() -> Iterator[Metric]:
    yield from _ended()
    yield from _open()
    yield from _credits()
    yield from _workers()
    yield from _alarms()
    yield from _gemini()


def _may_look(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and settings.METRICS_TOKEN:
        return hmac.compare_digest(token.encode(), settings.METRICS_TOKEN.encode())
    return bool(request.user.is_active and request.user.is_staff)  # type: ignore[union-attr]


def _ended() -> Iterator[Metric]:
    ended = report.tallies()
    failed = {ending: tally for ending, tally in ended.items() if ending.status == Job.Status.FAILED}
    drawn = {ending: tally for ending, tally in ended.items() if ending.kind == Job.Kind.IMAGE}
    whole, kind_of = ("status", "kind", "model", "plan"), ("kind", "model")
    yield _counter("jobs_ended", "Jobs that ended", ended, whole, "jobs")
    yield _counter("jobs_failed", "Jobs that failed, by code", failed, ("code", "model"), "jobs")
    yield _counter("images", "Images delivered", drawn, ("model",), "images")
    yield _counter("device_seconds", "Seconds on a device", ended, kind_of, "device_seconds")
    yield _counter(
        "job_processing_seconds", "Seconds from a job's last claim to its end", ended, kind_of, "processing_seconds"
    )
    yield _counter(
        "job_waiting_seconds", "Seconds from a job's making to its last claim", ended, kind_of, "waiting_seconds"
    )
    yield _counter("credits_charged", "Credits charged", ended, ("kind", "model", "plan"), "charged_centi", CENTI)


def _counter(
    name: str, text: str, ended: dict[Ending, Tally], labels: tuple[str, ...], field: str, divisor: int = 1
) -> Metric:
    family = CounterMetricFamily(f"tenkaigen_{name}", text, labels=labels)
    sums: dict[tuple[str, ...], float] = {}
    for ending, tally in ended.items():
        values = tuple(getattr(ending, label) for label in labels)
        sums[values] = sums.get(values, 0) + getattr(tally, field)
    for values, total in sums.items():
        family.add_metric(values, total / divisor)
    return family


def _open() -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "tenkaigen_jobs_open", "Jobs that are not over", labels=["status", "kind", "model", "plan"]
    )
    oldest = GaugeMetricFamily(
        "tenkaigen_oldest_waiting_seconds", "Age of the oldest queued job", labels=["kind", "model"]
    )
    length = 0
    ages: dict[tuple[str, str], float] = {}
    rows = Job.objects.filter(status__in=transitions.OPEN).values_list("status", "kind", "model", "plan")
    age = Extract(Now() - Min("created_at"), "epoch")
    for status, kind, model, plan, number, seconds in rows.annotate(number=Count("id"), age=age).order_by():
        jobs.add_metric((status, kind, model, plan or "unknown"), number)
        if status == Job.Status.QUEUED:
            length += number
            ages[kind, model] = max(ages.get((kind, model), 0.0), float(seconds))
    for labels, seconds in ages.items():
        oldest.add_metric(labels, seconds)
    yield from (jobs, oldest, GaugeMetricFamily("tenkaigen_queue_length", "Queued jobs", value=length))


def _credits() -> Iterator[Metric]:
    sums = Wallet.objects.aggregate(held=Sum("held_centi"), available=Sum("available_centi"), debt=Sum("debt_centi"))
    for name, total in sums.items():
        text = f"Credits {name} in all wallets"
        yield GaugeMetricFamily(f"tenkaigen_credits_{name}", text, value=(total or 0) / CENTI)


def _workers() -> Iterator[Metric]:
    """GPU workers that have said something in the last `events.WORKER_SECONDS`; no samples when Redis is away."""
    workers = events.workers()
    yield GaugeMetricFamily("tenkaigen_redis_up", "Whether Redis answers", value=workers is not None)
    evicts = GaugeMetricFamily("tenkaigen_redis_evicts", "Whether Redis throws keys away when it is full")
    policy = checks.eviction_policy() if workers is not None else None
    if policy is not None:
        evicts.add_metric((), policy != checks.NO_EVICTION)
    yield evicts
    states = GaugeMetricFamily("tenkaigen_workers", "Living GPU workers by state", labels=["state"])
    serving = GaugeMetricFamily("tenkaigen_workers_serving", "Living GPU workers by model", labels=["model"])
    if workers is not None:
        for state in WORKER_STATES:
            states.add_metric((state,), sum(worker["state"] == state for worker in workers))
        for model, number in _serving(workers).items():
            serving.add_metric((model,), number)
    yield from (states, serving)


def _serving(workers: list[dict[str, Any]]) -> Counter[str]:
    draws = [worker for worker in workers if "image" in worker.get("kinds", ("image",))]
    return Counter(model for worker in draws for model in worker["models"])


def _alarms() -> Iterator[Metric]:
    family = CounterMetricFamily("tenkaigen_alarms", "Things an operator must look at", labels=["name"])
    rang = DayCount.objects.filter(name__startswith=counts.ALARM).values_list("name").annotate(total=Sum("count"))
    for name, total in rang.order_by("name"):
        family.add_metric((name.removeprefix(counts.ALARM),), total)
    yield family


def _gemini() -> Iterator[Metric]:
    used = ExpansionUse.objects.filter(day=timezone.now().date()).aggregate(calls=Sum("calls"), tokens=Sum("tokens"))
    for name, total in used.items():
        text = f"Gemini {name} since midnight UTC"
        yield GaugeMetricFamily(f"tenkaigen_gemini_{name}_today", text, value=total or 0)
