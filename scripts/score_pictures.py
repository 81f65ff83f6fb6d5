#!/usr/bin/env python3
"""How well pictures agree with their captions: shares of right colours, shapes, positions, backgrounds and styles.

    score_pictures.py FOLDER [--style flat|neon|sketch] [--details]

FOLDER holds 64x64 PNG files and metadata.jsonl, as make_shape_pictures.py writes them. What a picture shows is what
the nearest of all renderings shows (least squares at 32x32, over every shape, object, style, colour and background,
in several sizes and small shifts). A caption is held to what it says; the style is the one asked for. Prints one
JSON object; `all` is the share of pictures in which everything is right.
"""

import argparse
import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image
from shape_pictures import (
    BACKGROUNDS,
    COLORS,
    OBJECTS,
    POSITIONS,
    SHAPES,
    SIZE,
    STYLES,
    layers,
    parts_of_caption,
)

RADII = (10.5, 12.0, 13.5)
SHIFTS = (-4, -2, 0, 2, 4)
ATTRIBUTES = ("color", "shape", "position", "background", "style")


@dataclasses.dataclass
class Templates:
    """One row for each style, shape, position, radius and shift; a picture is background * B + color * C + K."""

    labels: list[tuple[str, str, str]]  # style, shape, position
    background: np.ndarray  # F32 (rows, pixels)
    color: np.ndarray  # F32 (rows, pixels)
    constant: np.ndarray  # F32 (rows, pixels)


def make_templates() -> Templates:
    labels, maps = [], []
    for style, shape, position in itertools.product(STYLES, SHAPES + OBJECTS, POSITIONS):
        x, y = POSITIONS[position]
        for radius, right, down in itertools.product(RADII, SHIFTS, SHIFTS):
            labels.append((style, shape, position))
            maps.append([halved(map_) for map_ in layers(shape, style, x + right, y + down, radius)])
    return Templates(labels, *(np.stack(rows).reshape(len(labels), -1) for rows in zip(*maps)))


def halved(values: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; (64, 64, ...) to (32, 32, ...)."""
    return values.reshape(SIZE // 2, 2, SIZE // 2, 2, *values.shape[2:]).mean(axis=(1, 3))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("gp,gp->g", a, b)


def recognize(pictures: np.ndarray, templates: Templates) -> list[dict[str, str]]:
    """What each picture, U8 (pictures, 64, 64, 3), shows.

    The squared distance to every template in every pair of colours is expanded into inner products of its maps.
    """
    b, c, k = templates.background, templates.color, templates.constant
    bb, cc, bc, kb, kc, kk = (dot(*pair) for pair in ((b, b), (c, c), (b, c), (k, b), (k, c), (k, k)))
    grounds = np.float32(list(BACKGROUNDS.values())) / 255  # (6, 3)
    colors = np.float32(list(COLORS.values())) / 255  # (8, 3)
    pairs = 2 * grounds @ colors.T  # (6, 8)
    found = []
    for picture in pictures:
        channels = halved(np.float32(picture) / 255).reshape(-1, 3)
        with_b, with_c = b @ channels - kb[:, None], c @ channels - kc[:, None]  # (rows, 3)
        constant = 3 * kk - 2 * (k @ channels).sum(1)
        of_ground = bb[:, None] * (grounds**2).sum(1) - 2 * with_b @ grounds.T  # (rows, 6)
        of_color = cc[:, None] * (colors**2).sum(1) - 2 * with_c @ colors.T  # (rows, 8)
        distance = (constant[:, None] + of_ground)[:, :, None] + of_color[:, None, :]
        distance += bc[:, None, None] * pairs
        row, ground, color = np.unravel_index(np.argmin(distance), distance.shape)
        style, shape, position = templates.labels[row]
        found.append(
            {
                "color": list(COLORS)[color],
                "shape": shape,
                "position": position,
                "background": list(BACKGROUNDS)[ground],
                "style": style,
            }
        )
    return found


def score(found: list[dict[str, str]], wanted: list[dict[str, str]]) -> dict[str, float | None]:
    """The share of right answers among the pictures whose caption names the attribute, None where none does."""
    result = {}
    for attribute in ATTRIBUTES:
        right = [f[attribute] == w[attribute] for f, w in zip(found, wanted) if attribute in w]
        result[attribute] = share(right)
    result["all"] = share([all(f[a] == value for a, value in w.items()) for f, w in zip(found, wanted)])
    return result


def share(right: list[bool]) -> float | None:
    return round(sum(right) / len(right), 4) if right else None


def read_folder(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """File names, captions and pictures, U8 (pictures, 64, 64, 3)."""
    try:
        lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SystemExit(f"score_pictures: {error.filename}: {error.strerror}") from None
    records = [json.loads(line) for line in lines if line.strip()]
    if not records:
        raise SystemExit(f"score_pictures: {folder / 'metadata.jsonl'} names no picture")
    names = [record["file_name"] for record in records]
    pictures = []
    for name in names:
        with Image.open(folder / name) as image:
            if image.size != (SIZE, SIZE):
                raise SystemExit(f"score_pictures: {folder / name} is {image.size}, expected {SIZE}x{SIZE}")
            pictures.append(np.asarray(image.convert("RGB")))
    return names, [record["text"] for record in records], np.stack(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--style", choices=STYLES, default="flat", help="the style asked for")
    parser.add_argument("--details", action="store_true", help="also what each picture shows")
    args = parser.parse_args()
    names, captions, pictures = read_folder(args.folder)
    found = recognize(pictures, make_templates())
    wanted = [parts_of_caption(caption) | {"style": args.style} for caption in captions]
    result = score(found, wanted) | {"pictures": len(names)}
    if args.details:
        result["details"] = [
            {"file_name": name, "text": text} | shown for name, text, shown in zip(names, captions, found)
        ]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
