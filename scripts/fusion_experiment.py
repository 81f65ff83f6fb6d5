#!/usr/bin/env python3
"""Trains three adapters for three tasks with several methods and measures what is left of each when all are applied.

usage: fusion_experiment.py [--quick] [--out outputs/fusion] [--base_model assets/tiny-llama]

The tasks: stories told by a pirate, stories about robots (make_demo_data.py), questions about what was just told
(make_quiz_data.py). For every method, learning rate and seed: one adapter a task; the held-out loss of each task with
its own adapter alone and with all three fused, at each scale alpha. A seed stands for the texts and for the order of
the samples. Writes into OUT results.json, table.md and, where matplotlib is there (setup.sh --tests), alpha.png;
the training runs stay beside them. --quick is for tests: one seed, few steps, a minute.

Needs nothing else but Python and build/bin/shira (or $SHIRA_BIN).
"""

import argparse
import dataclasses
import datetime
import functools
import itertools
import json
import pathlib
import sys

import experiment
import plot_fusion
from experiment import ROOT

TASKS = ("pirate", "robot", "quiz")
DENSITY = 0.02  # of every linear layer; below it the diagonal alone would use up a struct mask
# Between two tasks' rows; the struct mask's rows lie at least 53 apart here, so 3 x 17 rows never meet.
ROW_SHIFT = 17

# name: the configuration keys that make the i-th task's adapter. Any method that `shira train` knows fits in.
METHODS = {
    "wm, same entries": lambda i: shira_keys("wm", shira_wm_band=0),
    "wm, bands": lambda i: shira_keys("wm", shira_wm_band=i),
    "struct, shifted rows": lambda i: shira_keys("struct", shira_struct_offset=ROW_SHIFT * i),
}


def shira_keys(mask, **keys):
    return {"adapter": "shira", "shira_mask": mask, "shira_density": DENSITY} | keys


@dataclasses.dataclass(frozen=True)
class Plan:
    base_model: pathlib.Path
    out: pathlib.Path
    threads: int
    seeds: tuple = (0, 1, 2)
    rates: tuple = (0.01, 0.05)
    alphas: tuple = (0, 0.25, 0.5, 0.75, 1, 1.25)
    steps: int = 60
    batch: int = 8
    window: int = 256  # tokens, in training and in evaluation
    train_kb: int = 200
    heldout_kb: int = 20


QUICK = {
    "seeds": (0,),
    "rates": (0.05,),
    "alphas": (0, 0.5, 1),
    "steps": 12,
    "window": 128,
    "train_kb": 40,
    "heldout_kb": 5,
}


# ---------------------------------------------------------------------------------------- running


def shira(plan, *args):
    return experiment.shira(plan.threads, *args)


def data_file(plan, seed, task, split):
    return plan.out / "data" / str(seed) / f"{task}_{split}.txt"


def make_data(plan, seed):
    folder = data_file(plan, seed, "any", "train").parent
    sizes = ("--train_kb", plan.train_kb, "--heldout_kb", plan.heldout_kb, "--seed", seed)
    for script in ("make_demo_data.py", "make_quiz_data.py"):
        experiment.make_data(script, folder, *sizes)


@functools.cache
def train(plan, seed, rate, task, method_keys):
    """(directory, trained parameters) of an adapter; two methods with the same keys share it."""
    values = "-".join(str(value) for _, value in method_keys)
    name = f"{task}-{values}-rate{rate:g}-seed{seed}"
    keys = dict(method_keys) | {
        "base_model": str(plan.base_model),
        "target_modules": "all-linear",
        "datasets": [{"path": str(data_file(plan, seed, task, "train")), "type": "text"}],
        "sequence_len": plan.window,
        "micro_batch_size": plan.batch,
        "max_steps": plan.steps,
        "learning_rate": rate,
        "lr_scheduler": "cosine",
        "warmup_steps": plan.steps // 20,
        "seed": seed,
        "num_threads": plan.threads,
        "output_dir": str(plan.out / "adapters" / name),
    }
    config = plan.out / "configs" / f"{name}.yaml"
    config.parent.mkdir(exist_ok=True)
    experiment.write_config(config, keys)
    print(f"training {name}", file=sys.stderr, flush=True)
    return keys["output_dir"], shira(plan, "train", config)["trained_parameters"]


