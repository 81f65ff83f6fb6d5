#!/usr/bin/env python3
"""Runs the benchmarks of switching, inference, gradients, training and time to quality with their peers and writes docs/benchmarks.md: one command for all of it.

usage: run_benchmarks.py [--only switch,model,inference,gradient,train,quality,model_cuda] [--rounds N] [--threads N] [--out docs/benchmarks]
       run_benchmarks.py --quick --out build/benchmarks         small models, seconds: shows that everything runs

Builds build/bin/benchmark_*, runs benchmark_switch and benchmark_weight_gradient (the part `gradient`), and lets
benchmark_switch_model, benchmark_inference and benchmark_train_step take turns with their Python peers, round by round,
so that a busy machine slows all; the part `quality` is benchmark_time_to_quality.py. Results go to
OUT/{switch,model,inference,weight_gradient,train,time_to_quality}.json; then scripts/plot_benchmarks.py makes the
pictures and fills the page OUT.md. Needs .venv with the packages of scripts/requirements-test.txt, 20 GB of free memory,
and a quiet machine for about 80 minutes (two cores), a third of it for training and a third for quality. --only keeps
the other parts' results of an earlier run; model_cuda, the models on a CUDA device, runs where it is asked for alone.
"""

import argparse
import functools
import json
import os
import pathlib
import subprocess
import tempfile
import time
from typing import NamedTuple

import experiment
from experiment import ROOT

BIN = ROOT / "build" / "bin"
PARTS = ("switch", "model", "inference", "gradient", "train", "quality", "model_cuda")


class TrainCase(NamedTuple):
    """One shape that all methods train, each in a process of its own; the processes of a case are there at once.

    PEFT's SHiRA and Super-Tuning are for linear layers only.
    """

    model: str
    dtype: str
    batch: int
    length: int  # tokens of a row; places of a square one
    rank: int  # LoRA's; the sparse methods train r * (in + out) entries a layer
    steps: int  # of a round
    rounds: int
    ours: tuple  # methods of benchmark_train_step; "_checkpointed": with gradient checkpointing
    peer: tuple  # methods of benchmark_peft_train.py


# PEFT's LoRA, which the others are compared with, is in every case. The ranks are 1 % of the targets.
ADAPTERS = ("frozen", "lora", "shira", "supertuning", "dora")
OURS = ("frozen", "shira", "shira_checkpointed")
MAIN = ("frozen", "lora", "shira")  # of cases with steps of half a minute
TRAIN = [
    TrainCase("llama_1024", "float32", 4, 256, 7, 1, 5, (*OURS, "full"), (*ADAPTERS, "full")),
    TrainCase("llama_1024", "bfloat16", 4, 256, 7, 1, 5, OURS, (*ADAPTERS, "full")),
    TrainCase("llama_1024", "float32", 4, 1024, 7, 1, 3, OURS, MAIN),
    TrainCase("llama_1024", "bfloat16", 4, 1024, 7, 1, 3, OURS, ADAPTERS),
    TrainCase("llama_2048", "float32", 4, 256, 13, 1, 3, OURS, ADAPTERS),
    TrainCase("llama_2048", "bfloat16", 4, 256, 13, 1, 3, OURS, ADAPTERS),
    TrainCase("llama_2048", "float32", 4, 1024, 13, 1, 3, ("shira",), MAIN),
    TrainCase("llama_2048", "bfloat16", 4, 1024, 13, 1, 3, ("shira",), MAIN),
    TrainCase("sd15", "float32", 1, 1024, 8, 1, 5, ("frozen", "shira"), MAIN[:2]),
    TrainCase("sd15", "bfloat16", 1, 1024, 8, 1, 5, ("frozen", "shira"), (*MAIN[:2], "dora")),
]
QUICK_TRAIN = [
    TrainCase("llama_tiny", "float32", 2, 16, 2, 2, 2, (*OURS, "full"), (*ADAPTERS, "full")),
    TrainCase("llama_tiny", "bfloat16", 2, 16, 2, 2, 2, ("frozen", "shira"), ("lora",)),
    TrainCase("tiny", "float32", 2, 16, 2, 2, 2, ("shira",), ("lora",)),
]
SLOW = {"peft dora": 3}  # rounds
FULL = {
    "rounds": {"switch": 5, "model": 5, "inference": 7, "gradient": 5, "model_cuda": 5},
    "train": TRAIN,
    "model": [
        ("llama_1b", "bfloat16", "lora_r32,lora_r32_narrow,lora_r64,shira"),
        ("sd15", "float32", "lora_r32,lora_r64"),
        ("sdxl", "bfloat16", "lora_r32,lora_r64"),
    ],
    "model_cuda": [
        ("llama_1b", "bfloat16", "lora_r32,lora_r32_narrow,lora_r64"),
        ("sd15", "float32", "lora_r32,lora_r64"),
        ("sdxl", "bfloat16", "lora_r32,lora_r64"),
    ],
    "inference": ("llama_half", ["--prompt", "512", "--decoded", "24"], ["--dora_decoded", "2"]),
}
QUICK = {
    "rounds": {"switch": 2, "model": 2, "inference": 2, "gradient": 2, "model_cuda": 2},
    "train": QUICK_TRAIN,
    "model": [
        ("llama_tiny", "bfloat16", "lora_r4,lora_r4_narrow,shira"),
        ("tiny", "float32", "lora_r4"),
    ],
    "model_cuda": [("llama_tiny", "bfloat16", "lora_r4,lora_r4_narrow")],
    "inference": ("llama_tiny", ["--prompt", "16", "--decoded", "4"], ["--dora_decoded", "2"]),
}


