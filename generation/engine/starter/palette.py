"""Every colour the painter uses: subjects, skies by time of day, and what a style does to them."""

RGB = tuple[float, float, float]

COLOURS: dict[str, RGB] = {
    "red": (222, 36, 40),
    "orange": (246, 136, 20),
    "yellow": (250, 218, 40),
    "green": (44, 166, 66),
    "blue": (36, 96, 226),
    "purple": (138, 58, 196),
    "pink": (250, 128, 186),
    "white": (246, 246, 250),
    "black": (34, 34, 42),
}
TIMES = ("day", "sunset", "night", "storm")
STYLES = ("flat", "anime", "watercolor", "pixel", "neon", "sketch")

SKY: dict[str, tuple[RGB, RGB, RGB]] = {
    "day": ((52, 132, 236), (120, 190, 250), (208, 238, 255)),
    "sunset": ((88, 40, 130), (240, 96, 84), (255, 206, 96)),
    "night": ((6, 8, 40), (20, 28, 88), (48, 60, 138)),
    "storm": ((46, 50, 60), (86, 92, 102), (138, 144, 150)),
}
NEON_SKY: dict[str, tuple[RGB, RGB, RGB]] = {
    "day": ((4, 44, 84), (0, 104, 140), (20, 190, 190)),
    "sunset": ((46, 0, 74), (190, 10, 110), (255, 110, 50)),
    "night": ((4, 2, 22), (20, 8, 60), (64, 16, 120)),
    "storm": ((20, 22, 28), (52, 56, 64), (96, 100, 110)),
}
PAPER: dict[str, RGB] = {
    "day": (240, 234, 218),
    "sunset": (250, 200, 148),
    "night": (58, 64, 98),
    "storm": (160, 164, 168),
}
# What falls on the ground and the scenery is multiplied by the light of the hour. Subjects keep their colour.
LIGHT: dict[str, RGB] = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (1.0, 0.66, 0.56),
    "night": (0.44, 0.48, 0.76),
    "storm": (0.56, 0.6, 0.64),
}
NEON_GLOW: dict[str, RGB] = COLOURS | {
    "red": (255, 50, 60),
    "orange": (255, 150, 30),
    "green": (50, 255, 110),
    "blue": (60, 130, 255),
    "purple": (186, 80, 255),
    "black": (70, 70, 84),
}
INK: RGB = (26, 20, 34)
WHITE: RGB = (255, 255, 255)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Blend: `share` 0 is `first`, 1 is `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def multiply(colour: RGB, light: RGB) -> RGB:
    red, green, blue = (a * b for a, b in zip(colour, light, strict=True))
    return red, green, blue


def grey(colour: RGB) -> float:
    """Luminance, 0 to 255 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
