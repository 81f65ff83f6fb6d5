#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/image: one small picture of each kind that the reader of pictures meets, by Pillow.

usage: scripts/make_image_fixtures.py tests/fuzz/corpus/image

They are the seeds of tests/fuzz/fuzz_image.cpp, and what tests/io/image_file_test.cpp reads. The picture is 6 x 4: red grows
to the right, green downwards, blue is 128; where there is alpha, its left half is transparent.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 6, 4
ORIENTATION = 0x0112


def picture():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    alpha = np.where(x < WIDTH // 2, 0, 255)
    return Image.fromarray(np.stack([40 * x, 60 * y, np.full_like(x, 128), alpha], axis=-1).astype(np.uint8))


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    rgba = picture()
    rgb = rgba.convert("RGB")
    for mode in ["RGB", "RGBA", "L", "LA", "P"]:
        rgba.convert(mode).save(directory / f"{mode.lower()}.png")
    deep = np.asarray(rgb.convert("L")).astype(np.uint16) * 256 + 77
    Image.fromarray(deep).save(directory / "grey16.png")
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    rgb.save(directory / "turned.jpg", quality=95, subsampling=0, exif=turned)
    rgb.save(directory / "turned.png", exif=turned)
    rgb.save(directory / "turned.webp", exif=turned)
    rgb.save(directory / "progressive.jpg", quality=90, progressive=True)
    rgb.convert("L").save(directory / "grey.jpg")
    rgb.convert("CMYK").save(directory / "cmyk.jpg")
    rgba.save(directory / "lossless.webp", lossless=True, exact=True)
    rgb.save(directory / "lossy.webp")
    rgb.save(directory / "animated.webp", save_all=True, append_images=[rgb.rotate(180)], lossless=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
