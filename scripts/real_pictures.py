#!/usr/bin/env python3
"""The diffusion demo's recipe on real pictures: an emoji set with captions, and one subject as DreamBooth has it.

    real_pictures.py OUT --emoji DIR --subject DIR [--subject_word dog] [--base assets/tiny-sd] [--steps 600] [--r 16]

--emoji is a folder of pictures with metadata.jsonl (noto-emoji's 128-pixel PNG files), --subject one of a few pictures of one
thing (google/dreambooth). SHiRA and LoRA train as many values on each at 64 pixels, each at the best of three learning rates; OUT/real.json
and real.md say the held-out losses, OUT/*.png show pictures before and after.
"""

import argparse
import json

from draw_pictures import ROOT, Artist, sheet
from picture_training import RATES, directory, new_directory, train_at_best_rate

EMOJI_PROMPTS = [f"an emoji of {name}" for name in ("frog face", "soccer ball", "green apple", "black heart suit", "winking face", "sun")]
SHARED = {
    "base_dtype": "float32",
    "target_modules": "all-linear",
    "resolution": 64,
    "center_crop": True,
    "cache_latents": True,
    "micro_batch_size": 16,
    "lr_scheduler": "cosine",
    "warmup_steps": 20,
    "logging_steps": 50,
}


def table(results):
    lines = ["| pictures | method | values trained | learning rate | held-out loss before | after |", "|---|---|---:|---:|---:|---:|"]
    for name, methods in results.items():
        for method, run in methods.items():
            share = 100 * run["trained_parameters"] / run["total_parameters"]
            lines.append(
                f"| {name} | {method} | {run['trained_parameters']:,} ({share:.1f} %) | {run['learning_rate']:g} | "
                f"{run['first_eval_loss']:.4f} | {run['eval_loss']:.4f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=new_directory, metavar="OUT")
    parser.add_argument("--emoji", type=directory, required=True, metavar="DIR")
    parser.add_argument("--subject", type=directory, required=True, metavar="DIR")
    parser.add_argument("--subject_word", default="dog")
    parser.add_argument("--base", type=directory, default=ROOT / "assets" / "tiny-sd")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--r", type=int, default=16)
    args = parser.parse_args()
    artist = Artist(args.base, args.out / "drawn")
    subject = f"a photo of sks {args.subject_word}"
    cases = {
        "emoji": (
            {"train_data_dir": str(args.emoji), "val_set_size": 128, "max_steps": args.steps, "proportion_empty_prompts": 0.1},
            EMOJI_PROMPTS,
        ),
        args.subject_word: (
            {"instance_data_dir": str(args.subject), "instance_prompt": subject, "val_set_size": 1, "max_steps": args.steps // 2},
            [subject, f"{subject}, white background", f"{subject} on the left"],
        ),
    }
    results = {}
    for name, (keys, prompts) in cases.items():
        columns = {"base": artist.draw(f"{name}-base", prompts)}
        results[name] = {}
        config = args.out / f"{name}.yaml"
        config.write_text(json.dumps(SHARED | {"base_model": str(args.base)} | keys, indent=1))
        for method in RATES:
            best = train_at_best_rate(config, method, args.r, args.out / f"{name}-{method}", {})
            results[name][method] = best
            columns[method] = artist.draw(f"{name}-{method}", prompts, [best["directory"]])
        sheet(columns, args.out / f"{name}.png")
        (args.out / "real.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / "real.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
