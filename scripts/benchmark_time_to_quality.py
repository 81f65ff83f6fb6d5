#!/usr/bin/env python3
"""How long does training take to the held-out loss that PEFT's LoRA reaches at its best? Both sides, in turn.

usage: benchmark_time_to_quality.py [--only shakespeare,alpaca] [--threads N] [--out docs/benchmarks/time_to_quality.json]
       benchmark_time_to_quality.py --quick --out build/time_to_quality.json

Two cases: a text in windows of one length (tinyshakespeare over stories260K), and Alpaca records of uneven length over the
embedded base, which `shira train` packs and the peer pads. They are looked for under --data (default ../shared/data or
$SHIRA_SHARED/data: llama/stories260K-hf, text/tinyshakespeare.txt, instruct/alpaca_en_demo.json); what is missing is
replaced by the embedded base, our own stories, and records made of them.

The peer is benchmark_peft_quality.py at three learning rates; the target is the lowest held-out loss of all its
evaluations, its time the seconds of training until then. Ours is SHiRA with as many entries at three rates; its time is
that of the first evaluation at or below the target, with the calibration of its mask (chosen for each case after a
look at shorter runs). Where no rate gets there, the best one also runs with twice the entries. Every run is a process of
its own; theirs and ours take turns. About half an hour on two cores. run_benchmarks.py runs this as its part `quality`.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple

import experiment
from experiment import ROOT

SEED = 1


class Case(NamedTuple):
    name: str
    base_model: pathlib.Path
    data: pathlib.Path
    type: str
    length: int  # tokens of a sample at most
    batch: int  # samples of a step
    held_out: int  # samples
    steps: int
    eval_steps: int
    rank: int  # LoRA's, and shira_r
    mask: str  # shira_mask
    peer_rates: tuple
    our_rates: tuple


QUICK = {"batch": 4, "held_out": 8, "steps": 6, "eval_steps": 3, "peer_rates": (5e-3,), "our_rates": (3e-2,)}


# --- Material -------------------------------------------------------------------------------------


def story_records(stories):
    """Alpaca records of uneven length: a story's first sentence is given, some of the following are the answer."""
    for i, story in enumerate(stories):
        first, *others = re.split(r"(?<=[.!?]) ", story)
        output = " ".join(others[: 2 + i % 9])
        yield {"instruction": "Go on with this story.", "input": first, "output": output}


def make_stories(folder, kilobytes):
    """(text file, file of Alpaca records) of our own stories"""
    experiment.make_data("make_demo_data.py", folder, "--style", "pirate", "--train_kb", kilobytes)
    text, records = folder / "pirate_train.txt", folder / "pirate_records.json"
    records.write_text(json.dumps([*story_records(text.read_text().split("\n\n"))]))
    return text, records


