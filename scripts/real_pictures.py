#!/usr/bin/env python3
"""The diffusion demo's recipe on real pictures: an emoji set with captions, and one subject as DreamBooth has it.

    real_pictures.py OUT --emoji DIR --subject DIR --subject_word dog [--base assets/tiny-sd] [--steps 600] [--r 16] [--threads 2]

--emoji is a folder of pictures with metadata.jsonl (noto-emoji's 128-pixel PNG files), --subject one of a few pictures of one
thing (google/dreambooth). SHiRA and LoRA train as many values on each at 64 pixels, each at the better of two rates; OUT/real.json
and real.md say the held-out losses, OUT/*.png show pictures before and after.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from draw_pictures import ROOT, SHIRA, Artist, sheet

RATES = {"shira": [5e-3, 1e-2], "lora": [2e-3, 5e-3]}
EMOJI_PROMPTS = [f"an emoji of {name}" for name in ("frog face", "soccer ball", "green apple", "black heart suit", "winking face", "sun")]
SHARED = {
    "base_dtype": "float32",
    "target_modules": "all-linear",
    "train_text_encoder": True,
    "resolution": 64,
    "center_crop": True,
    "cache_latents": True,
    "micro_batch_size": 16,
    "lr_scheduler": "cosine",
    "warmup_steps": 20,
    "logging_steps": 50,
}


def train(args, name, method, keys):
    """The summary of the better rate's run, with its directory."""
    counts = {"shira_mask": "wm", "shira_r": args.r} if method == "shira" else {"lora_r": args.r, "lora_alpha": args.r}
    best = None
    for rate in RATES[method]:
        directory = args.out / f"{name}-{method}-{rate:g}"
        config = SHARED | counts | keys
        config |= {"base_model": str(args.base), "adapter": method, "learning_rate": rate}
        config |= {"num_threads": args.threads, "output_dir": str(directory)}
        path = args.out / f"{directory.name}.yaml"
        path.write_text(json.dumps(config, indent=1))
        run = subprocess.run([SHIRA, "train", path, "--json"], stdout=subprocess.PIPE, text=True)
        if run.returncode != 0:
            raise SystemExit(f"real_pictures: {path} failed")
        summary = json.loads(run.stdout) | {"learning_rate": rate, "directory": str(directory)}
        print(f"{name} {method} {rate:g}: {summary['first_eval_loss']:.4f} -> {summary['eval_loss']:.4f}", file=sys.stderr)
        if best is None or summary["eval_loss"] < best["eval_loss"]:
            best = summary
    return best


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
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--emoji", type=Path, required=True, metavar="DIR")
    parser.add_argument("--subject", type=Path, required=True, metavar="DIR")
    parser.add_argument("--subject_word", default="dog")
    parser.add_argument("--base", type=Path, default=ROOT / "assets" / "tiny-sd")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--r", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
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
        for method in RATES:
            best = results[name][method] = train(args, name, method, keys)
            columns[method] = artist.draw(f"{name}-{method}", prompts, [best["directory"]])
        sheet(columns, args.out / f"{name}.png")
        (args.out / "real.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / "real.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
