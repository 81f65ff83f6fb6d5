#!/usr/bin/env python3
"""Write a folder of shape pictures with captions (PNG files and metadata.jsonl of {"file_name", "text"}).

    make_shape_pictures.py base OUT [--count 8000]              what the base model is trained on
    make_shape_pictures.py style neon|sketch OUT [--count 150]  the same scenes in a style, for a style adapter
    make_shape_pictures.py object robot|house OUT [--count 60]  an object that the base has not seen

`--full_captions` gives every caption in the same words with nothing left out: the prompts of an evaluation.
The same arguments give the same files.
"""

import argparse
import json
import random
from pathlib import Path

from shape_pictures import OBJECTS, SHAPES, STYLES, full_caption, random_caption, random_scene, render

COUNTS = {"base": 8000, "style": 150, "object": 60}


def make_pictures(out, style, shapes, count, seed, full_captions=False):
    """Writes the folder and returns the scenes."""
    rng = random.Random(f"{seed}/{style}/{','.join(shapes)}")
    out.mkdir(parents=True, exist_ok=True)
    digits = len(str(count - 1))
    scenes, lines = [], []
    for number in range(count):
        scene = random_scene(rng, style, shapes)
        text = full_caption(scene) if full_captions else random_caption(rng, scene)
        name = f"{number:0{digits}}.png"
        render(scene).save(out / name)
        scenes.append(scene)
        lines.append(json.dumps({"file_name": name, "text": text}) + "\n")
    (out / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return scenes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subsets = parser.add_subparsers(dest="subset", required=True)
    for subset, names in (("base", ()), ("style", STYLES[1:]), ("object", OBJECTS)):
        command = subsets.add_parser(subset)
        if names:
            command.add_argument("name", choices=names)
        command.add_argument("out", type=Path, metavar="OUT")
        command.add_argument("--count", type=int, default=COUNTS[subset])
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--full_captions", action="store_true")
    args = parser.parse_args()
    if not 1 <= args.count <= 1_000_000:
        parser.error("--count must be from 1 to 1000000")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        parser.error(f"{args.out}: exists already; its pictures and these would be one set")
    style = args.name if args.subset == "style" else "flat"
    shapes = (args.name,) if args.subset == "object" else SHAPES
    make_pictures(args.out, style, shapes, args.count, args.seed, args.full_captions)


if __name__ == "__main__":
    main()
