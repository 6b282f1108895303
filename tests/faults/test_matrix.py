"""The short form of the fault matrix. The long one is `make faults`, see docs/testing.md."""

from tests.faults.matrix.course import SHORT, run

SEED = 20_261_121


def test_nothing_is_lost_made_or_charged_twice_whatever_is_killed_paused_or_away():
    totals = run(SHORT, SEED)
    assert totals["kills"] >= 60 and totals["pauses"] >= 12
    for what in ("jobs lost", "double charges", "files without image after the sweep"):
        assert totals[what] == 0, totals