def all_cases(args, folder):
    tiny, stories = ROOT / "assets" / "tiny-llama", args.data / "llama" / "stories260K-hf"
    text, alpaca = args.data / "text" / "tinyshakespeare.txt", args.data / "instruct" / "alpaca_en_demo.json"
    own_text, own_records = make_stories(folder, 20 if args.quick else 500)
    is_real = stories.exists() and text.exists() and not args.quick
    shakespeare = (stories, text) if is_real else (tiny, own_text)
    records = alpaca if alpaca.exists() and not args.quick else own_records
    cases = [
        Case("shakespeare", *shakespeare, "text", 128, 16, 200, 1000, 20, 2, "snip", (1e-2, 2e-2, 5e-2), (1e-2, 2e-2, 5e-2)),
        Case("alpaca", tiny, records, "alpaca", 512, 6, 100, 500, 20, 4, "wm", (5e-3, 1e-2, 2e-2), (1e-2, 2e-2, 5e-2)),
    ]
    return [case._replace(length=case.length // 2, **QUICK) if args.quick else case for case in cases if case.name in args.only]


# --- Ours -----------------------------------------------------------------------------------------


def our_keys(args, case, rank, rate):
    return {
        "base_model": str(case.base_model),
        "base_dtype": "float32",
        "adapter": "shira",
        "shira_mask": case.mask,
        "shira_r": rank,
        "target_modules": "all-linear",
        "datasets": [{"path": str(case.data), "type": case.type}],
        "sequence_len": case.length,
        "val_set_size": case.held_out,
        "micro_batch_size": case.batch,
        "max_steps": case.steps,
        "eval_steps": case.eval_steps,
        "logging_steps": case.steps,
        "learning_rate": rate,
        "lr_scheduler": "linear",
        "warmup_steps": case.steps // 20,
        "seed": SEED,
        "num_threads": args.threads,
    }


def count_ours(args, case, folder):
    """[samples, tokens, targets] that ours trains on, from a first batch that holds all"""
    keys = our_keys(args, case, case.rank, 1e-2) | {"micro_batch_size": 1_000_000, "output_dir": str(folder / "dry")}
    run = experiment.shira(args.threads, "train", experiment.write_config(folder / "dry.yaml", keys), "--dry_run")
    batch = run["batch"]
    return [len(batch), sum(sample["tokens"] for sample in batch), sum(sample["trained_tokens"] for sample in batch)]


def packing(case, samples, tokens):
    """The keys with which a packed step has about as many samples as the peer's batch."""
    if case.type == "text":
        return {}  # windows of one length leave no padding
    rows = max(1, round(case.batch * tokens / samples / case.length))
    return {"sample_packing": True, "micro_batch_size": rows}


def follow(command, environment, metrics):
    """Runs a training. (its answer, seconds until its first evaluation begins, of which it calibrated a mask)"""
    start, calibrates, log = time.time(), [], []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*map(str, command)], env=environment, **pipes)

    def read():
        for line in process.stderr:
            log.append(line)
            if "calibrating" in line:
                calibrates.append(time.time())

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None and not metrics.exists():  # which is made when everything else is
        time.sleep(0.002)
    ready = time.time()
    reader.join()
    if process.wait() != 0:
        raise SystemExit(f"{''.join(log)[-2000:]}\nfailed: {command}")
    return json.load(process.stdout), ready - start, ready - calibrates[0] if calibrates else 0.0


def run_ours(args, case, folder, packed, rank, rate):
    out = folder / f"{case.name}-r{rank}-{rate:g}"
    keys = our_keys(args, case, rank, rate) | packed | {"output_dir": str(out)}
    config = experiment.write_config(folder / f"{out.name}.yaml", keys)
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    command = [experiment.shira_program(), "train", config, "--json"]
    answer, setup, calibration = follow(command, environment, out / "metrics.jsonl")
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    curve = [[record["step"], record["train_seconds"], record["eval_loss"]] for record in records if "eval_loss" in record]
    return run_record("shira", rank, rate, answer["trained_parameters"], setup, calibration, curve)


# --- The peer's, and both in turn -----------------------------------------------------------------


def run_peer(args, case, rate):
    """(the run, the peer's facts)"""
    script = ROOT / "scripts" / "benchmark_peft_quality.py"
    flags = {"base_model": case.base_model, "data": case.data, "type": case.type, "length": case.length}
    flags |= {"held_out": case.held_out, "seed": SEED, "batch": case.batch, "steps": case.steps}
    flags |= {"eval_steps": case.eval_steps, "rate": rate, "rank": case.rank, "threads": args.threads}
    command = [args.python, script, *(part for key, value in flags.items() for part in (f"--{key}", value))]
    start = time.time()
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    result = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{result.stderr[-2000:]}\nfailed: {command}")
    facts = json.loads(result.stdout)
    return run_record("peft", case.rank, rate, facts["trained"], facts["begin"] - start, 0.0, facts["curve"]), facts


def run_record(engine, rank, rate, trained, setup, calibration, curve):
    lowest = min(loss for _, _, loss in curve)
    print(f"  {engine}, rate {rate:g}: {lowest:.4f} after {curve[-1][1]:.0f} s", flush=True)
    times = {"setup": round(setup, 3), "calibration": round(calibration, 3)}
    return {"engine": engine, "rank": rank, "rate": rate, "trained": trained} | times | {"curve": curve}


def check_same(ours, counts, peer, facts):
    """Both sides have the same samples: as many of the same size, and the base's held-out loss is the same."""
    if counts != facts["training"]:
        raise SystemExit(f"the peer trains on {facts['training']} samples, tokens and targets, ours on {counts}")
    first, other = ours["curve"][0][2], peer["curve"][0][2]
    if abs(first - other) > 1e-4 * other:
        raise SystemExit(f"the base's held-out loss is {other} at the peer's and {first} here: not the same samples")


