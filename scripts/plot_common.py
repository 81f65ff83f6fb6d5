"""What the parts of plot_benchmarks.py share: numbers as text, axes, and pictures in files."""

from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def ms(value):
    """Milliseconds with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def with_spread(values):
    return f"{ms(median(values))} ({ms(min(values))}..{ms(max(values))})"


def times(ratio):
    return f"{ratio:.0f}x" if ratio >= 20 else f"{ratio:.2g}x"


def percent(ratio):
    return f"{100 * (ratio - 1):+.1f} %"


def machine_line(facts):
    text = f"{facts['date']}, {facts['processor']}, {facts['threads']} threads, LibTorch {facts['libtorch']}, load {facts['load']} at the start"
    if "last_level_cache" in facts:
        text += f"; last-level cache {facts['last_level_cache'] >> 20} MiB, {facts['evicted_bytes'] >> 20} MiB written to empty it"
    return text + "."


def set_axes(axes, title, label, ticks, base=2):
    axes.set_xscale("log", base=base)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=11)
    axes.grid(color="#e2e4e8")
    axes.set_axisbelow(True)


def save(figure, path, axes=None):
    if axes is not None:
        handles = {label: handle for a in axes for handle, label in zip(*a.get_legend_handles_labels())}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)
