"""The part of plot_benchmarks.py that shows what benchmark_weight_gradient measured: the gradient of masked entries alone against the dense product."""

from experiment import table
from plot_common import machine_line, ms, plt, save, set_axes

DTYPES = {"Float": "float32", "BFloat16": "bfloat16"}
# How many times faster than the dense product, at least: for rand masks of 1 % of 4096 x 4096, from 512 tokens on.
TARGETS = {"Float": 10, "BFloat16": 5}
DIMENSION, DENSITY, TOKENS = 4096, 0.01, 512
# Told apart by the colour-blind too, and by markers in grey: rand masks by density, then the others.
LOOKS = [("#56b4e9", "s"), ("#0072b2", "o"), ("#009e73", "^"), ("#7b5ea7", "<"), ("#d55e00", "D"), ("#e69f00", "v")]
TICKS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]


def speed_up(result):
    return result["dense_ms"] / result["ms"]


def over_limit(result):
    return result["ms"] / result["limit_ms"]


def mask_name(result):
    return f"{result['mask']}, {100 * result['density']:g} %"


def distinct(results, key):
    """In the order in which they were measured."""
    return list(dict.fromkeys(key(result) for result in results))


def target_rows(measured):
    """[what, against, target, measured, whether it is met] of what the targets are about; none where that was not measured."""
    if measured["machine"]["dimension"] != DIMENSION:
        return
    for dtype, target in TARGETS.items():
        wanted = {"dtype": dtype, "mask": "rand", "density": DENSITY}
        results = [result for result in measured["results"] if wanted.items() <= result.items() and result["tokens"] >= TOKENS]
        if results:
            worst = min(results, key=speed_up)
            what = f"gradient of {100 * DENSITY:g} % of {DIMENSION} x {DIMENSION}, rand, {TOKENS} tokens or more, {DTYPES[dtype]}"
            times = f"{ms(speed_up(worst))}x ({ms(worst['dense_ms'])} / {ms(worst['ms'])} ms at {worst['tokens']} tokens)"
            yield what, "the dense product", f">= {target}x", times, speed_up(worst) >= target


def results_table(results):
    rows = []
    for result in sorted(results, key=lambda result: list(DTYPES).index(result["dtype"])):
        time = f"{ms(result['ms'])} ({ms(result['least'])}..{ms(result['most'])})"
        ratios = f"{speed_up(result):.1f}x", f"{over_limit(result):.2f}x"
        rows.append([DTYPES[result["dtype"]], str(result["tokens"]), mask_name(result), time, ms(result["dense_ms"]), *ratios])
    return table(["", "tokens", "mask", "ms", "dense product, ms", "dense / this", "this / limit"], rows)


def draw_panel(axes, results, ratio, title):
    """A line for each mask over the tokens."""
    masks = distinct(results, mask_name)
    for index, mask in enumerate(masks):
        points = [(result["tokens"], ratio(result)) for result in results if mask_name(result) == mask]
        colour, marker = LOOKS[index % len(LOOKS)]
        line = "-" if mask.startswith("rand") else "--"
        axes.plot(*zip(*points), color=colour, marker=marker, linestyle=line, label=mask, markersize=5, linewidth=1.4)
    set_axes(axes, title, "tokens", distinct(results, lambda result: result["tokens"]))
    axes.axhline(1, color="#5a5a5a", linestyle=":", linewidth=1)


def plain_ticks(axes):
    """Whole numbers instead of powers of ten, as far as the panel's lines go."""
    low, high = axes.get_ylim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def draw(measured, path):
    """A column for each dtype: above, times faster than the dense product; below, the time over the limit."""
    dimension, results = measured["machine"]["dimension"], measured["results"]
    dtypes = distinct(results, lambda result: result["dtype"])
    figure, panels = plt.subplots(2, len(dtypes), figsize=(5.5 * len(dtypes), 8), layout="constrained", sharey="row", squeeze=False)
    labels = {speed_up: "times faster than the dense product", over_limit: "time over the limit"}
    for line, (ratio, label) in zip(panels, labels.items()):
        for axes, dtype in zip(line, dtypes):
            of_dtype = [result for result in results if result["dtype"] == dtype]
            draw_panel(axes, of_dtype, ratio, f"{dimension} x {dimension}, {DTYPES[dtype]}")
        line[0].set_ylabel(label)
        plain_ticks(line[0])
    save(figure, path, panels.flat)


def section(measured, directory):
    """Draws the picture; yields the page's parts."""
    draw(measured, directory / "weight_gradient.png")
    facts = measured["machine"]
    yield (
        f"### The gradient of masked entries\n\n{machine_line(facts)} {facts['rounds']} rounds; a weight of {facts['dimension']} x {facts['dimension']}; "
        f"a copy in memory moves {facts['copy_gigabytes_per_second']:.3g} GB/s.\n\n![speed-up over the dense product]({directory.name}/weight_gradient.png)"
    )
    yield results_table(measured["results"])
