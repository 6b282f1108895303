"""The gallery of a team with 200,000 pictures against that of a team with 1,000: first page, and a page deep inside.

    python benchmarks/gallery.py [--pairs 40] [--many 200000] [--few 1000]

Whole pages over HTTP from one gunicorn process, one connection, in turns. The rows are made by one statement from one
real job and its picture, in a scratch database. The statements of each page are captured, and the plan of the one that
reads the pictures is asked for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, site
from benchmarks.support.http import Connection

RATIO_MAX = 1.5
STATEMENTS_MAX = 4
ROWS_READ_MAX = 60
DEPTH = 0.9  # of the way to the oldest picture
COPY_JOBS = """
    INSERT INTO generation_job SELECT row.* FROM generation_job job, generate_series(1, %(count)s) number,
    LATERAL jsonb_populate_record(job, jsonb_build_object(
        'id', md5(job.id || 'job' || number)::uuid, 'request_key', 'copy-' || number, 'seed', number,
        'created_at', job.created_at - number * interval '7 seconds'
    )) row WHERE job.id = %(job)s"""
COPY_IMAGES = """
    INSERT INTO generation_image SELECT row.* FROM generation_image image, generate_series(1, %(count)s) number,
    LATERAL jsonb_populate_record(image, jsonb_build_object(
        'id', md5(image.id || 'image' || number)::uuid, 'job_id', md5(image.job_id || 'job' || number)::uuid,
        'key', image.key || number, 'seed', number,
        'created_at', image.created_at - number * interval '7 seconds'
    )) row WHERE image.job_id = %(job)s"""


@dataclass(frozen=True)
class Owner:
    """A team's gallery, as its owner's browser asks for it."""

    count: int
    cookie: str
    first: str
    deep: str

    def pages(self) -> Iterator[tuple[str, str]]:
        yield "first page", self.first
        yield "deep page", self.deep


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--many", type=int, default=200_000)
    parser.add_argument("--few", type=int, default=1_000)
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.many, options.few = 3, 4_000, 400
    report = figures.Report(f"gallery: {options.many:,} pictures against {options.few:,}")
    with site.scratch() as folder:
        began = time.monotonic()
        many, few = make_owner(options.many), make_owner(options.few)
        analyze()
        report.say(f"       rows made in {time.monotonic() - began:.1f} s")
        with site.web(folder, processes=1) as port:
            measure(report, port, many, few, options.pairs)
        for name, path in many.pages():
            inspect(report, f"{many.count:,} pictures, {name}", many.cookie, path)
    return report.end(is_strict=options.strict)


def make_owner(count: int) -> Owner:
    """Somebody with so many pictures: one that was made as a worker makes it, and copies of its rows."""
    from django.db import connection
    from django.urls import reverse

    from generation.models import Image
    from tenkaigen import paging
    from tests.factories import make_user
    from tests.integration.pages import make_image

    user = make_user(credits=100)
    image = make_image(user)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")  # ours is for people's requests
        for statement in (COPY_JOBS, COPY_IMAGES):
            cursor.execute(statement, {"count": count - 1, "job": image.job_id})
    images = Image.objects.filter(team=image.team_id).order_by("-created_at")
    assert images.count() == count
    cursor_inside = paging._encode(images[int(count * DEPTH)])
    gallery = reverse("generation:gallery")
    return Owner(count, site.session_of(user), gallery, f"{gallery}?cursor={cursor_inside}")


def analyze() -> None:
    """What autovacuum does by itself within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def measure(report: figures.Report, port: int, many: Owner, few: Owner, pairs: int) -> None:
    from django.conf import settings

    connections = {owner: Connection(port, f"Cookie: {owner.cookie}") for owner in (many, few)}

    def load(owner: Owner, path: str) -> None:
        page = connections[owner].get(path)
        assert page.startswith(b"HTTP/1.1 200") and page.count(b"<figure ") == settings.GALLERY_PAGE, "the run is void"

    runs: figures.Runs = {
        f"{owner.count:,} pictures, {name}": figures.timed(lambda owner=owner, path=path: load(owner, path))  # type: ignore[misc]
        for name in ("first page", "deep page")
        for owner in (many, few)
        for path in [dict(owner.pages())[name]]
    }
    found = figures.interleave(runs, pairs, warm_ups=5)
    for connection in connections.values():
        connection.close()
    for name, values in found.items():
        report.show(name, values)
    many_first, few_first, many_deep, few_deep = found.values()
    report.hold("first page, many / few", figures.pairwise_ratios(many_first, few_first), at_most=RATIO_MAX)
    report.hold("deep page, many / few", figures.pairwise_ratios(many_deep, few_deep), at_most=RATIO_MAX)
    report.hold("deep page / first page, many", figures.pairwise_ratios(many_deep, many_first), at_most=RATIO_MAX)


def inspect(report: figures.Report, name: str, cookie: str, path: str) -> None:
    """What the page asks PostgreSQL, and how PostgreSQL finds it."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        assert Client(headers={"Cookie": cookie}).get(path).status_code == 200
    statements = [query["sql"] for query in captured]
    report.demand(f"{name}: {len(statements)} statements, at most {STATEMENTS_MAX}", len(statements) <= STATEMENTS_MAX)
    text = " ".join(statements).upper()
    report.demand(f"{name}: no OFFSET, no COUNT", "OFFSET" not in text and "COUNT(" not in text)
    (reading,) = [statement for statement in statements if 'FROM "generation_image"' in statement]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {reading}")
        (plan,) = cursor.fetchone()
    nodes = list(walk((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    kinds = [node["Node Type"] for node in nodes]
    is_by_index = any(node.get("Index Name") == "image_gallery" for node in nodes)
    report.demand(
        f"{name}: reads the index image_gallery, sorts and scans nothing ({' > '.join(kinds)})",
        is_by_index and not any("Sort" in kind or "Seq" in kind for kind in kinds),
    )
    rows = max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes)
    report.demand(
        f"{name}: {rows:.0f} rows read at most by a part of the plan, bar {ROWS_READ_MAX}", rows <= ROWS_READ_MAX
    )


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)


if __name__ == "__main__":
    sys.exit(main())
