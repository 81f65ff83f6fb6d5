#!/usr/bin/env python3
"""Tabulates and draws what quality_experiment.py measured.

usage: plot_quality.py RESULTS.json [--page docs/results.md]

Writes table.md and quality.png beside RESULTS.json. With --page it puts the tables between that page's two "tables"
comments, and the picture with a copy of the results into the page's folder of the same name. Drawing needs matplotlib
(scripts/setup.sh --tests).
"""

import argparse
import json
import pathlib

import experiment
from experiment import mean, spread, table

BEGIN, END = "<!-- tables: made by scripts/plot_quality.py -->", "<!-- end of tables -->"
PAGE = experiment.ROOT / "docs" / "results.md"
PEER = "LoRA"

# ---------------------------------------------------------------------------------------- numbers


def by_loss(task):
    """[(name, method)], the lowest mean loss first"""
    return sorted(task["methods"].items(), key=lambda item: mean(item[1]["losses"]))


def over_lora(task, name):
    """Nats a token above LoRA's loss, seed by seed."""
    pairs = zip(task["methods"][name]["losses"], task["methods"][PEER]["losses"])
    return [loss - peer for loss, peer in pairs]


def is_at_an_end(method):
    """Whether a better rate may lie outside those that were tried."""
    rates = [point["rate"] for point in method["search"]]
    return method["rate"] in (min(rates), max(rates))


# ----------------------------------------------------------------------------------------- tables


def losses_table(task):
    head = ["method", "trained", "rate", "held-out loss", f"above {PEER}"]
    rows = []
    for name, method in by_loss(task):
        above = "" if name == PEER else spread(over_lora(task, name), "+")
        rate = f"{method['rate']:g}" + (" (an end)" if is_at_an_end(method) else "")
        rows.append([name, f"{method['trained']:,}", rate, spread(method["losses"]), above])
    return table(head, [*rows, ["base", "", "", spread(task["base"]), ""]])


def rates_table(task):
    rates = sorted({point["rate"] for method in task["methods"].values() for point in method["search"]})
    rows = []
    for name, method in by_loss(task):
        losses = {point["rate"]: f"{point['loss']:.3f}" for point in method["search"]}
        losses[method["rate"]] = f"**{losses[method['rate']]}**"
        rows.append([name, *(losses.get(rate, "") for rate in rates)])
    return table(["rate", *(f"{rate:g}" for rate in rates)], rows)


def tables(results):
    settings = results["settings"]
    parts = [
        f"Measured on {results['date']}: {results['machine']}, {settings['threads']} thread(s). Base `{settings['base_model']}` in "
        f"float32, all linear layers, `shira_r` = `lora_r` = {settings['r']} (WM-DoRA: factors of rank {settings['wm_dora_rank']} for the "
        f"entries of `shira_r` {settings['r']}), {settings['steps']} steps of {settings['batch']} x {settings['window']} tokens, "
        f"{len(settings['seeds'])} seed(s). Losses in nats a token of held-out text, mean ± standard deviation over the seeds; "
        f"*above {PEER}* is the mean of the seeds' own differences."
    ]
    for name, task in results["tasks"].items():
        parts += [f"**{name}**", losses_table(task), "Choice of the learning rate, with a seed of its own:", rates_table(task)]
    return "\n\n".join(parts)


# ---------------------------------------------------------------------------------------- drawing


def colour_of(name):
    return "#0072b2" if name.startswith("SHiRA") else "#d55e00" if name == PEER else "#009e73"


def draw_losses(axes, title, task):
    """The mean with its standard deviation, and each seed."""
    names = [name for name, _ in by_loss(task)]
    for place, name in enumerate(names):
        losses, colour = task["methods"][name]["losses"], colour_of(name)
        deviation = experiment.statistics.stdev(losses) if len(losses) > 1 else 0
        axes.errorbar(mean(losses), place, xerr=deviation, fmt="o", color=colour, capsize=4, markersize=7)
        axes.plot(losses, [place] * len(losses), "|", color=colour, markersize=10, alpha=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(f"{title}: at the best rate", fontsize=11)
    axes.set_xlabel("held-out loss, nats a token")
    axes.grid(axis="x", color="#e2e4e8")
    axes.set_axisbelow(True)


def draw_rates(axes, title, task):
    markers = iter("osvDPX^*<>")
    for name, method in task["methods"].items():
        points = [(point["rate"], point["loss"]) for point in method["search"]]
        line = "-" if name.startswith("SHiRA") else "--"
        axes.plot(*zip(*points), line, marker=next(markers), markersize=5, linewidth=1.4, label=name)
    best = min(mean(method["losses"]) for method in task["methods"].values())
    axes.set_ylim(top=best + 0.3 * (mean(task["base"]) - best))  # what is above has not learned
    axes.set_xscale("log")
    axes.set_title(f"{title}: choice of the rate", fontsize=11)
    axes.set_xlabel("learning rate")
    axes.grid(color="#e2e4e8")
    axes.set_axisbelow(True)


def draw(path, results):
    # Imported here: the tables need no matplotlib.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = results["tasks"]
    size = {"figsize": (12, 0.7 + 4 * len(tasks)), "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(len(tasks), 2, **size)
    for (left, right), (name, task) in zip(axes, tasks.items()):
        draw_losses(left, name, task)
        draw_rates(right, name, task)
    figure.legend(*axes[0][1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def write(out, results, page=None):
    text = tables(results)
    (out / "table.md").write_text(text + "\n")
    folders = [out]
    if page:
        folders.append(page.with_suffix(""))
        folders[-1].mkdir(exist_ok=True)
        experiment.fill_page(page, BEGIN, END, text, PAGE)
    for folder in folders:
        (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        try:
            draw(folder / "quality.png", results)
        except ModuleNotFoundError as missing:
            print(f"no {folder}/quality.png: {missing}. After scripts/setup.sh --tests, scripts/plot_quality.py draws it.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path, help="a page with the two comments")
    args = parser.parse_args()
    write(args.results.parent, json.loads(args.results.read_text()), args.page)


if __name__ == "__main__":
    main()
