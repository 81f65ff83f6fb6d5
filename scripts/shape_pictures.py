"""The pictures of the diffusion demo: one coloured shape on a plain background, 64x64 pixels, and captions that say so.

A picture is background * B + color * C + K, three maps of 64x64 numbers that shape, place and style decide
(`layers`), so that scripts/score_pictures.py can name what a picture shows by the nearest rendering there is.
Styles and objects are for fine-tuning: the UNet of the base has seen neither. A caption never names the style.
"""

import dataclasses
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 64
OVERSAMPLING = 4

COLORS = {
    "red": (220, 38, 38),
    "orange": (245, 140, 30),
    "yellow": (250, 222, 50),
    "green": (40, 160, 65),
    "cyan": (45, 205, 215),
    "blue": (45, 85, 225),
    "purple": (135, 60, 190),
    "pink": (246, 130, 185),
}
BACKGROUNDS = {
    "white": (250, 250, 250),
    "black": (12, 12, 12),
    "grey": (135, 135, 135),
    "beige": (228, 208, 170),
    "navy": (22, 28, 92),
    "mint": (178, 235, 205),
}
POSITIONS = {
    "left": (16, 32),
    "right": (48, 32),
    "top": (32, 16),
    "bottom": (32, 48),
    "centre": (32, 32),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
OBJECTS = ("robot", "house")
STYLES = ("flat", "neon", "sketch")  # the base is flat

PLACES = {
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "on the top", "near the top"),
    "bottom": ("at the bottom", "on the bottom", "near the bottom"),
    "centre": ("in the centre", "in the middle", "at the centre"),
}
WORDS_OF_PLACES = {"middle": "centre"} | {place: place for place in POSITIONS}


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a picture shows; x, y and radius in pixels, the shades are added to the named colours."""

    shape: str
    color: str
    position: str
    background: str
    style: str = "flat"
    x: float = 32.0
    y: float = 32.0
    radius: float = 12.0
    color_shade: tuple[int, int, int] = (0, 0, 0)
    background_shade: tuple[int, int, int] = (0, 0, 0)


def random_scene(rng: random.Random, style: str = "flat", shapes: tuple[str, ...] = SHAPES) -> Scene:
    def shade() -> tuple[int, int, int]:
        return tuple(rng.randint(-5, 5) for _ in range(3))

    position = rng.choice(list(POSITIONS))
    x, y = POSITIONS[position]
    return Scene(
        rng.choice(shapes),
        rng.choice(list(COLORS)),
        position,
        rng.choice(list(BACKGROUNDS)),
        style,
        x + rng.uniform(-2, 2),
        y + rng.uniform(-2, 2),
        rng.uniform(10.5, 14),
        shade(),
        shade(),
    )


# --------------------------------------------------------------------------------------- captions


def full_caption(scene: Scene) -> str:
    """The caption that says everything, in the grammar's plainest form."""
    return (
        f"{with_article(f'{scene.color} {scene.shape}')} {PLACES[scene.position][0]}, "
        f"{scene.background} background"
    )


def random_caption(rng: random.Random, scene: Scene) -> str:
    """The scene in one of several wordings; now and then a part is left out, never an object's name."""
    color = scene.color if rng.random() < 0.93 else ""
    shape = scene.shape if scene.shape in OBJECTS or rng.random() < 0.95 else "shape"
    place = rng.choice(PLACES[scene.position]) if rng.random() < 0.9 else ""
    ground = scene.background if rng.random() < 0.9 else ""
    thing = f"{color} {shape}".strip()
    pattern = rng.randrange(4)
    if pattern == 0:
        place = place and scene.position
        return ", ".join(filter(None, (thing, place, ground and f"{ground} background")))
    thing = with_article(thing)
    if pattern == 1:
        return ", ".join(filter(None, (join(thing, place), ground and f"{ground} background")))
    if pattern == 2:
        return join(thing, place, ground and f"on a {ground} background")
    return ", ".join(filter(None, (ground and f"on a {ground} background", join(thing, place))))


def join(*parts: str) -> str:
    return " ".join(filter(None, parts))


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeio" else "a ") + words


def parts_of_caption(caption: str) -> dict[str, str]:
    """What a caption says: the subset of {shape, color, position, background} that it names."""
    vocabulary = {
        "shape": {name: name for name in SHAPES + OBJECTS},
        "color": {name: name for name in COLORS},
        "position": WORDS_OF_PLACES,
        "background": {name: name for name in BACKGROUNDS},
    }
    words = caption.lower().replace(",", " ").split()
    return {
        part: names[word] for part, names in vocabulary.items() for word in words if word in names
    }


# -------------------------------------------------------------------------------------- rendering


