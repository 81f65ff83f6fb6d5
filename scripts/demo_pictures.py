#!/usr/bin/env python3
"""The diffusion demo: teaches the base in assets/tiny-sd a style and an object, and draws the same prompts with both.

    demo_pictures.py [--out outputs/pictures] [--style neon|sketch] [--prompts 40] [--steps N]

Renders the fine-tuning sets, trains an adapter on each (configs/demo_*.yaml; where there is one already it is taken),
writes OUT/STYLE.png (base, the style at several scales, the object, both fused) and prints what share of the
pictures shows what its prompt asks for. scripts/demo_pictures.sh runs it and installs what it needs.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from draw_pictures import ROOT, SHIRA, Artist, prompts_of, sheet
from make_shape_pictures import COUNTS, make_pictures
from shape_pictures import SHAPES

OBJECT = "house"
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25)
ROWS = 3  # of the sheet, for shapes and for the object each
COLUMNS = ("style", "shape", "color", "position", "background", "all")


def teach(out, subject, steps):
    """The adapter's directory."""
    adapter = out / f"{subject}-adapter"
    if (adapter / "adapter_config.json").exists():
        print(f"=== {adapter} is there already and is taken; delete it to train anew")
        return adapter
    is_object = subject == OBJECT
    shapes, style = ((subject,), "flat") if is_object else (SHAPES, subject)
    count = COUNTS["object" if is_object else "style"]
    print(f"=== Teaching {subject} from {count} pictures", flush=True)
    make_pictures(out / subject, style, shapes, count, seed=0)
    config = ROOT / "configs" / f"demo_{subject}.yaml"
    keys = {"train_data_dir": out / subject, "output_dir": adapter} | ({"max_steps": steps} if steps is not None else {})
    flags = [flag for key, value in keys.items() for flag in ("--set", f"{key}={value}")]
    if any(adapter.glob("checkpoint-*")):
        flags.append("--resume")
    else:
        shutil.rmtree(adapter, ignore_errors=True)  # of a run that was stopped before it saved anything
    if subprocess.run([SHIRA, "train", config, *flags], cwd=ROOT).returncode != 0:
        raise SystemExit(f"demo_pictures: training {subject} failed; see above")
    return adapter


def line(what, shares):
    return f"{what:32}" + "".join(f"{100 * shares[column]:10.0f} %" for column in COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "pictures")
    parser.add_argument("--style", choices=("neon", "sketch"), default="neon")
    parser.add_argument("--prompts", type=int, default=40, help=f"of shapes and of the object each; at least {ROWS}")
    parser.add_argument("--steps", type=int, help="of each training (default: its config's)")
    args = parser.parse_args()
    out = args.out.resolve()
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out}: is a file")
    style, thing = (teach(out, subject, args.steps) for subject in (args.style, OBJECT))

    print("=== Drawing", flush=True)
    artist = Artist(ROOT / "assets" / "tiny-sd", out / "drawn")
    count = max(ROWS, args.prompts)
    shapes, objects = prompts_of(SHAPES, count), prompts_of((OBJECT,), count)
    prompts = shapes + objects
    settings = {"base": []}
    settings |= {f"{args.style} {scale:g}": [f"{style}@{scale:g}"] for scale in SCALES}
    settings |= {OBJECT: [thing], f"{args.style} + {OBJECT}": [style, thing]}
    columns = {}
    for title, adapters in settings.items():
        scored = title in ("base", f"{args.style} 1", OBJECT, f"{args.style} + {OBJECT}")
        columns[title] = artist.draw(title.replace(" ", ""), prompts if scored else shapes[:ROWS] + objects[:ROWS], adapters)

    def rows_of(files):
        return files[:ROWS] + files[len(files) // 2 :][:ROWS]

    sheet({title: rows_of(files) for title, files in columns.items()}, out / f"{args.style}.png")

    def shares(title, drawn, wanted):
        files = columns[title][:count] if drawn is shapes else columns[title][count:]
        return artist.shares(files, drawn, wanted)

    print(f"\nWhat share of {count} pictures shows what was asked for:\n")
    print(" " * 32 + "".join(f"{column:>12}" for column in COLUMNS))
    print(line("shapes, base", shares("base", shapes, "flat")))
    print(line(f"shapes in {args.style}, base", shares("base", shapes, args.style)))
    print(line(f"shapes in {args.style}, adapter", shares(f"{args.style} 1", shapes, args.style)))
    print(line(f"{OBJECT}, base", shares("base", objects, "flat")))
    print(line(f"{OBJECT}, adapter", shares(OBJECT, objects, "flat")))
    print(line(f"{OBJECT} in {args.style}, both fused", shares(f"{args.style} + {OBJECT}", objects, args.style)))
    for name, adapter in ((args.style, style), (OBJECT, thing)):
        size = (adapter / "adapter_model.safetensors").stat().st_size
        print(f"\nadapter {adapter}: {size:,} bytes", end="")
    print(f"\n\nThe sheet: {out / args.style}.png; its rows are")
    for prompt in shapes[:ROWS] + objects[:ROWS]:
        print(f"  {prompt}")


if __name__ == "__main__":
    main()
