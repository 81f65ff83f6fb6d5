#!/usr/bin/env python3
"""Trains the five masks, LoRA, DoRA and WM-DoRA on the same texts and compares what they reach.

usage: quality_experiment.py [--text FILE] [--out outputs/quality] [--page docs/results.md]
       quality_experiment.py --quick --out build/quality          few steps, a minute: shows that everything runs

The texts: stories told by a pirate and stories about robots (make_demo_data.py), or FILE instead of the robots, its
last tenth held out. Every method trains the same steps on the same batches with as many entries as LoRA (`shira_r` =
`lora_r`). Its learning rate is chosen with seed 0 from a grid, which is followed further while its best rate lies at an
end; what counts are three other seeds at that rate. A seed stands for the texts (FILE stays as it is), the order of the
samples, LoRA's first factors and the rand mask.

Writes OUT/results.json, table.md and, where matplotlib is there (setup.sh --tests), quality.png; with --page also the
page and its folder. About three quarters of an hour on two cores. Broken off, it goes on where it was: a run that is in
OUT/runs is not repeated, so remove OUT when the program has changed.

Needs nothing else but Python and build/bin/shira (or $SHIRA_BIN).
"""

import argparse
import dataclasses
import datetime
import functools
import pathlib
import sys

import experiment
import plot_quality
from experiment import ROOT

R = 2  # LoRA's rank; shira_r is the same count, r * (out + in) entries a layer
# As the paper's ratio: 6.25 % of factors decide 1 % of entries.
WM_DORA_RANK = 6 * R
LADDER = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0, 2.0)  # learning rates


DENSE, SPARSE = (5e-3, 1e-2, 2e-2), (2e-2, 5e-2, 1e-1)  # the grids to begin with


@dataclasses.dataclass(frozen=True)
class Method:
    keys: dict
    rates: tuple


def shira_mask(mask):
    return Method({"adapter": "shira", "shira_mask": mask, "shira_r": R}, SPARSE)


def factors(adapter, rank, rates, **keys):
    return Method({"adapter": adapter, "lora_r": rank, "lora_alpha": rank} | keys, rates)


METHODS = {f"SHiRA {mask}": shira_mask(mask) for mask in ("struct", "rand", "wm", "grad", "snip")}
METHODS |= {"LoRA": factors("lora", R, DENSE), "DoRA": factors("dora", R, DENSE)}
METHODS |= {"WM-DoRA": factors("wm_dora", WM_DORA_RANK, (5e-2, 1e-1, 2e-1), shira_r=R)}


@dataclasses.dataclass(frozen=True)
class Plan:
    base_model: pathlib.Path
    out: pathlib.Path
    threads: int
    text: pathlib.Path | None = None
    seeds: tuple = (1, 2, 3)
    rates: tuple = ()  # of all methods, instead of their own grids
    steps: int = 200
    batch: int = 16
    window: int = 128  # tokens, in training and in evaluation
    train_kb: int = 500
    heldout_kb: int = 40

    def tasks(self):
        return ("pirate", self.text.stem if self.text else "robot")


SEARCH_SEED = 0
QUICK = {"seeds": (1,), "rates": (0.02,), "steps": 8, "batch": 4, "window": 64, "train_kb": 20, "heldout_kb": 3}


# ---------------------------------------------------------------------------------------- running


@functools.cache
def data_files(plan, task, seed):
    """(training file, held-out file)"""
    if plan.text and task == plan.text.stem:
        folder = plan.out / "data" / task
        folder.mkdir(parents=True, exist_ok=True)
        return experiment.split_text(plan.text, folder)
    folder = plan.out / "data" / f"seed{seed}"
    sizes = ("--train_kb", plan.train_kb, "--heldout_kb", plan.heldout_kb, "--seed", seed)
    experiment.make_data("make_demo_data.py", folder, "--style", task, *sizes)
    return folder / f"{task}_train.txt", folder / f"{task}_heldout.txt"


def evaluate(plan, held_out, *adapter):
    flags = ("--base_model", plan.base_model, "--base_dtype", "float32", "--text", held_out)
    return experiment.shira(plan.threads, "eval", *flags, *adapter, "--window", plan.window)["nll"]


