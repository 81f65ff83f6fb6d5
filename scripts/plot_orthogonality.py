#!/usr/bin/env python3
"""Draws what build/bin/benchmark_orthogonality printed and puts its tables into docs/orthogonality.md.

usage: plot_orthogonality.py RESULTS.json [--page docs/orthogonality.md]

Writes awom.png and awor.png into the page's directory of the same name, with a copy of the results, and replaces what
stands between the page's two "tables" comments. Needs matplotlib (scripts/setup.sh --tests).
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from experiment import ROOT, fill_page

BEGIN, END = "<!-- tables: made by scripts/plot_orthogonality.py -->", "<!-- end of tables -->"
# Okabe and Ito's colours, told apart by the colour-blind too; markers tell the lines apart in grey.
LOOKS = {
    "wm, overlapping": ("#0072b2", "o", "-"),
    "wm, not overlapping": ("#56b4e9", "s", "--"),
    "struct, offset": ("#009e73", "^", "-"),
    "rand": ("#5a5a5a", "x", ":"),
    "dense": ("#d55e00", "D", "-"),
    "sparse-LoRA": ("#cc79a7", "v", "-"),
    "LoRA": ("#e69f00", "P", "--"),
}
QUANTITIES = {
    "awor": "AWOR: share of zeros in A1ᵀA2",
    "awom_spectral": "AWOM, spectral: ‖A1ᵀA2‖₂",
    "awom_frobenius": "AWOM, Frobenius: ‖A1ᵀA2‖F",
    "awom_relative": "relative: ‖A1ᵀA2‖F / (‖A1‖F ‖A2‖F)",
}


def by_kind(results):
    """{kind: [the results of rising dimension]}"""
    kinds = {}
    for result in results:
        kinds.setdefault(result["kind"], []).append(result)
    return kinds


def draw_panel(axes, kinds, quantity, log):
    for kind, results in kinds.items():
        colour, marker, line = LOOKS[kind]
        axes.errorbar(
            [result["dimension"] for result in results],
            [result[quantity]["mean"] for result in results],
            yerr=[result[quantity]["sd"] for result in results],
            color=colour,
            marker=marker,
            linestyle=line,
            label=kind,
            capsize=2,
            markersize=5,
            linewidth=1.4,
        )
    dimensions = sorted({result["dimension"] for results in kinds.values() for result in results})
    axes.set_xscale("log", base=2)
    axes.set_xticks(dimensions, [str(dimension) for dimension in dimensions])
    axes.set_xlabel("dimension of the weight")
    axes.set_title(QUANTITIES[quantity], fontsize=11)
    axes.grid(color="#e2e4e8")
    axes.set_axisbelow(True)
    if log:
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(-0.03, 1.03)


def draw(path, kinds, panels):
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 4.6), layout="constrained")
    for panel, (quantity, log) in zip(axes, panels):
        draw_panel(panel, kinds, quantity, log)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def number(value, digits):
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"


def cell(measured):
    return f"{number(measured['mean'], 3)} ± {number(measured['sd'], 2)}"


def table(kinds, quantity):
    results = next(iter(kinds.values()))
    lines = [
        f"**{QUANTITIES[quantity]}**",
        "",
        "| adapters | " + " | ".join(str(result["dimension"]) for result in results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    for kind, results in kinds.items():
        lines.append(f"| {kind} | " + " | ".join(cell(r[quantity]) for r in results) + " |")
    return "\n".join(lines)


def seeds_table(kinds):
    results = next(iter(kinds.values()))
    lines = [
        "**seeds, and entries that one adapter stores**",
        "",
        "| adapters | " + " | ".join(str(result["dimension"]) for result in results) + " |",
        "|---|" + "---:|" * len(results),
    ]
    for kind, results in kinds.items():
        lines.append(
            f"| {kind} | " + " | ".join(f"{r['seeds']}; {r['entries']:,}" for r in results) + " |"
        )
    return "\n".join(lines)


def replace_tables(page, kinds, measured):
    where = f"Measured on {measured['date']}: {measured['machine']}."
    parts = [where, *(table(kinds, quantity) for quantity in QUANTITIES), seeds_table(kinds)]
    fill_page(page, BEGIN, END, "\n\n".join(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "orthogonality.md")
    args = parser.parse_args()
    measured = json.loads(args.results.read_text())
    kinds = by_kind(measured["results"])
    pictures = args.page.with_suffix("")
    pictures.mkdir(exist_ok=True)
    draw(pictures / "awom.png", kinds, [("awom_spectral", True), ("awom_frobenius", True)])
    draw(pictures / "awor.png", kinds, [("awor", False), ("awom_relative", True)])
    (pictures / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
    replace_tables(args.page, kinds, measured)


if __name__ == "__main__":
    main()