class Follower:
    """A benchmark process that does a round whenever it is told to."""

    def __init__(self, *command):
        self.command = [*map(str, command), "--follow"]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def facts(self):
        """Waits until the process is ready."""
        return self._answer()["facts"]

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            self._fail()

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else self._fail()

    def _fail(self):
        self.log.seek(0)
        raise SystemExit(f"{self.log.read()[-2000:]}\nfailed: {' '.join(self.command)}")


def take_turns(followers, rounds):
    """{name: {method: {what: [a number for each round]}}} of {name: follower}; which goes first changes from round to round.

    A round's number that is no method's is kept as it is: {"changed_tensors": [a number for each round]}.
    """
    results = {name: {} for name in followers}
    names = list(followers)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if number < SLOW.get(name, rounds):
                add_round(results[name], followers[name].round())
        print(f"  round {number + 1} of {rounds}", flush=True)
    for follower in followers.values():
        follower.close()
    return results


def add_round(results, round_):
    for method, values in round_.items():
        if not isinstance(values, dict):
            results.setdefault(method, []).append(values)
            continue
        into = results.setdefault(method, {})
        for what, value in values.items():
            into.setdefault(what, []).append(float(f"{value:.4g}"))


def compare(ours, peer, rounds):
    result = {"facts": ours.facts(), "peer": peer.facts(), "rounds": take_turns({"shira": ours, "peft": peer}, rounds)}
    result["facts"]["load_at_the_end"] = f"{os.getloadavg()[0]:.2f}"
    return result


def program_model(name):
    """As benchmark_switch_model and benchmark_train_step take it."""
    return name if name.startswith("llama") else ROOT / "benchmarks" / "unets" / name


def describe(model, directory):
    path = pathlib.Path(directory) / f"{model}.json"
    command = [BIN / "benchmark_switch_model", "--model", program_model(model), "--describe"]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return path


def run_program(args, scale, rounds, name):
    """A program that has its peers in itself."""
    options = ["--rounds", rounds, "--threads", args.threads, "--json", args.out / f"{name}.json"]
    command = [BIN / f"benchmark_{name}", *options, *(["--quick"] if args.quick else [])]
    subprocess.run(list(map(str, command)), check=True)


def run_model(args, scale, rounds, part="model"):
    device = "cuda" if part == "model_cuda" else "cpu"
    results = []
    for model, dtype, methods in scale[part]:
        print(f"{model} {dtype}", flush=True)
        with tempfile.TemporaryDirectory() as work:
            options = ["--dtype", dtype, "--device", device, "--threads", args.threads]
            script = ROOT / "scripts" / "benchmark_peft_switch.py"
            shapes = describe(model, work)
            peer = Follower(args.python, script, "--shapes", shapes, "--methods", methods, *options)
            program = BIN / "benchmark_switch_model"
            ours = Follower(program, "--model", program_model(model), "--work", f"{work}/adapters", *options)
            results.append(compare(ours, peer, rounds))
    write_json(args.out / f"{part}.json", results)


def run_inference(args, scale, rounds):
    model, options, peer_options = scale["inference"]
    options = [*options, "--threads", args.threads]
    with tempfile.TemporaryDirectory() as work:
        script = ROOT / "scripts" / "benchmark_peft_inference.py"
        peer = Follower(args.python, script, "--shapes", describe(model, work), *options, *peer_options)
        ours = Follower(BIN / "benchmark_inference", "--model", model, *options)
        result = compare(ours, peer, rounds)
    write_json(args.out / "inference.json", result)


