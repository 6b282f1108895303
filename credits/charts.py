"""The burn-down chart as an SVG path. Pure; colours and widths are the style sheet's."""

from collections.abc import Sequence
from dataclasses import dataclass

from credits.queries import Day

WIDTH, HEIGHT = 290, 100  # of the view box; the page stretches it
STEPS = (1, 2, 3, 5, 10)


@dataclass(frozen=True, slots=True)
class Chart:
    """What is left at the end of each day, as a line and the area below it."""

    days: Sequence[Day]
    line: str
    area: str
    top_centi: int  # what the upper edge stands for
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def middle_centi(self) -> int:
        return self.top_centi // 2

    @property
    def first(self) -> Day:
        return self.days[0]

    @property
    def last(self) -> Day:
        return self.days[-1]

    @property
    def highest_centi(self) -> int:
        return max(day.available_centi for day in self.days)

    @property
    def newest_first(self) -> list[Day]:
        return list(reversed(self.days))


def burn_down(days: Sequence[Day]) -> Chart | None:
    """The chart of some days, oldest first; None where there is nothing to draw."""
    if len(days) < 2 or not any(day.available_centi for day in days):
        return None
    top = round_up(max(day.available_centi for day in days))
    points = [
        f"{place * WIDTH / (len(days) - 1):.1f},{HEIGHT - day.available_centi * HEIGHT / top:.1f}"
        for place, day in enumerate(days)
    ]
    line = "M" + " L".join(points)
    return Chart(days, line, f"{line} L{WIDTH},{HEIGHT} L0,{HEIGHT} Z", top)


def round_up(amount_centi: int) -> int:
    """The next round number of credits: 1, 2, 3, 5, 10, 20 and so on."""
    unit = 100
    while True:
        for step in STEPS:
            if amount_centi <= step * unit:
                return step * unit
        unit *= 10