def run_case(args, case, folder):
    counts = count_ours(args, case, folder)
    packed = packing(case, *counts[:2])
    runs = []
    for peer_rate, our_rate in zip(case.peer_rates, case.our_rates, strict=True):
        peer, facts = run_peer(args, case, peer_rate)
        ours = run_ours(args, case, folder, packed, case.rank, our_rate)
        check_same(ours, counts, peer, facts)
        runs += [peer, ours]
    best = best_of_ours(runs, case.rank)
    if reach(best, target_of(runs)) is None:
        runs.append(run_ours(args, case, folder, packed, 2 * case.rank, best["rate"]))
    shown = ("name", "type", "length", "batch", "steps", "eval_steps", "rank", "mask")
    return {
        "facts": {key: getattr(case, key) for key in shown}
        | {"base_model": case.base_model.name, "data": case.data.name, "threads": args.threads}
        | {"packed_rows": packed.get("micro_batch_size"), "training": counts, "held_out": facts["held_out"]}
        | {"date": str(datetime.date.today()), "processor": experiment.processor()}
        | {"load_at_the_end": f"{os.getloadavg()[0]:.2f}"},
        "peer": {package: facts[package] for package in ("peft", "transformers", "torch")},
        "runs": runs,
    }


# --- What came out --------------------------------------------------------------------------------


def lowest_loss(run):
    return min(loss for _, _, loss in run["curve"])


def target_of(runs):
    return min(lowest_loss(run) for run in runs if run["engine"] == "peft")


def reach(run, target):
    """(step, seconds from the first batch, seconds from the process's start) of the first evaluation at or below the target"""
    for step, seconds, loss in run["curve"]:
        if loss <= target:
            return step, run["calibration"] + seconds, run["setup"] + seconds
    return None


def best_of_peer(runs):
    return min((run for run in runs if run["engine"] == "peft"), key=lowest_loss)


def best_of_ours(runs, rank):
    """The run of ours with this count that gets to the target first, else the one with the lowest loss; None without one."""
    target = target_of(runs)
    ours = [run for run in runs if run["engine"] == "shira" and run["rank"] == rank]
    there = [run for run in ours if reach(run, target)]
    if there:
        return min(there, key=lambda run: reach(run, target)[1])
    return min(ours, key=lowest_loss, default=None)


def outcome(case):
    """One sentence a count of entries."""
    runs, rank = case["runs"], case["facts"]["rank"]
    target, peer = target_of(runs), best_of_peer(runs)
    _, seconds, from_start = reach(peer, target)
    yield f"PEFT's LoRA (rate {peer['rate']:g}) reaches {target:.4f} in {seconds:.1f} s, {from_start:.1f} s from the process's start."
    for count, label in ((rank, "with as many entries"), (2 * rank, "with TWICE the entries")):
        ours = best_of_ours(runs, count)
        if ours is None:
            continue
        found = reach(ours, target)
        if found:
            _, s, start = found
            yield f"SHiRA {label} (rate {ours['rate']:g}) is there in {s:.1f} s ({s / seconds:.2f}x), {start:.1f} s ({start / from_start:.2f}x) from the start."
        else:
            yield f"SHiRA {label} does NOT get there: its lowest loss is {lowest_loss(ours):.4f} (rate {ours['rate']:g})."


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shared = pathlib.Path(os.environ.get("SHIRA_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--only", type=lambda text: text.split(","), default=["shakespeare", "alpaca"])
    parser.add_argument("--data", type=pathlib.Path, default=shared / "data", help="folder of the real data")
    out = ROOT / "docs" / "benchmarks" / "time_to_quality.json"
    return experiment.parse_benchmark(parser, out, "a few steps on our own stories; needs --out")


def main():
    args = parse_arguments()
    results = []
    with tempfile.TemporaryDirectory() as work:
        for case in all_cases(args, pathlib.Path(work)):
            print(f"{case.name}: {case.data.name} over {case.base_model.name}", flush=True)
            results.append(run_case(args, case, pathlib.Path(work)))
            print(*outcome(results[-1]), sep="\n", flush=True)
            args.out.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
