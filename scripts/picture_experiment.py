#!/usr/bin/env python3
"""How well adapters of the diffusion demo do what they were trained for: SHiRA beside LoRA at the same count.

    picture_experiment.py OUT [--base assets/tiny-sd] [--steps 200] [--r 4] [--prompts 48] [--methods shira,lora]
                          [--tasks neon,sketch,house]

For each method: trains an adapter for two styles and one for a new object (configs/demo_*.yaml), each at the best of
three learning rates by held-out loss, then draws the same prompts with the base, with each adapter at half and full strength, and
with a style and the object fused. scripts/score_pictures.py says what share of the pictures shows what was asked for.
Writes OUT/results.json, OUT/results.md and a sheet of pictures for each method.
"""

import argparse
import dataclasses
import json

from draw_pictures import ROOT, Artist, prompts_of, sheet
from make_shape_pictures import COUNTS, make_pictures
from picture_training import RATES, directory, new_directory, train_at_best_rate
from shape_pictures import SHAPES

ROWS = 8  # of a sheet
SCALES = [0.5, 1.0]


@dataclasses.dataclass
class Task:
    name: str
    style: str  # that its pictures have
    shapes: tuple


TASKS = {
    "neon": Task("neon", "neon", SHAPES),
    "sketch": Task("sketch", "sketch", SHAPES),
    "house": Task("house", "flat", ("house",)),
}


def tasks_of(names):
    return [TASKS[name] for name in chosen(names, TASKS)]


def methods_of(names):
    return chosen(names, RATES)


def chosen(names, known):
    names = names.split(",")
    if not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}")
    return names


class Experiment:
    def __init__(self, args):
        self.args = args
        self.out = args.out
        self.artist = Artist(args.base, args.out / "pictures")

    def train(self, task, method):
        """The best run's summary."""
        count = COUNTS["object" if task.name == "house" else "style"]
        data = self.out / "data" / task.name
        if not data.exists():
            make_pictures(data, task.style, task.shapes, count, seed=0)
        keys = {
            "base_model": self.args.base,
            "train_data_dir": data,
            "max_steps": self.args.steps,
            "eval_steps": 0,
            "validation_prompts": "",
        }
        config = ROOT / "configs" / f"demo_{task.name}.yaml"
        return train_at_best_rate(config, method, self.args.r, self.out / method / task.name, keys)

    def score(self, name, prompts, style, adapters=()):
        """Shares of what is right in the drawn pictures, and their files."""
        files = self.artist.draw(name, prompts, adapters)
        return self.artist.shares(files, prompts, style), files


def run_method(experiment, method, shapes, objects):
    args = experiment.args
    result, columns = {}, {}
    base, files = experiment.score("base", shapes, "flat")
    columns["base"] = files[:ROWS]
    adapters = {}
    for task in args.tasks:
        adapters[task.name] = best = experiment.train(task, method)
        prompts = objects if task.name == "house" else shapes
        result[task.name] = {k: best[k] for k in ("eval_loss", "learning_rate", "trained_parameters", "total_parameters")}
        result[task.name]["before"], _ = experiment.score(f"{method}-{task.name}-0", prompts, task.style)
        result[task.name]["scales"] = {}
        for scale in SCALES:
            shares, files = experiment.score(
                f"{method}-{task.name}-{scale:g}", prompts, task.style, [f"{best['directory']}@{scale}"]
            )
            result[task.name]["scales"][f"{scale:g}"] = shares
            if scale == 1.0:
                columns[task.name] = files[:ROWS]
    for style in (task.name for task in args.tasks if task.style == task.name):
        if "house" not in adapters:
            break
        both = [adapters[style]["directory"], adapters["house"]["directory"]]
        shares, files = experiment.score(f"{method}-{style}-house", objects, style, both)
        result[f"{style}+house"] = shares
        columns[f"{style} + house"] = files[:ROWS]
    sheet(columns, args.out / f"{method}.png")
    return {"base": base, "adapters": result}


def table(results):
    lines = ["| method | adapter | style | shape | color | position | background | all |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    columns = ("style", "shape", "color", "position", "background", "all")

    def line(method, name, shares):
        numbers = " | ".join(f"{100 * shares[c]:.0f} %" for c in columns)
        lines.append(f"| {method} | {name} | {numbers} |")

    for method, result in results.items():
        line(method, "base, asked for its own style", result["base"])
        for name, entry in result["adapters"].items():
            if "scales" not in entry:
                line(method, f"{name} fused", entry)
                continue
            line(method, f"{name}: before", entry["before"])
            for scale, shares in entry["scales"].items():
                line(method, f"{name}: at {scale}", shares)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=new_directory, metavar="OUT")
    parser.add_argument("--base", type=directory, default=ROOT / "assets" / "tiny-sd")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--r", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--methods", type=methods_of, default=list(RATES))
    parser.add_argument("--tasks", type=tasks_of, default=list(TASKS.values()))
    args = parser.parse_args()
    if args.prompts < 2:
        parser.error("--prompts: at least 2")
    experiment = Experiment(args)
    shapes = prompts_of(SHAPES, args.prompts, 1)
    objects = prompts_of(("house",), args.prompts, 2)
    results = {}
    for method in args.methods:
        results[method] = run_method(experiment, method, shapes, objects)
        (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / "results.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