def train_followers(args, case, work):
    """Starts the methods' processes, named "peft lora", with their facts. One at a time: each begins with a step."""
    options = ["--dtype", case.dtype, "--batch", case.batch, "--length", case.length, "--rank", case.rank]
    options += ["--steps", case.steps, "--threads", args.threads]
    script = ROOT / "scripts" / "benchmark_peft_train.py"
    peer = [args.python, script, "--shapes", describe(case.model, work), *options]
    ours = [BIN / "benchmark_train_step", "--model", program_model(case.model), "--base_model", f"{work}/base", *options]
    commands = {f"peft {method}": [*peer, "--method", method] for method in case.peer}
    for method in case.ours:
        checkpointed = ["--gradient_checkpointing"] * method.endswith("_checkpointed")
        commands[f"shira {method}"] = [*ours, "--method", method.removesuffix("_checkpointed"), *checkpointed]
    followers, facts = {}, {}
    for name, command in commands.items():
        # All train the weights of the first.
        save = [] if followers else ["--save_base", f"{work}/base"]
        followers[name] = Follower(*command, *save)
        facts[name] = followers[name].facts()
        print(f"  {name} is ready", flush=True)
    return followers, facts


def run_train_case(args, case, rounds):
    with tempfile.TemporaryDirectory() as work:
        followers, facts = train_followers(args, case, work)
        measured = take_turns(followers, rounds)
    shared = {**facts[f"shira {case.ours[0]}"], "load_at_the_end": f"{os.getloadavg()[0]:.2f}"}
    peer = {package: facts[f"peft {case.peer[0]}"][package] for package in ("peft", "transformers", "torch", "attention")}
    results = {}
    for name in sorted(measured, key=lambda name: name.startswith("peft")):  # ours first
        values, method = measured[name], name.split()[1].removesuffix("_checkpointed")
        values |= values.pop(method)
        results[name] = {what: facts[name][what] for what in ("trained", "first_loss")} | values
    for key in ("trained", "first_loss", "mask"):
        shared.pop(key, None)
    return {"facts": shared, "peer": peer, "methods": results}


def run_train(args, scale, rounds):
    results = []
    for case in scale["train"]:
        print(f"{case.model} {case.dtype}, {case.batch} x {case.length} tokens", flush=True)
        results.append(run_train_case(args, case, rounds or case.rounds))
        write_json(args.out / "train.json", results)


def run_quality(args, scale, rounds):
    script = ROOT / "scripts" / "benchmark_time_to_quality.py"
    options = ["--threads", args.threads, "--out", args.out / "time_to_quality.json"]
    command = [args.python, script, *options, *(["--quick"] if args.quick else [])]
    subprocess.run(list(map(str, command)), check=True)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def build():
    preset = ["cmake", "--preset", "default", "-DSHIRA_BUILD_BENCHMARKS=ON", "--log-level=NOTICE"]
    subprocess.run(preset, cwd=ROOT, check=True)
    programs = ("switch", "switch_model", "inference", "weight_gradient", "train_step")
    targets = [f"benchmark_{program}" for program in programs]
    command = ["cmake", "--build", "--preset", "default", "--target", *targets, "shira_cli"]
    subprocess.run(command, cwd=ROOT, check=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS[:-1])
    parser.add_argument("--rounds", type=int, help="of every part, instead of 2 to 7")
    parser.add_argument("--no_build", action="store_true")
    args = experiment.parse_benchmark(parser, ROOT / "docs" / "benchmarks", "small models; needs --out")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"--only: no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return args


def main():
    args = parse_arguments()
    scale = QUICK if args.quick else FULL
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.no_build:
        build()
    runs = {"model": run_model, "inference": run_inference, "train": run_train, "quality": run_quality}
    runs["switch"] = functools.partial(run_program, name="switch")
    runs["gradient"] = functools.partial(run_program, name="weight_gradient")
    runs["model_cuda"] = functools.partial(run_model, part="model_cuda")
    for part in PARTS:
        if part in args.only:
            start = time.monotonic()
            runs[part](args, scale, args.rounds or scale["rounds"].get(part))
            print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)
    plot = [args.python, ROOT / "scripts" / "plot_benchmarks.py", args.out]
    subprocess.run(plot, check=True)


if __name__ == "__main__":
    main()
