#!/usr/bin/env python3
"""Trains a base with each of the five masks at several budgets and writes a page with what came out.

usage: compare_masks.py --base_model DIR --text FILE --out docs/masks [--steps 200] [--threads 2]

For every mask and budget the last tenth of the text is held out and the rest trained on, at each of the learning rates;
the page DIR.md has the entries really trained and the held-out perplexity at the better rate, and DIR/<mask>.png shows
the mask of one tensor. Needs nothing but Python and build/bin/shira.
"""

import argparse
import pathlib

import experiment
from experiment import ROOT, processor, shira

MASKS = ("struct", "rand", "wm", "grad", "snip")
BUDGETS = (("shira_r", 1), ("shira_r", 2), ("shira_density", 0.01))
RATES = (1e-2, 3e-2)
DRAWN = "model.layers.0.self_attn.q_proj.weight"


def settings(args, work, mask, budget):
    key, value = budget
    return {
        "base_model": str(args.base_model),
        "shira_mask": mask,
        key: value,
        "target_modules": "all-linear",
        "datasets": [{"path": str(work / "train.txt"), "type": "text"}],
        "sequence_len": 128,
        "micro_batch_size": 16,
        "max_steps": args.steps,
        "lr_scheduler": "cosine",
        "warmup_steps": args.steps // 20,
        "num_threads": args.threads,
    }


def write_config(work, name, keys):
    return experiment.write_config(work / f"{name}.yaml", keys | {"output_dir": str(work / name)})


def perplexity(args, work, *adapter):
    flags = ("--text", work / "held_out.txt", "--window", 128)
    return shira(args.threads, "eval", "--base_model", args.base_model, *adapter, *flags)["perplexity"]


def train(args, work, mask, budget):
    """(trained parameters, share of the model, {rate: held-out perplexity})"""
    result, after = None, {}
    for rate in RATES:
        name = f"{mask}-{budget[0]}{budget[1]}-{rate:g}"
        config = write_config(work, name, settings(args, work, mask, budget) | {"learning_rate": rate})
        result = shira(args.threads, "train", config)
        after[rate] = perplexity(args, work, "--adapter", work / name)
        print(f"{name}: {result['trained_parameters']} trained, perplexity {after[rate]:.2f}", flush=True)
    return result["trained_parameters"], result["trained_parameters"] / result["total_parameters"], after


def draw(args, work, mask, picture):
    config = write_config(work, f"drawn-{mask}", settings(args, work, mask, ("shira_r", 1)))
    report = shira(args.threads, "mask", config, "--draw", DRAWN, "--picture", picture)
    return next(tensor for tensor in report["tensors"] if tensor["name"] == DRAWN)


def budget_name(budget):
    return f"`shira_r: {budget[1]}`" if budget[0] == "shira_r" else f"{100 * budget[1]:g} %"


def result_rows(results):
    lines = ["| mask | budget | trained | of the model | " + " | ".join(f"rate {r:g}" for r in RATES) + " |"]
    lines.append("|---|---|---:|---:|" + "---:|" * len(RATES))
    for (mask, budget), (trained, share, after) in results.items():
        best = min(after.values())
        cells = [f"**{after[r]:.2f}**" if after[r] == best else f"{after[r]:.2f}" for r in RATES]
        lines.append(
            f"| {mask} | {budget_name(budget)} | {trained:,} | {100 * share:.2f} % | {' | '.join(cells)} |"
        )
    return lines


def picture_rows(folder, drawn):
    lines = ["| " + " | ".join(drawn) + " |", "|" + "---|" * len(drawn)]
    lines.append("| " + " | ".join(f"![{mask}]({folder}/{mask}.png)" for mask in drawn) + " |")
    facts = [
        f"{t['nnz']} entries, rank {t['structural_rank']}, {t['rows']} rows, {t['columns']} columns"
        for t in drawn.values()
    ]
    lines.append("| " + " | ".join(facts) + " |")
    return lines


def page(args, before, results, drawn):
    command = (
        f"python3 scripts/compare_masks.py --base_model {args.base_model.name} --text {args.text.name} "
        f"--steps {args.steps} --threads {args.threads} --out docs/{args.out.name}"
    )
    lines = [
        "# The five masks on one task",
        "",
        f"`{args.base_model.name}` learns `{args.text.name}`: the last tenth of the text is held out, the rest trained on",
        f"for {args.steps} steps of 16 x 128 tokens (AdamW, cosine schedule, all linear layers), with each mask and budget",
        f"at {len(RATES)} learning rates; one seed. The table has the perplexity of the held-out text in windows of 128 tokens",
        f"(the base: {before:.2f}) and the number of entries really trained. `shira_r: r` is LoRA's count, r * (out + in) a",
        "layer. At 1 % a `struct` mask does not exist here: the diagonal alone is more.",
        "",
        "```sh",
        command,
        "```",
        "",
        *result_rows(results),
        "",
        "The best rate of each row is bold. One seed and two rates: differences of a few tenths are no ranking, and where the higher",
        "rate wins a still higher one might win by more.",
        "",
        f"## What they look like: `{DRAWN}`, `shira_r: 1`",
        "",
        *picture_rows(args.out.name, drawn),
        "",
        "Rank is the structural rank (a maximum matching of rows and columns): the highest rank that a change of these",
        "entries can have. LoRA's at this count is 1.",
        "",
        f"Machine: {processor()}, {args.threads} thread{'s' if args.threads > 1 else ''}.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base_model", type=pathlib.Path, required=True)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="page without its .md")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "outputs" / "masks")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=False)
    args.out.mkdir(parents=True, exist_ok=True)
    experiment.split_text(args.text, args.work)
    before = perplexity(args, args.work)
    results = {
        (mask, budget): train(args, args.work, mask, budget)
        for budget in BUDGETS
        for mask in MASKS
        if not (mask == "struct" and budget[0] == "shira_density")
    }
    drawn = {mask: draw(args, args.work, mask, args.out / f"{mask}.png") for mask in MASKS}
    args.out.with_suffix(".md").write_text(page(args, before, results, drawn))


if __name__ == "__main__":
    main()
