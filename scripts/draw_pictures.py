"""Pictures that `shira imagine` draws for the diffusion demo's prompts: as files, as shares of what is right, as a sheet."""

import os
import random
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from score_pictures import make_templates, recognize, score
from shape_pictures import SIZE, full_caption, parts_of_caption, random_scene

ROOT = Path(__file__).resolve().parents[1]
SHIRA = os.environ.get("SHIRA_BIN", str(ROOT / "build" / "bin" / "shira"))


def prompts_of(shapes, count, seed=0):
    """Captions by a seed of their own. The grammar is small: most stand in the base's training set as well."""
    rng = random.Random(f"evaluation/{seed}/{','.join(shapes)}")
    return [full_caption(random_scene(rng, "flat", shapes)) for _ in range(count)]


class Artist:
    """Draws with one base: the same prompts get the same noise, whatever the adapters."""

    def __init__(self, base, folder):
        self.base, self.folder = base, folder
        self.templates = make_templates()

    def draw(self, name, prompts, adapters=()):
        """A file for each prompt, in folder/name; adapters as `--adapter` has them."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        flags = [flag for prompt in prompts for flag in ("--prompt", prompt)]
        flags += [flag for adapter in adapters for flag in ("--adapter", adapter)]
        flags += ["--steps", 20, "--guidance_scale", 3, "--base_dtype", "float32", "-o", folder / "p.png"]
        subprocess.run(
            list(map(str, [SHIRA, "imagine", "--base_model", self.base, *flags])), check=True, stdout=subprocess.DEVNULL
        )
        return [folder / f"p-{i + 1}.png" for i in range(len(prompts))]

    def shares(self, files, prompts, style):
        """The share of pictures with the right color, shape, position, background, style and all of that."""
        pixels = np.stack([np.asarray(Image.open(file)) for file in files])
        asked = [parts_of_caption(prompt) | {"style": style} for prompt in prompts]
        return score(recognize(pixels, self.templates), asked)


def sheet(columns, path, zoom=2):
    """Columns of files under their titles: {title: [file of each row]}."""
    side, gap, head = SIZE * zoom, 4, 14
    rows = max(map(len, columns.values()))
    picture = Image.new("RGB", ((side + gap) * len(columns) - gap, head + (side + gap) * rows - gap), "white")
    pen = ImageDraw.Draw(picture)
    for x, (title, files) in enumerate(columns.items()):
        pen.text(((side + gap) * x + side // 2, 0), title, fill="black", anchor="ma")
        for y, file in enumerate(files):
            tile = Image.open(file).resize((side, side), Image.NEAREST)
            picture.paste(tile, ((side + gap) * x, head + (side + gap) * y))
    picture.save(path)