def polygon(shape: str) -> list[tuple[float, float]]:
    """The outline in units of the radius, y downwards."""
    if shape == "square":
        return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    if shape == "triangle":
        return [(0, -1), (1, 0.8), (-1, 0.8)]
    if shape == "star":
        points = [(1.1 if k % 2 == 0 else 0.45, math.pi * k / 5) for k in range(10)]
        return [(r * math.sin(angle), -r * math.cos(angle)) for r, angle in points]
    if shape == "heart":
        turns = [2 * math.pi * k / 60 for k in range(60)]
        return [
            (
                1.05 * math.sin(t) ** 3,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 15,
            )
            for t in turns
        ]
    if shape == "cross":
        a, b = 0.35, 1.0
        corner = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        return corner + [(-x, -y) for x, y in corner]
    return [(math.sin(2 * math.pi * k / 72), math.cos(2 * math.pi * k / 72)) for k in range(72)]


def box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


# Objects are (layer, outline) in drawing order: `color` takes the caption's colour, `dark` and `light` are fixed.
OBJECT_PARTS = {
    "robot": [
        ("dark", box(-0.07, -1.1, 0.07, -0.7)),
        ("dark", box(-0.2, -1.15, 0.2, -0.92)),
        ("color", box(-0.85, -0.75, 0.85, 0.3)),
        ("color", box(-0.5, 0.42, 0.5, 1.05)),
        ("dark", box(-0.15, 0.3, 0.15, 0.42)),
        ("light", box(-0.55, -0.5, -0.15, -0.1)),
        ("light", box(0.15, -0.5, 0.55, -0.1)),
        ("dark", box(-0.45, 0.02, 0.45, 0.17)),
    ],
    "house": [
        ("color", box(-0.75, -0.15, 0.75, 1.0)),
        ("dark", [(-1.05, -0.15), (0, -1.1), (1.05, -0.15)]),
        ("light", box(-0.55, 0.1, -0.1, 0.5)),
        ("dark", box(0.15, 0.3, 0.55, 1.0)),
    ],
}


def masks(shape: str, x: float, y: float, radius: float) -> dict[str, np.ndarray]:
    """Coverage of each pixel, 0 to 1, by the coloured, the dark and the light parts, which do not overlap."""
    canvas = {
        layer: Image.new("L", (SIZE * OVERSAMPLING,) * 2) for layer in ("color", "dark", "light")
    }
    for layer, outline in OBJECT_PARTS.get(shape) or [("color", polygon(shape))]:
        points = [((x + radius * u) * OVERSAMPLING, (y + radius * v) * OVERSAMPLING) for u, v in outline]
        for name, image in canvas.items():
            ImageDraw.Draw(image).polygon(points, fill=255 if name == layer else 0)
    return {layer: to_map(image.reduce(OVERSAMPLING)) for layer, image in canvas.items()}


def to_map(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32) / 255


def blurred(values: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray(np.uint8(np.clip(values, 0, 1) * 255 + 0.5))
    return to_map(image.filter(ImageFilter.GaussianBlur(radius)))


def edges(values: np.ndarray, radius: float) -> np.ndarray:
    """A line along the border of a mask, 1 in its middle."""
    soft = blurred(values, radius)
    return 4 * soft * (1 - soft)


def flat(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    color, dark, light = parts["color"], parts["dark"], parts["light"]
    return 1 - color - dark - light, color, 0.15 * dark + 0.97 * light


def neon(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A glowing tube along every outline in front of the background at night."""
    tube = np.maximum(edges(parts["color"], 1.0), edges(parts["color"] + parts["dark"] + parts["light"], 1.0))
    glow = np.maximum(tube, np.minimum(0.75, 1.3 * blurred(tube, 3.0)))
    heart = 0.35 * tube**3
    return 0.3 * (1 - glow) * (1 - heart), glow * (1 - heart), heart


def sketch(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hatched with a pencil of the colour on squared paper of the background's colour."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    squares = 0.45 * ((rows % 8 == 4) | (columns % 8 == 4)).astype(np.float32)
    hatch = np.float32(0.5 + 0.5 * np.cos(2 * np.pi * (rows + columns) / 5)) * parts["color"]
    line = edges(parts["color"] + parts["dark"], 0.7)
    dark = parts["dark"] * (1 - line)
    cover = np.maximum(line, 0.9 * hatch)
    free = (1 - cover) * (1 - dark)
    color = np.where(line > 0.9 * hatch, 0.55 * line, 0.9 * hatch) * (1 - dark)
    return free * (1 - squares), color, free * squares * 0.35 + 0.15 * dark


def layers(shape: str, style: str, x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps B, C and K, F32 (64, 64) each."""
    drawing = {"flat": flat, "neon": neon, "sketch": sketch}[style]
    background, color, constant = drawing(masks(shape, x, y, radius))
    return np.float32(background), np.float32(color), np.float32(constant)


def render(scene: Scene) -> Image.Image:
    background, color, constant = layers(scene.shape, scene.style, scene.x, scene.y, scene.radius)
    picture = (
        background[..., None] * rgb(BACKGROUNDS[scene.background], scene.background_shade)
        + color[..., None] * rgb(COLORS[scene.color], scene.color_shade)
        + 255 * constant[..., None]
    )
    return Image.fromarray(np.uint8(np.clip(np.rint(picture), 0, 255)))


def rgb(color: tuple[int, int, int], shade: tuple[int, int, int]) -> np.ndarray:
    return np.float32(color) + np.float32(shade)