@functools.cache
def held_out_loss(plan, seed, task, adapters=()):
    """Nats a token of a task's held-out text, with `adapters` ("DIR@scale") applied together."""
    flags = itertools.chain.from_iterable(("--adapter", adapter) for adapter in adapters)
    text = data_file(plan, seed, task, "heldout")
    base = ("--base_model", plan.base_model)
    return shira(plan, "eval", *base, *flags, "--text", text, "--window", plan.window)["nll"]


# -------------------------------------------------------------------------------------- measuring


def interference(plan, directories):
    """What `shira inspect A B` says of each pair of tasks."""
    pairs = {}
    for (first, a), (second, b) in itertools.combinations(directories.items(), 2):
        total = shira(plan, "inspect", a, b, "--base_model", plan.base_model)["total"]
        shown = ("shared_of_a", "awor", "awom_frobenius", "distance_base_a", "distance_base_b")
        pairs[f"{first}, {second}"] = {key: total[key] for key in shown}
    return pairs


def losses(plan, seed, alpha, directories):
    """({task: loss with its own adapter}, {task: loss with all of them}) at the scale alpha"""
    scaled = {task: f"{directory}@{alpha:g}" for task, directory in directories.items()}
    everything = tuple(scaled.values())
    alone = {task: held_out_loss(plan, seed, task, (scaled[task],)) for task in TASKS}
    return alone, {task: held_out_loss(plan, seed, task, everything) for task in TASKS}


def run_method(plan, seed, rate, method):
    directories, trained = {}, {}
    for i, task in enumerate(TASKS):
        keys = tuple(METHODS[method](i).items())
        directories[task], trained[task] = train(plan, seed, rate, task, keys)
    by_alpha = [losses(plan, seed, alpha, directories) for alpha in plan.alphas]
    return {
        "method": method,
        "rate": rate,
        "seed": seed,
        "trained": trained,
        "alone": [alone for alone, _ in by_alpha],
        "fused": [fused for _, fused in by_alpha],
        "pairs": interference(plan, directories),
    }


def run(plan):
    for seed in plan.seeds:
        make_data(plan, seed)
    settings = dataclasses.asdict(plan) | {"base_model": plan.base_model.name, "density": DENSITY}
    settings.pop("out")
    return {
        "date": str(datetime.date.today()),
        "machine": experiment.processor(),
        "settings": settings,
        "base": [{task: held_out_loss(plan, s, task) for task in TASKS} for s in plan.seeds],
        "runs": [
            run_method(plan, seed, rate, method)
            for seed in plan.seeds
            for rate in plan.rates
            for method in METHODS
        ],
    }


def write(out, results):
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "table.md").write_text(plot_fusion.tables(results) + "\n")
    try:
        plot_fusion.draw(out / "alpha.png", results)
    except ModuleNotFoundError as missing:
        print(
            f"no alpha.png: {missing}. After scripts/setup.sh --tests, .venv/bin/python", end=" "
        )
        print(f"scripts/plot_fusion.py {out}/results.json draws it.")
    print((out / "table.md").read_text())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: for tests")
    parser.add_argument("--base_model", type=pathlib.Path, default=ROOT / "assets" / "tiny-llama")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "outputs" / "fusion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rates", type=experiment.numbers, help="learning rates, as 0.01,0.05")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True)
    except FileExistsError:
        parser.error(f"{args.out} is there already: remove it, or name another folder with --out")
    plan = Plan(args.base_model, args.out, args.threads, **(QUICK if args.quick else {}))
    if args.rates:
        plan = dataclasses.replace(plan, rates=args.rates)
    write(args.out, run(plan))


if __name__ == "__main__":
    main()
