#!/usr/bin/env python3
"""Tabulates and draws what fusion_experiment.py measured.

usage: plot_fusion.py RESULTS.json [--page docs/fusion.md]

Draws alpha.png beside RESULTS.json. With --page it puts the tables between that page's two "tables" comments, and the
picture with a copy of the results into the page's directory of the same name. Drawing needs matplotlib
(scripts/setup.sh --tests).
"""

import argparse
import json
import pathlib
import shutil

from experiment import fill_page, mean, spread, table

BEGIN, END = "<!-- tables: made by scripts/plot_fusion.py -->", "<!-- end of tables -->"
# Okabe and Ito's colours, told apart by the colour-blind too; markers tell the lines apart in grey.
LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "v"), ("#e69f00", "P"))

# ---------------------------------------------------------------------------------------- numbers


def by_method_and_rate(results):
    """{(method, rate): [one run a seed]}"""
    groups = {}
    for run in results["runs"]:
        groups.setdefault((run["method"], run["rate"]), []).append(run)
    return groups


def full_scale(results):
    """the place of alpha = 1 among the scales"""
    return results["settings"]["alphas"].index(1)


def base_of(results, run):
    return results["base"][results["settings"]["seeds"].index(run["seed"])]


def drop(results, run):
    """Nats a token that fusing costs at alpha = 1, mean of the tasks."""
    one = full_scale(results)
    return mean(run["fused"][one][task] - run["alone"][one][task] for task in run["alone"][one])


def kept(results, run, i):
    """Share of what the adapters gain alone (at alpha = 1) that all of them at the i-th scale have, mean of the tasks."""
    base, alone, fused = base_of(results, run), run["alone"][full_scale(results)], run["fused"][i]
    return mean((base[task] - fused[task]) / (base[task] - alone[task]) for task in base)


def best_scale(runs):
    """the place of the scale at which the fused tasks' mean loss is lowest"""

    def loss(i):
        return mean(mean(run["fused"][i].values()) for run in runs)

    return min(range(len(runs[0]["fused"])), key=loss)


# ----------------------------------------------------------------------------------------- tables


def tasks_table(results):
    tasks, one = list(results["base"][0]), full_scale(results)
    columns = [(task, kind) for task in tasks for kind in ("alone", "fused")]
    base = {task: spread(base[task] for base in results["base"]) for task in tasks}
    rows = [["base", "", *(base[task] if kind == "alone" else "" for task, kind in columns)]]
    for (method, rate), runs in by_method_and_rate(results).items():
        cells = [spread(run[kind][one][task] for run in runs) for task, kind in columns]
        rows.append([method, f"{rate:g}", *cells])
    return table(["method", "rate", *(f"{task}: {kind}" for task, kind in columns)], rows)


def drops_table(results):
    head = ["method", "rate", "trained a task", "alone", "fused", "drop", "gain kept"]
    head += ["best alpha", "fused there", "gain kept there"]
    one, rows = full_scale(results), []
    for (method, rate), runs in by_method_and_rate(results).items():
        best = best_scale(runs)
        rows.append(
            [
                method,
                f"{rate:g}",
                f"{mean(n for run in runs for n in run['trained'].values()):,.0f}",
                spread(mean(run["alone"][one].values()) for run in runs),
                spread(mean(run["fused"][one].values()) for run in runs),
                spread(drop(results, run) for run in runs),
                spread(kept(results, run, one) for run in runs),
                f"{results['settings']['alphas'][best]:g}",
                spread(mean(run["fused"][best].values()) for run in runs),
                spread(kept(results, run, best) for run in runs),
            ]
        )
    return table(head, rows)


def pairs_table(results):
    head = [
        "method",
        "rate",
        "entries shared",
        "AWOR",
        "AWOM, Frobenius",
        "L2 distance to the base",
    ]
    rows = []
    for (method, rate), runs in by_method_and_rate(results).items():
        pairs = [pair for run in runs for pair in run["pairs"].values()]
        size = mean((pair["distance_base_a"] + pair["distance_base_b"]) / 2 for pair in pairs)
        rows.append(
            [
                method,
                f"{rate:g}",
                f"{100 * mean(pair['shared_of_a'] for pair in pairs):.1f} %",
                f"{mean(pair['awor'] for pair in pairs):.3f}",
                f"{mean(pair['awom_frobenius'] for pair in pairs):.2f}",
                f"{size:.2f}",
            ]
        )
    return table(head, rows)


def tables(results):
    settings = results["settings"]
    seeds = len(settings["seeds"])
    return "\n\n".join(
        [
            f"Measured on {results['date']}: {results['machine']}, {settings['threads']} thread(s); base "
            f"`{settings['base_model']}`, {settings['steps']} steps of {settings['batch']} x {settings['window']} "
            f"tokens, {100 * settings['density']:g} % of every linear layer, {seeds} seed(s). Losses in nats a token "
            "of held-out text, mean ± standard deviation over the seeds.",
            "**Each task** (alpha = 1)",
            tasks_table(results),
            "**What fusing costs** (alpha = 1, and the alpha with the lowest fused loss; mean of the tasks)",
            drops_table(results),
            "**Two adapters of a method side by side** (`shira inspect`, mean of the pairs)",
            pairs_table(results),
        ]
    )


# ---------------------------------------------------------------------------------------- drawing


def draw_losses(axes, alphas, losses, label, **look):
    """One line: the mean over the seeds, in a band from the lowest to the highest; losses: one list an alpha."""
    axes.plot(alphas, [mean(values) for values in losses], label=label, markersize=5, **look)
    low, high = [min(values) for values in losses], [max(values) for values in losses]
    axes.fill_between(alphas, low, high, color=look["color"], alpha=0.15, linewidth=0)


def draw_task(axes, results, rate, task):
    alphas = results["settings"]["alphas"]
    at_rate = {m: runs for (m, r), runs in by_method_and_rate(results).items() if r == rate}
    for (method, runs), (colour, marker) in zip(at_rate.items(), LOOKS, strict=False):
        for kind, line in (("fused", "-"), ("alone", "--")):
            losses = [[run[kind][i][task] for run in runs] for i in range(len(alphas))]
            look = {"color": colour, "marker": marker, "linestyle": line, "linewidth": 1.4}
            draw_losses(axes, alphas, losses, f"{method}, {kind}", **look)
    base = mean(base[task] for base in results["base"])
    axes.axhline(base, color="#5a5a5a", linestyle=":", linewidth=1, label="base")
    axes.set_xticks(alphas, [f"{alpha:g}" for alpha in alphas])
    axes.set_title(f"{task}, rate {rate:g}", fontsize=11)
    axes.grid(color="#e2e4e8")
    axes.set_axisbelow(True)


def draw(path, results):
    # Imported here: the tables need no matplotlib, which the tests' requirements do not have.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks, rates = list(results["base"][0]), results["settings"]["rates"]
    size = {"figsize": (12, 1 + 3.7 * len(rates)), "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(len(rates), len(tasks), sharex=True, sharey="row", **size)
    for row, rate in zip(axes, rates):
        for panel, task in zip(row, tasks):
            draw_task(panel, results, rate, task)
        row[0].set_ylabel("held-out loss, nats a token")
    for panel in axes[-1]:
        panel.set_xlabel("alpha: scale of every adapter")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path, help="a page with the two comments")
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    folder = args.page.with_suffix("") if args.page else args.results.parent
    folder.mkdir(exist_ok=True)
    draw(folder / "alpha.png", results)
    if args.page:
        shutil.copyfile(args.results, folder / "results.json")
        fill_page(args.page, BEGIN, END, tables(results))


if __name__ == "__main__":
    main()
