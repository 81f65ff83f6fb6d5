"""The part of plot_benchmarks.py that shows what benchmark_time_to_quality.py measured: held-out loss over seconds."""

from benchmark_time_to_quality import best_of_ours, best_of_peer, lowest_loss, outcome, reach, target_of
from experiment import table

TARGET = 0.5  # of the peer's time
PEER = "PEFT's LoRA with transformers' Trainer"


def case_name(case):
    facts = case["facts"]
    packed = ", ours packed" if facts["packed_rows"] else ""
    return f"{facts['data']} over {facts['base_model']}{packed}"


def target_rows(cases):
    """[what, against, target, measured, whether it is met]"""
    for case in cases:
        target = target_of(case["runs"])
        _, peer, _ = reach(best_of_peer(case["runs"]), target)
        ours = best_of_ours(case["runs"], case["facts"]["rank"])
        found = reach(ours, target)
        ratio = found[1] / peer if found else None
        missed = f"not reached: {lowest_loss(ours):.3f}, the target is {target:.3f}"
        measured = f"{ratio:.2f}x ({found[1]:.1f} / {peer:.1f} s)" if found else missed
        what = f"time from the first batch to LoRA's best held-out loss, as many entries, {case_name(case)}"
        yield what, PEER, f"<= {TARGET}x", measured, ratio is not None and ratio <= TARGET


def method_name(case, run):
    if run["engine"] == "peft":
        return f"PEFT: LoRA, r {run['rank']}"
    return f"SHiRA {case['facts']['mask']}, shira_r {run['rank']}"


def runs_table(case):
    target = target_of(case["runs"])
    head = ["", "trained", "rate", "lowest held-out loss", "target reached at step", "seconds from the first batch"]
    head += ["seconds from the process's start", "seconds a step"]
    rows = []
    for run in sorted(case["runs"], key=lambda run: (run["engine"], run["rank"], run["rate"])):
        found = reach(run, target)
        cells = [f"{found[0]}", f"{found[1]:.1f}", f"{found[2]:.1f}"] if found else ["no", "", ""]
        steps, seconds, _ = run["curve"][-1]
        cells = [f"{run['trained']:,}", f"{run['rate']:g}", f"{lowest_loss(run):.4f}", *cells, f"{seconds / steps:.3f}"]
        rows.append([method_name(case, run), *cells])
    return table(head, rows)


def describe(case):
    facts, target = case["facts"], target_of(case["runs"])
    samples, tokens, targets = facts["training"]
    batch = f"{facts['batch']} samples a step"
    if facts["packed_rows"]:
        batch += f" at the peer's (padded, grouped by length), {facts['packed_rows']} packed rows of {facts['length']} at ours"
    return (
        f"**{case_name(case)}**: {samples:,} samples of {tokens:,} tokens, {targets:,} of them targets, {facts['held_out'][0]} samples held out; "
        f"{batch}; {facts['steps']} steps, evaluated every {facts['eval_steps']}. Target: {target:.4f}. {' '.join(outcome(case))}"
    )


def counts(case):
    """shira_r of our runs: the peer's rank, and twice that where it was tried."""
    return sorted({run["rank"] for run in case["runs"] if run["engine"] == "shira"})


def draw_case(axes, case):
    target = target_of(case["runs"])
    best = [best_of_peer(case["runs"])] + [best_of_ours(case["runs"], count) for count in counts(case)]
    for run in case["runs"]:
        colour = "#d55e00" if run["engine"] == "peft" else "#0072b2" if run["rank"] == case["facts"]["rank"] else "#009e73"
        is_best = run in best
        look = {"color": colour, "linewidth": 2 if is_best else 1, "alpha": 1 if is_best else 0.35}
        label = f"{method_name(case, run)}, rate {run['rate']:g}" if is_best else None
        seconds = [run["calibration"] + seconds for _, seconds, _ in run["curve"]]
        axes.plot(seconds, [loss for _, _, loss in run["curve"]], label=label, **look)
        if is_best and (found := reach(run, target)):
            axes.plot(found[1], target, "o", color=colour)
    base = case["runs"][0]["curve"][0][2]
    axes.axhline(target, color="#5a5a5a", linestyle=":", linewidth=1)
    axes.set_ylim(target - 0.1 * (base - target), target + 0.6 * (base - target))
    axes.set_title(case_name(case), fontsize=10)
    axes.set_xlabel("seconds of training, calibration included")
    axes.set_ylabel("held-out loss, nats a token")
    axes.grid(color="#e2e4e8")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)


def draw(cases, path, plt):
    figure, panels = plt.subplots(1, len(cases), figsize=(5.5 * len(cases) + 1, 4.2), layout="constrained", squeeze=False)
    for axes, case in zip(panels.flat, cases):
        draw_case(axes, case)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def section(cases, directory, plt):
    """Draws the picture; yields the page's parts."""
    draw(cases, directory / "time_to_quality.png", plt)
    facts, peer = cases[0]["facts"], cases[0]["peer"]
    yield (
        f"### Time to quality\n\n{facts['date']}, {facts['processor']}, {facts['threads']} threads, load {facts['load_at_the_end']} at the end. "
        f"PEFT {peer['peft']}, transformers {peer['transformers']}, torch {peer['torch']}.\n\n![loss over seconds]({directory.name}/time_to_quality.png)"
    )
    for case in cases:
        yield f"{describe(case)}\n\n{runs_table(case)}"
