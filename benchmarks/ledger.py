"""The ledger: reserve + settle a second, on one hot wallet and over 10,000, and what age does to a wallet.

    python benchmarks/ledger.py [--rounds 5] [--seconds 2] [--wallets 10000] [--entries 1000000]

Four clients each, in turns, on one server: the product's ledger; a textbook version on the same tables; pgbench typing
the statements of bare tables one by one (`ledger_bare.sql`), and calling two functions (`ledger_functions.sql`). Then
a wallet with a million entries takes turns with a new one. A run after which the audit is not clean, or in which there
was a deadlock, is void.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, pgbench, purses, site
from benchmarks.support.clients import Clients, Rate, clients

BARE_MIN = 0.25  # of the rate of the bare statements
AGE_RATIO_MAX = 1.2
STATEMENTS_MAX = 5  # an operation
PAIRS_AGE = 40
UNITS_A_PAIR = 20
YOUNG_ENTRIES = 200  # of the wallet whose statement is compared: it must fill a page, too


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--wallets", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the old wallet")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.wallets, options.entries = 1, 0.5, 200, 4_000
    report = figures.Report(f"ledger: one wallet, {options.wallets:,} wallets, a wallet of {options.entries:,} entries")
    with site.scratch():
        teams = purses.make(options.wallets)
        pgbench.make_tables(options.wallets)
        analyze()
        deadlocks = count_deadlocks()
        measure_rates(report, teams, options.rounds, options.seconds)
        measure_age(report, options.entries, pairs=3 if options.quick else PAIRS_AGE)
        count_statements(report)
        verify(deadlocks)
    return report.end(is_strict=options.strict)


def measure_rates(report: figures.Report, teams: list[UUID], rounds: int, seconds: float) -> None:
    from benchmarks.support import textbook
    from credits import ledger

    work = {"ledger": unit_of(ledger, teams), "textbook": unit_of(textbook, teams)}
    with clients(pgbench.CLIENTS, work) as at_work:
        for name, wallets in (("hot wallet", 1), (f"{len(teams):,} wallets", len(teams))):
            measure_place(report, at_work, name, wallets, rounds, seconds)


def measure_place(
    report: figures.Report, at_work: Clients, name: str, wallets: int, rounds: int, seconds: float
) -> None:
    """Everybody on so many wallets."""
    costs: dict[str, list[float]] = {"ledger": [], "textbook": []}

    def django(who: str) -> Callable[[], float]:
        def run() -> float:
            done: Rate = at_work.rate(who, seconds, wallets=wallets)
            costs[who].append(done.cpu_ms)
            return done.per_second

        return run

    runs: figures.Runs = {
        "bare statements": lambda: pgbench.rate("ledger_bare.sql", accounts=wallets, seconds=seconds),
        "ledger": django("ledger"),
        "textbook": django("textbook"),
        "bare functions": lambda: pgbench.rate("ledger_functions.sql", accounts=wallets, seconds=seconds),
    }
    found = figures.interleave(runs, rounds)
    for who, rates in found.items():
        report.show(f"{name}, {who}", rates, "reserve + settle a second")
    for who, cpu in costs.items():
        report.show(f"{name}, {who}, processor of the client", cpu, "ms a unit")
    bare, ours, tutorial, functions = found.values()
    report.hold(f"{name}, ledger / bare statements", figures.pairwise_ratios(ours, bare), at_least=BARE_MIN)
    report.hold(f"{name}, ledger / textbook", figures.pairwise_ratios(ours, tutorial))
    report.hold(f"{name}, ledger / bare functions", figures.pairwise_ratios(ours, functions))


def unit_of(module: object, teams: list[UUID]) -> Callable[..., None]:
    """One reserve and one settle, two commits, on a wallet among the first so many."""
    from django.db import transaction

    from credits.pricing import Quote

    quote = Quote(500, 1, facts={"width": 512, "height": 512, "quality": "standard"})

    def unit(*, wallets: int) -> None:
        team_id, reference = teams[random.randrange(wallets)], str(uuid.uuid4())
        with transaction.atomic():
            module.reserve(team_id=team_id, quote=quote, reference=reference)  # type: ignore[attr-defined]
        with transaction.atomic():
            module.settle(team_id=team_id, reference=reference, delivered=1)  # type: ignore[attr-defined]

    return unit


def measure_age(report: figures.Report, entries: int, *, pairs: int) -> None:
    """A wallet with the entries of many years beside one that was made just now."""
    from accounts.models import Team
    from credits import ledger
    from credits.queries import statement_page

    began = time.monotonic()
    (old, new, read) = purses.make(3)
    purses.age(old, entries)
    purses.age(read, YOUNG_ENTRIES)
    analyze()
    report.say(f"       rows made in {time.monotonic() - began:.1f} s")
    many = {"old": unit_of(ledger, [old]), "new": unit_of(ledger, [new])}
    teams = {name: Team.objects.get(pk=team) for name, team in (("old", old), ("new", read))}
    deep = {"old": str(entries // 10), "new": str(YOUNG_ENTRIES // 2)}

    def spend(name: str) -> Callable[[], float]:
        return figures.timed(lambda: [many[name](wallets=1) for _ in range(UNITS_A_PAIR)])

    def look(name: str, cursor: str | None) -> Callable[[], float]:
        def page() -> None:
            assert len(statement_page(teams[name], cursor).items) == 50

        return figures.timed(page)

    for what, runs in (
        (f"{UNITS_A_PAIR} x reserve + settle", {name: spend(name) for name in many}),
        ("statement, first page", {name: look(name, None) for name in many}),
        ("statement, deep page", {name: look(name, deep[name]) for name in many}),
    ):
        found = figures.interleave(runs, pairs, warm_ups=3)
        for name, values in found.items():
            report.show(f"{name} wallet, {what}", values)
        ratios = figures.pairwise_ratios(found["old"], found["new"])
        report.hold(f"old wallet / new wallet, {what}", ratios, at_most=AGE_RATIO_MAX)


def count_statements(report: figures.Report) -> None:
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from credits import ledger
    from credits.pricing import Quote

    team_id, reference = purses.make(1)[0], str(uuid.uuid4())
    with CaptureQueriesContext(connection) as reserving, transaction.atomic():
        ledger.reserve(team_id=team_id, quote=Quote(500, 1), reference=reference)
    with CaptureQueriesContext(connection) as settling, transaction.atomic():
        ledger.settle(team_id=team_id, reference=reference, delivered=1)
    for name, captured in (("reserve", reserving), ("settle", settling)):
        asked = [query["sql"] for query in captured.captured_queries if query["sql"] not in ("BEGIN", "COMMIT")]
        report.demand(f"{name}: {len(asked)} statements, bar {STATEMENTS_MAX}", len(asked) <= STATEMENTS_MAX)


def verify(deadlocks: int) -> None:
    """Figures of a ledger that lost something on the way say nothing."""
    from credits.audit import find_drift

    drift = find_drift()
    assert drift == [], f"the run is void: {drift[:5]}"
    happened = count_deadlocks() - deadlocks
    assert happened == 0, f"the run is void: {happened} deadlocks"


def analyze() -> None:
    """What autovacuum does by itself within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")  # ours is for people's requests
        cursor.execute("VACUUM ANALYZE")


def count_deadlocks() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    sys.exit(main())
