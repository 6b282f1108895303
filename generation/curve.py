"""The loss curve of a training as an SVG path. Pure; colours and widths are the style sheet's."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320, 100  # of the view box; the page stretches it
POINTS_MAX = 160  # more than a screen shows
FACTORS = (1, 2, 3, 5, 10)
Point = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean losses over the steps of a training: a line that should fall."""

    points: Sequence[Point]
    line: str
    top: float  # what the upper edge stands for
    steps_total: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def middle(self) -> float:
        return self.top / 2

    @property
    def first(self) -> Point:
        return self.points[0]

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def rows(self) -> Sequence[Point]:
        """Some ten of the points, for a table."""
        every = max(1, len(self.points) // 10)
        return [point for place, point in enumerate(self.points) if place % every == 0 or point == self.last]


def loss_curve(losses: Sequence[Sequence[float]], steps_total: int) -> Curve | None:
    """The curve of [step, loss] pairs with rising steps; None while there are fewer than two."""
    points = thin([(int(step), float(loss)) for step, loss in losses if loss == loss and loss >= 0])
    if len(points) < 2 or not (highest := max(loss for _, loss in points)):
        return None
    total, top = max(steps_total, points[-1][0], 1), round_up(highest)
    line = " L".join(f"{step * WIDTH / total:.1f},{HEIGHT - loss * HEIGHT / top:.1f}" for step, loss in points)
    return Curve(points, f"M{line}", top, total)


def thin(points: list[Point]) -> list[Point]:
    """At most `POINTS_MAX` points: each the mean of its neighbours, at the last one's step."""
    size = -(-len(points) // POINTS_MAX)
    if size < 2:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def round_up(value: float) -> float:
    """The next round number: 0.1, 0.2, 0.3, 0.5, 1, 2 and so on."""
    unit = 1e-6
    while True:
        for factor in FACTORS:
            if value <= factor * unit * (1 + 1e-9):
                return float(f"{factor * unit:.3g}")
        unit *= 10
