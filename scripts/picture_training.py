"""Trains adapters for the experiments on pictures: SHiRA and LoRA of as many values, each at the best of three learning rates."""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from draw_pictures import SHIRA

RATES = {"shira": [1e-2, 2e-2, 4e-2], "lora": [5e-3, 1e-2, 2e-2]}


def directory(text):
    """An argument that is a directory."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such directory")
    return Path(text)


def new_directory(text):
    """An argument that is a directory or may become one."""
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    return Path(text)


def method_keys(method, r):
    """Configuration keys of an adapter with as many values as LoRA of rank r."""
    if method == "lora":
        return {"adapter": "lora", "lora_r": r, "lora_alpha": r, "shira_mask": "", "shira_r": ""}
    return {"adapter": "shira", "shira_mask": "wm", "shira_r": r}


def train(config, keys):
    """What `shira train --json` says of the run."""
    flags = [flag for key, value in keys.items() for flag in ("--set", f"{key}={value}")]
    run = subprocess.run(list(map(str, [SHIRA, "train", config, *flags, "--json"])), capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"shira train {config} {' '.join(flags)}:\n{run.stderr}")
    return json.loads(run.stdout) | {"learning_rate": keys["learning_rate"], "directory": str(keys["output_dir"])}


def train_at_best_rate(config, method, r, out, keys):
    """The run with the lowest held-out loss, of one in out-RATE for each of the method's rates; they run beside each other."""
    runs = [
        keys | method_keys(method, r) | {"learning_rate": rate, "num_threads": 1, "output_dir": f"{out}-{rate:g}"}
        for rate in RATES[method]
    ]
    with ThreadPoolExecutor(len(runs)) as pool:
        summaries = list(pool.map(lambda keys: train(config, keys), runs))
    for summary in summaries:
        before, after = summary["first_eval_loss"], summary["eval_loss"]
        print(f"{summary['directory']}: {before:.4f} -> {after:.4f}", file=sys.stderr)
    return min(summaries, key=lambda summary: summary["eval_loss"])
