"""How a style puts one shape on the canvas: fill, outline, glow or pencil."""

import skia

from generation.engine.starter.palette import INK, LIGHT, NEON_GLOW, PAPER, RGB, WHITE, grey, mix, multiply

OUTLINE_WIDTH = {"anime": 4.0, "sketch": 3.0, "neon": 3.5}
SHADED_WIDTH_MAX = 200  # ground and water are lit evenly
NEON_FILL = 0.35  # how much of its colour a neon shape keeps inside the glowing line


def paint_of(colour: RGB, alpha: float = 255, blur: float = 0, width: float = 0) -> skia.Paint:
    paint = skia.Paint(AntiAlias=True, Color=skia.Color(*(round(max(0, min(255, v))) for v in colour), round(alpha)))
    if blur:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    if width:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(width)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
    return paint


class Brush:
    """Draws in one style under the light of one hour."""

    def __init__(self, canvas: skia.Canvas, style: str, time: str) -> None:
        self.canvas, self.style, self.time = canvas, style, time

    def scenery(self, path: skia.Path, colour: RGB, glow: RGB | None = None, is_detail: bool = False) -> None:
        """A shape of the place: it takes the light of the hour; `glow` is its line in neon."""
        self._shape(path, multiply(colour, LIGHT[self.time]), glow or colour, is_detail)

    def lamp(self, path: skia.Path, colour: RGB, is_detail: bool = True) -> None:
        """A shape that shines by itself, whatever the hour: sun, moon, window, lightning."""
        if self.style == "sketch":
            self._pencil(path, mix(PAPER[self.time], colour, 0.55), is_detail)
        else:
            self.canvas.drawPath(path, paint_of(colour))
            if not is_detail and self.style == "anime":
                self.canvas.drawPath(path, paint_of(INK, width=OUTLINE_WIDTH["anime"]))

    def subject(self, path: skia.Path, colour: RGB, glow: RGB, is_detail: bool = False) -> None:
        """A shape of the subject: it keeps its colour at every hour."""
        if self.style == "sketch":
            self._pencil(path, mix(PAPER[self.time], colour, 0.8), is_detail)
        else:
            self._shape(path, colour, glow, is_detail)

    def _shape(self, path: skia.Path, colour: RGB, glow: RGB, is_detail: bool) -> None:
        if self.style == "neon":
            self._neon(path, glow, is_detail)
        elif self.style == "sketch":
            self._pencil(path, mix(PAPER[self.time], (grey(colour),) * 3, 0.22), is_detail)
        else:
            self.canvas.drawPath(path, paint_of(colour))
            if self.style == "anime" and not is_detail:
                self._shade(path)
                self.canvas.drawPath(path, paint_of(INK, width=OUTLINE_WIDTH["anime"]))

    def _shade(self, path: skia.Path) -> None:
        """Two-tone cel shading: the right third of a shape lies in shadow."""
        bounds = path.getBounds()
        if bounds.width() > SHADED_WIDTH_MAX:
            return
        self.canvas.save()
        self.canvas.clipPath(path, skia.ClipOp.kIntersect, True)
        shadow = skia.Rect.MakeLTRB(
            bounds.left() + bounds.width() * 0.66, bounds.top(), bounds.right(), bounds.bottom()
        )
        self.canvas.drawRect(shadow, paint_of((10, 0, 50), alpha=70))
        self.canvas.restore()

    def _neon(self, path: skia.Path, glow: RGB, is_detail: bool) -> None:
        self.canvas.drawPath(path, paint_of(mix((12, 6, 28), glow, 0.9 if is_detail else NEON_FILL)))
        if not is_detail:
            self.canvas.drawPath(path, paint_of(glow, alpha=110, blur=4, width=9))
            self.canvas.drawPath(path, paint_of(mix(glow, WHITE, 0.25), width=OUTLINE_WIDTH["neon"]))

    def _pencil(self, path: skia.Path, fill: RGB, is_detail: bool) -> None:
        self.canvas.drawPath(path, paint_of(fill))
        line = (236, 236, 240) if self.time == "night" else (44, 42, 50)
        self.canvas.drawPath(path, paint_of(line, alpha=150 if is_detail else 255, width=1.5 if is_detail else 3))


def glow_of(colour_name: str) -> RGB:
    return NEON_GLOW[colour_name]