def run(plan, task, name, seed, rate):
    """(held-out loss, trained parameters) of a run"""
    train, held_out = data_files(plan, task, seed)
    method = METHODS[name].keys
    keys = method | {
        "base_model": str(plan.base_model),
        "base_dtype": "float32",  # what is compared is the method, not the rounding of its weights
        "target_modules": "all-linear",
        "datasets": [{"path": str(train), "type": "text"}],
        "sequence_len": plan.window,
        "micro_batch_size": plan.batch,
        "max_steps": plan.steps,
        "learning_rate": rate,
        "lr_scheduler": "cosine",
        "warmup_steps": plan.steps // 20,
        "logging_steps": plan.steps,
        "seed": seed,
    }
    if method.get("shira_mask") == "rand":
        keys["shira_seed"] = seed
    folder = plan.out / "runs" / f"{task}-{name.replace(' ', '-')}-rate{rate:g}-seed{seed}"
    trained = experiment.train_once(folder, plan.threads, keys)["trained_parameters"]
    loss = evaluate(plan, held_out, "--adapter", folder / "out")
    print(f"{folder.name}: {loss:.4f}", file=sys.stderr, flush=True)
    return loss, trained


def search(plan, task, name):
    """{learning rate: loss} of the first seed, with the best rate between two others where the ladder allows it"""
    losses = {}

    def measure(rate):
        losses[rate], _ = run(plan, task, name, SEARCH_SEED, rate)

    for rate in plan.rates or METHODS[name].rates:
        measure(rate)
    while not plan.rates and (rate := next_rate(losses)):
        measure(rate)
    return dict(sorted(losses.items()))


def next_rate(losses):
    """The rate beyond the end of the grid where the best one is; None where it is inside or the ladder ends."""
    best = LADDER.index(min(losses, key=losses.get))
    beyond = [LADDER[i] for i in (best - 1, best + 1) if 0 <= i < len(LADDER)]
    return next((rate for rate in beyond if rate not in losses), None)


def run_method(plan, task, name):
    losses = search(plan, task, name)
    rate = min(losses, key=losses.get)
    runs = [run(plan, task, name, seed, rate) for seed in plan.seeds]
    return {
        "trained": runs[0][1],
        "search": [{"rate": rate, "loss": loss} for rate, loss in losses.items()],
        "rate": rate,
        "losses": [loss for loss, _ in runs],
    }


def run_task(plan, task):
    base = [evaluate(plan, data_files(plan, task, seed)[1]) for seed in plan.seeds]
    return {"base": base, "methods": {name: run_method(plan, task, name) for name in METHODS}}


def run_all(plan):
    settings = dataclasses.asdict(plan) | {"base_model": plan.base_model.name, "r": R}
    settings |= {"wm_dora_rank": WM_DORA_RANK, "text": plan.text and plan.text.name}
    settings.pop("out")
    return {
        "date": str(datetime.date.today()),
        "machine": experiment.processor(),
        "settings": settings,
        "tasks": {task: run_task(plan, task) for task in plan.tasks()},
    }


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed and rate, few steps: for tests")
    parser.add_argument("--base_model", type=pathlib.Path, default=ROOT / "assets" / "tiny-llama")
    parser.add_argument("--text", type=pathlib.Path, help="a text file instead of the robot stories")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "outputs" / "quality")
    parser.add_argument("--page", type=pathlib.Path, help="the page to fill: docs/results.md")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.text and args.text.stem == "pirate":
        parser.error("--text: a file of another name, please; the first task's is pirate")
    if args.quick and args.page and args.page.resolve() == ROOT / "docs" / "results.md":
        parser.error("--quick: its figures say nothing and must not replace the page's")
    return args


def main():
    args = parse_arguments()
    more = QUICK if args.quick else {}
    plan = Plan(args.base_model, args.out, args.threads, args.text, **more)
    args.out.mkdir(parents=True, exist_ok=True)
    results = run_all(plan)
    plot_quality.write(args.out, results, args.page)
    print((args.out / "table.md").read_text())


if __name__ == "__main__":
    main()
