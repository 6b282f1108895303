"""What must hold after every row of the matrix, whatever was broken. Returns sentences, one per violation."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db.models import Count, F, Q

from credits.audit import find_drift
from credits.models import Entry, Hold
from generation import cleanup, storage, transitions
from generation.models import Image, Job

VIOLATIONS_MAX = 20
IMAGES_EACH = 8  # files read after a row; at the end, all of them
READERS = 8  # at the same time, then


def look(*, is_final: bool) -> dict[str, Any]:
    """Look at everything. `is_final`: no worker runs any more, so nothing may be open and no file without a row."""
    violations = [*find_drift(), *_money(), *_images(is_final)]
    orphans = list(cleanup.orphans()) if is_final else []
    if is_final:
        violations += _loose_ends(orphans)
    return {
        "violations": violations[:VIOLATIONS_MAX],
        "jobs": Job.objects.count(),
        "completed": Job.objects.filter(status=Job.Status.COMPLETED).count(),
        "lost": Job.objects.filter(status__in=transitions.OPEN).count() if is_final else 0,
        "charged_twice": _twice(Entry.Kind.SETTLE),
        "images": Image.objects.count(),
        "orphans": len(orphans),
    }


def _money() -> list[str]:
    """A job over is settled once, for what it delivered; an open one holds its price."""
    wrong = []
    over = ~Q(status__in=transitions.OPEN)
    holds = {hold.reference: hold for hold in Hold.objects.all()}
    for job in Job.objects.filter(over).annotate(pictures=Count("images")):
        hold = holds.get(str(job.id))
        if hold is None or hold.state != Hold.State.SETTLED:
            wrong.append(f"job {job.id} is {job.status}, its hold is {hold and hold.state}")
        elif hold.charged_centi != job.quote["unit_centi"] * job.pictures or job.charged_centi != hold.charged_centi:
            wrong.append(f"job {job.id} delivered {job.pictures}, charged {hold.charged_centi}")
    open_ids = {str(pk) for pk in Job.objects.filter(~over).values_list("id", flat=True)}
    pending = {reference for reference, hold in holds.items() if hold.state == Hold.State.PENDING}
    wrong += [f"hold {reference} without a living job" for reference in pending - open_ids]
    wrong += [f"job {job_id} is open without a hold" for job_id in open_ids - pending]
    return wrong


def _twice(kind: str) -> int:
    entries = Entry.objects.filter(kind=kind).values("hold", "grant").annotate(times=Count("pk"))
    return entries.filter(times__gt=1).count()


def _images(is_final: bool) -> list[str]:
    """A completed job has its pictures, each with the file it was delivered with; any other job has none."""
    wrong = []
    jobs = Job.objects.annotate(pictures=Count("images"))
    wrong += [
        f"completed {job.id} has {job.pictures}" for job in jobs.filter(status="completed").exclude(pictures=F("count"))
    ]
    wrong += [f"{job.status} {job.id} has pictures" for job in jobs.exclude(status="completed").filter(pictures__gt=0)]
    for image in Image.objects.select_related("job"):
        if image.key != storage.keys_of(image.job, image.index).original:
            wrong.append(f"image {image.pk} was delivered under another fence than {image.job.fence}")
    newest = Image.objects.order_by("-created_at")
    if not is_final:
        return [*wrong, *filter(None, map(_file_problem, newest[:IMAGES_EACH]))]
    with ThreadPoolExecutor(READERS) as pool:  # each file is a wait for the store
        return [*wrong, *filter(None, pool.map(_file_problem, newest))]


def _file_problem(image: Image) -> str:
    try:
        content = storage.fetch(image.key)
    except (FileNotFoundError, storage.StorageFailed) as error:
        return f"image {image.pk} has no file: {type(error).__name__}"
    is_right = hashlib.sha256(content).hexdigest() == image.sha256
    return "" if is_right else f"image {image.pk} has another file"


def _loose_ends(orphans: list[str]) -> list[str]:
    left = Job.objects.filter(status__in=transitions.OPEN)
    wrong = [f"job {job.id} is still {job.status}" for job in left]
    wrong += [f"{key} has no row" for key in orphans]
    return wrong + [f"{upload.key} was never ended" for upload in cleanup.dangling_uploads()]
