#!/usr/bin/env python3
"""Draws what run_benchmarks.py measured and fills the tables of docs/benchmarks.md.

usage: plot_benchmarks.py docs/benchmarks

Reads DIR/{switch,model,inference,weight_gradient,train,time_to_quality,model_cuda}.json (those that there are), writes PNG pictures beside them,
and replaces what stands between the two "figures" comments of the page DIR.md, which starts as a copy of docs/benchmarks.md. Needs matplotlib
(scripts/setup.sh --tests).
"""

import argparse
import itertools
import json
import pathlib
from statistics import median

import plot_time_to_quality
import plot_weight_gradient
from experiment import ROOT, fill_page
from plot_common import machine_line, ms, percent, plt, save, set_axes, times, with_spread

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: made by scripts/plot_benchmarks.py -->", "<!-- end of figures -->"
# Okabe and Ito's colours, told apart by the colour-blind too; markers tell the lines apart in grey.
LOOKS = {
    "lora_peft": ("LoRA, W += s (B @ A) as PEFT", "#d55e00", "D", "-"),
    "lora_peft_narrow": ("as PEFT, bfloat16 adapter", "#cc79a7", "v", "-"),
    "lora_addmm": ("LoRA, addmm_", "#e69f00", "P", "--"),
    "libtorch_scatter": ("LibTorch's scatter_", "#56b4e9", "s", ":"),
    "scatter": ("SHiRA scatter", "#0072b2", "o", "-"),
    "swap": ("SHiRA swap", "#009e73", "^", "-"),
    "scatter_both": ("SHiRA to another adapter", "#7b5ea7", "<", "-"),
    "floor": ("floor: touch the same lines", "#5a5a5a", "x", ":"),
}
METHODS = {"base": "base", "shira": "SHiRA", "lora_fused": "LoRA, fused"}
METHODS |= {"lora_unfused": "LoRA, unfused", "dora_unfused": "DoRA, unfused"}
TRAINED = {"frozen": "frozen pass", "shira": "SHiRA", "lora": "LoRA", "dora": "DoRA"}
TRAINED |= {"supertuning": "Super-Tuning", "full": "full", "shira_checkpointed": "SHiRA, gradient checkpointing"}
# Ours over a peer's in the same case: (what, against, at most).
TRAIN_TARGETS = (("step", "peft lora", 0.8), ("step", "peft shira", 0.7), ("step", "peft frozen", 1.0), ("memory", "peft lora", 0.6))
STAGES = ("load", "fuse", "unfuse", "unload", "ready", "switch")


# --- Numbers ------------------------------------------------------------------------------------


class Switching:
    """The results of benchmark_switch: looked up by what they are."""

    def __init__(self, measured):
        self.machine = measured["machine"]
        self.results = measured["results"]
        self.dimensions = self._values("dimension")
        self.densities = self._values("density")
        self.ranks = self._values("rank")
        # What the targets are about, where it was measured.
        self.dimension = 4096 if 4096 in self.dimensions else self.dimensions[-1]
        self.density = 0.01 if 0.01 in self.densities else self.densities[0]
        self.rank = 64 if 64 in self.ranks else self.ranks[-1]

    def _values(self, key):
        return sorted({result[key] for result in self.results if key in result})

    def find(self, operation, dtype, state, **more):
        """The result of the main dimension, density and rank, or of those given; None where there is none."""
        wanted = {"operation": operation, "dtype": dtype, "state": state, "dimension": self.dimension}
        wanted |= {"rank": self.rank} if operation.startswith("lora") else {"density": self.density}
        wanted |= more
        for result in self.results:
            if wanted.items() <= result.items():
                return result
        return None

    def ms(self, *which, **more):
        return self.find(*which, **more)["ms"]


def peer_methods(result):
    """PEFT's methods and their stages."""
    return [(name, stages) for name, stages in result["rounds"]["peft"].items() if "load" in stages]


def paired(rounds, method, what):
    """The median over the rounds of a method's time over the base's."""
    pairs = zip(rounds[method][what], rounds["base"][what])
    return median(time / base for time, base in pairs)


def train_ratio(case, what, name, against):
    """A method's time (the median over rounds) or memory over another's; None where one was not measured."""
    methods = case["methods"]
    if name not in methods or against not in methods:
        return None
    if what == "memory":
        return memory(methods[name]) / memory(methods[against])
    pairs = zip(methods[name]["step"], methods[against]["step"])
    return median(ours / peer for ours, peer in pairs)


def memory(method):
    return max(method["peak_above_base"])


# --- The table of targets -----------------------------------------------------------------------


def row(what, peer, target, measured, is_met):
    return f"| {what} | {peer} | {target} | {measured} | {'yes' if is_met else '**no**'} |"


def switch_targets(switching):
    where = f"{switching.dimension} x {switching.dimension} at {100 * switching.density:g} %"
    lines = []
    for state, least in (("hot", {"lora_peft": 100, "lora_addmm": 60}), ("cold", {"lora_peft": 20})):
        for dtype in ("float32", "bfloat16"):
            ours = switching.ms("scatter", dtype, state)
            for operation, target in least.items():
                ratio = switching.ms(operation, dtype, state) / ours
                peer = f"{LOOKS[operation][0]}, r {switching.rank}"
                what = f"one layer, {where}, {dtype}, {state}"
                lines.append(row(what, peer, f">= {target}x", times(ratio), ratio >= target))
    for dtype in ("float32", "bfloat16"):
        ratio = switching.ms("scatter", dtype, "cold") / switching.ms("floor", dtype, "cold")
        what = f"the same, cold, {dtype}"
        lines.append(row(what, "touching those cache lines", "<= 1.3x", f"{ratio:.2f}x", ratio <= 1.3))
    return lines


def peer_package(result):
    """What a model's LoRA went through: diffusers for a UNet of diffusers', else PEFT."""
    return "diffusers" if "diffusers" in result["peer"] else "PEFT"


def model_targets(result):
    name = f"{result['facts']['model']}, {result['facts']['dtype']}"
    ours = {what: median(values) for what, values in result["rounds"]["shira"]["shira"].items()}
    lines = []
    package = peer_package(result)
    verbs = ("load + fuse", "unfuse + fuse") if package == "diffusers" else ("load + merge", "unmerge + merge")
    questions = {"ready": ("file to ready model", verbs[0], 40), "switch": ("between resident patches", verbs[1], 60)}
    for stage, (what, peer, target) in questions.items():
        for method, stages in peer_methods(result):
            if method.startswith("lora"):
                ratio = median(stages[stage]) / ours[stage]
                peer_name = f"{package} {method_name(method)}, {peer}"
                measured = f"{times(ratio)} ({ms(median(stages[stage]))} / {ms(ours[stage])} ms)"
                lines.append(row(f"{name}: {what}", peer_name, f">= {target}x", measured, ratio >= target))
    ratio = ours["switch"] / ours["floor_switch"]
    what = f"{name}: between resident patches"
    lines.append(row(what, "touching those cache lines", "<= 1.5x", f"{ratio:.2f}x", ratio <= 1.5))
    bytes_an_entry = result["facts"]["adapter_bytes"] / result["facts"]["nnz"]
    if result["facts"]["dtype"] == "bfloat16":
        measured = f"{bytes_an_entry:.2f}"
        lines.append(row(f"{name}: adapter bytes an entry", "PEFT 12", "<= 3.2", measured, bytes_an_entry <= 3.2))
    ours, peer = (result["rounds"][engine]["changed_tensors"] for engine in ("shira", "peft"))
    what = f"{name}: tensors changed after every revert"
    lines.append(row(what, f"{package}, after a first round: {peer[0]} of {result['facts']['tensors']}", "0", str(max(ours)), max(ours) == 0))
    return lines


def inference_targets(result):
    lines = []
    for what in ("prefill", "decode"):
        ratio = paired(result["rounds"]["shira"], "shira", what)
        name = f"{what} with an adapter applied, {result['facts']['model']}"
        lines.append(row(name, "the base", "within 1 %", percent(ratio) + " time", ratio <= 1.01))
    return lines


def family_of(case):
    return "llama" if case["facts"]["model"].startswith("llama") else "unet"


def train_targets(cases):
    lines = []
    for family, dtype in itertools.product(("llama", "unet"), ("float32", "bfloat16")):
        chosen = [case for case in cases if case["facts"]["dtype"] == dtype and family_of(case) == family]
        for what, against, target in TRAIN_TARGETS:
            ratios = [train_ratio(case, what, "shira shira", against) for case in chosen]
            if ratios := [ratio for ratio in ratios if ratio is not None]:
                title = {"step": "a training step's time", "memory": "a training step's memory above the base"}[what]
                shapes = f"{len(ratios)} {family} shape{'s' * (len(ratios) > 1)}"
                measured = f"{min(ratios):.2f}x to {max(ratios):.2f}x"
                lines.append(row(f"{title}, {dtype}, {shapes}", trained_name(against, family), f"<= {target}x", measured, max(ratios) <= target))
    return lines


def target_table(switching, models, inference, gradient, train, quality):
    lines = ["| what | against | target | measured | met |", "|---|---|---|---|---|"]
    if switching:
        lines += switch_targets(switching)
    for model in models:
        lines += model_targets(model)
    if inference:
        lines += inference_targets(inference)
    if gradient:
        lines += [row(*cells) for cells in plot_weight_gradient.target_rows(gradient)]
    lines += train_targets(train)
    lines += [row(*cells) for cells in plot_time_to_quality.target_rows(quality)]
    return "\n".join(lines)


# --- The other tables ---------------------------------------------------------------------------


def method_name(method):
    if method == "shira":
        return "SHiRA"
    return method.replace("lora_r", "LoRA r ").replace("_narrow", ", bfloat16 adapter")


def layer_table(switching):
    """Every dimension at the main density and rank, hot and cold."""
    operations = ("scatter", "swap", "scatter_both", "floor", "libtorch_scatter", "lora_peft", "lora_peft_narrow", "lora_addmm")
    lines = []
    for dtype in ("float32", "bfloat16"):
        for state in ("hot", "cold"):
            heads = []
            for dimension in switching.dimensions:
                weights = switching.find("scatter", dtype, state, dimension=dimension)["weights"]
                heads.append(f"{dimension} ({weights})" if state == "cold" else str(dimension))
            lines += ["", f"| {dtype}, {state} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
            for operation in operations:
                if not switching.find(operation, dtype, state):
                    continue
                cells = [switching.find(operation, dtype, state, dimension=d) for d in switching.dimensions]
                texts = [f"{ms(c['ms'])} ({ms(c['least'])}..{ms(c['most'])})" for c in cells]
                lines.append(f"| {LOOKS[operation][0]} | {' | '.join(texts)} |")
    return "\n".join(lines[1:])


def stage_table(result):
    """The stages of the paper's table 5, and what this benchmark adds."""
    lines = ["| ms | " + " | ".join(STAGES) + " |", "|---|" + "---:|" * len(STAGES)]
    ours = result["rounds"]["shira"]["shira"]
    lines.append("| **shira** | " + " | ".join(with_spread(ours[stage]) for stage in STAGES) + " |")
    floors = {"fuse": "floor_fuse", "unfuse": "floor_fuse", "switch": "floor_switch"}
    if "floor_fuse" in ours:
        cells = [with_spread(ours[floors[stage]]) if stage in floors else "" for stage in STAGES]
        lines.append("| floor: touch those lines | " + " | ".join(cells) + " |")
    for method, stages in peer_methods(result):
        cells = [with_spread(stages[stage]) for stage in STAGES]
        lines.append(f"| {peer_package(result)}, {method_name(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def model_section(result):
    facts, package = result["facts"], peer_package(result)
    whose = {"PEFT": "PEFT's", "diffusers": "diffusers'"}[package]
    return (
        f"**{facts['model']}, {facts['dtype']}**: {facts['parameters'] / 1e9:.2f} B parameters, {facts['tensors']} tensors of "
        f"{facts['targeted'] / 1e9:.2f} B adapted, {facts['nnz']:,} entries, adapter file {facts['adapter_bytes'] / 1e6:.1f} MB; "
        f"a switch between resident patches allocates {facts['switch_allocations']} times; tensors changed after every revert: "
        f"{max(result['rounds']['shira']['changed_tensors'])}, of {whose} {max(result['rounds']['peft']['changed_tensors'])}. {package} {result['peer'][package.lower()]}.\n\n"
        + stage_table(result)
    )


def inference_table(result):
    lines = ["| | prefill, tokens/s | time against its base | decode, tokens/s | time against its base |", "|---|---:|---:|---:|---:|"]
    for engine, name in (("shira", "shira"), ("peft", "PEFT")):
        rounds = result["rounds"][engine]
        for method, label in METHODS.items():
            if method in rounds:
                cells = []
                for what in ("prefill", "decode"):
                    speeds = [1e3 / value for value in rounds[method][what]]
                    cells += [with_spread(speeds), percent(paired(rounds, method, what))]
                lines.append(f"| {name}: {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def trained_name(name, family="llama"):
    """"peft lora" as a reader knows it."""
    engine, method = name.split()
    if engine == "peft":
        library = "transformers" if family == "llama" else "diffusers"
        engine = library if method in ("frozen", "full") else "PEFT"
    return f"{engine}: {TRAINED[method]}"


def case_name(case):
    facts = case["facts"]
    unit = "latents" if family_of(case) == "unet" else "tokens"
    return f"{facts['model']}, {facts['dtype']}, {facts['batch']} x {facts['length']} {unit}"


def train_table(case):
    rounds = max(len(method["step"]) for method in case["methods"].values())
    heads = ("trained", f"step, ms ({rounds} rounds)", "over PEFT LoRA", "over the frozen pass", "memory above the base, MB", "over PEFT LoRA")
    lines = [f"| {case_name(case)} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, method in case["methods"].items():
        ratios = [train_ratio(case, what, name, against) for what, against in (("step", "peft lora"), ("step", "peft frozen"), ("memory", "peft lora"))]
        time_over_lora, time_over_frozen, memory_over_lora = ["" if ratio is None else f"{ratio:.2f}x" for ratio in ratios]
        label = trained_name(name, family_of(case))
        if name == "shira shira":
            label = f"**{label}**"
        cells = (f"{method['trained']:,}", with_spread(method["step"]), time_over_lora, time_over_frozen, f"{memory(method) / 1e6:,.0f}", memory_over_lora)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def first_loss_line(cases):
    """That both engines do the same work."""
    worst = {}
    for case in cases:
        losses = [method["first_loss"] for method in case["methods"].values()]
        dtype = case["facts"]["dtype"]
        worst[dtype] = max(worst.get(dtype, 0), (max(losses) - min(losses)) / min(losses))
    texts = [f"{difference:.1g} in {dtype}" for dtype, difference in worst.items()]
    return f"All methods of a shape start from the same weights; their first losses differ by at most {' and '.join(texts)}."


# --- Pictures -----------------------------------------------------------------------------------


def draw_lines(axes, points, operation):
    """points: [(x, result)]"""
    points = [(x, result) for x, result in points if result]
    if not points:
        return
    label, colour, marker, line = LOOKS[operation]
    middle = [result["ms"] for _, result in points]
    below = [result["ms"] - result["least"] for _, result in points]
    above = [result["most"] - result["ms"] for _, result in points]
    axes.errorbar([x for x, _ in points], middle, yerr=[below, above], color=colour, marker=marker,
                  linestyle=line, label=label, capsize=2, markersize=5, linewidth=1.4)  # fmt: skip


def draw_dimensions(switching, path):
    figure, panels = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained", sharey=True)
    cases = [(dtype, state) for dtype in ("float32", "bfloat16") for state in ("hot", "cold")]
    for axes, (dtype, state) in zip(panels.flat, cases):
        for operation in LOOKS:
            points = [(d, switching.find(operation, dtype, state, dimension=d)) for d in switching.dimensions]
            draw_lines(axes, points, operation)
        title = f"{dtype}, {state}: {100 * switching.density:g} % against r {switching.rank}"
        set_axes(axes, title, "dimension of the weight", switching.dimensions)
        axes.set_ylabel("ms")
    save(figure, path, panels.flat)


def draw_budgets(switching, path):
    """At the main dimension, cold: our density, LoRA's rank."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained", sharey=True)
    for (left, right), dtype in zip(panels, ("float32", "bfloat16")):
        for operation in LOOKS:
            is_lora = operation.startswith("lora")
            key, values = ("rank", switching.ranks) if is_lora else ("density", switching.densities)
            points = [(v, switching.find(operation, dtype, "cold", **{key: v})) for v in values]
            draw_lines(right if is_lora else left, points, operation)
        title = f"{switching.dimension} x {switching.dimension}, {dtype}, cold"
        set_axes(left, f"{title}: SHiRA", "density", switching.densities, base=10)
        set_axes(right, f"{title}: LoRA", "rank", switching.ranks)
        left.set_ylabel("ms")
    save(figure, path, panels.flat)


def draw_speedups(switching, path):
    """The paper's figure 7, to be drawn for each dtype and state."""
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    looks = {"hot": ("o", "-"), "cold": ("s", "--")}
    for dtype, colour in (("float32", "#0072b2"), ("bfloat16", "#d55e00")):
        for state, (marker, line) in looks.items():
            ratios = []
            for dimension in switching.dimensions:
                where = {"dimension": dimension}
                peer = switching.ms("lora_peft", dtype, state, **where)
                ratios.append(peer / switching.ms("scatter", dtype, state, **where))
            axes.plot(switching.dimensions, ratios, color=colour, marker=marker, linestyle=line, label=f"{dtype}, {state}")
    axes.axhline(16, color="#5a5a5a", linestyle=":", label="the paper's 16x (large dimensions)")
    title = f"LoRA fuse as PEFT does it, r {switching.rank}, over scatter of {100 * switching.density:g} %"
    set_axes(axes, title, "dimension of the weight", switching.dimensions)
    axes.set_ylabel("times faster")
    axes.legend()
    save(figure, path)


def bars(axes, names, values, texts, colours):
    places = range(len(names))
    axes.barh(places, values, color=colours)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    for place, value, text in zip(places, values, texts):
        axes.text(value, place, f" {text}", va="center", fontsize=9)
    axes.grid(axis="x", color="#e2e4e8")
    axes.set_axisbelow(True)


def draw_models(models, path):
    figure, panels = plt.subplots(len(models), 2, figsize=(11, 2.9 * len(models)), layout="constrained", squeeze=False)
    titles = {"ready": "file to ready model", "switch": "adapter to adapter"}
    for line, result in zip(panels, models):
        for axes, (stage, title) in zip(line, titles.items()):
            values = {"SHiRA (ours)": median(result["rounds"]["shira"]["shira"][stage])}
            for method, stages in peer_methods(result):
                values[f"{peer_package(result)}, {method_name(method)}"] = median(stages[stage])
            colours = ["#0072b2"] + ["#d55e00"] * (len(values) - 1)
            bars(axes, list(values), list(values.values()), [f"{ms(v)} ms" for v in values.values()], colours)
            axes.set_xscale("log")
            axes.set_xlim(min(values.values()) / 3, max(values.values()) * 8)
            axes.set_title(f"{result['facts']['model']}, {result['facts']['dtype']}: {title}", fontsize=10)
    save(figure, path)


def draw_inference(result, path):
    figure, panels = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for axes, what in zip(panels, ("prefill", "decode")):
        names, speeds, texts, colours = [], [], [], []
        for engine, colour in (("shira", "#0072b2"), ("peft", "#d55e00")):
            rounds = result["rounds"][engine]
            for method in (method for method in METHODS if method in rounds):
                names.append(f"{'PEFT' if engine == 'peft' else 'shira'}: {METHODS[method]}")
                speeds.append(1 / paired(rounds, method, what))
                texts.append(f"{median(1e3 / value for value in rounds[method][what]):.3g} tokens/s")
                colours.append(colour)
        bars(axes, names, speeds, texts, colours)
        axes.set_xlim(0, 1.45 * max(speeds))
        axes.set_xlabel("speed, its own base = 1")
        axes.set_title(what, fontsize=11)
    save(figure, path)


def draw_training(cases, path, what):
    """A panel a case: every method's time or memory over PEFT LoRA's."""
    lines = (len(cases) + 1) // 2
    figure, panels = plt.subplots(lines, 2, figsize=(11, 3.1 * lines), layout="constrained", squeeze=False)
    for axes, case in zip(panels.flat, cases):
        methods = case["methods"]
        ratios = [train_ratio(case, what, name, "peft lora") for name in methods]
        amounts = [f"{memory(m) / 1e6:,.0f} MB" if what == "memory" else f"{ms(median(m['step']))} ms" for m in methods.values()]
        texts = [f"{ratio:.2f}x  {amount}" for ratio, amount in zip(ratios, amounts)]
        bars(axes, [trained_name(name) for name in methods], ratios, texts, [train_colour(name) for name in methods])
        axes.axvline(1, color="#c0c4cc", zorder=0)
        axes.set_xlim(0, 1.6 * max(ratios))
        axes.set_title(case_name(case), fontsize=10)
    for axes in panels.flat[len(cases) :]:
        axes.set_axis_off()
    figure.supxlabel({"step": "time of a step, PEFT LoRA = 1", "memory": "memory above the base, PEFT LoRA = 1"}[what])
    save(figure, path)


def train_colour(name):
    engine, method = name.split()
    if method == "frozen":
        return "#9a9a9a"
    return "#0072b2" if engine == "shira" else "#d55e00"


# --- The page -----------------------------------------------------------------------------------


def sections(directory, switching, models, inference, gradient, train, quality, models_cuda):
    """Draws the pictures; yields the page's parts."""
    name = directory.name
    yield "### Measured and targets\n\n" + target_table(switching, models, inference, gradient, train, quality)
    if switching:
        draw_dimensions(switching, directory / "dimensions.png")
        draw_budgets(switching, directory / "budgets.png")
        draw_speedups(switching, directory / "speedup.png")
        yield f"### One layer\n\n{machine_line(switching.machine)} {switching.machine['rounds']} rounds."
        yield f"![speed-up over LoRA fuse]({name}/speedup.png)\n\n![time by dimension]({name}/dimensions.png)\n\n![time by density and rank]({name}/budgets.png)"
        yield (
            f"Milliseconds at {100 * switching.density:g} % and r {switching.rank} as median (least..most); in brackets above, "
            f"the number of different weights.\n\n{layer_table(switching)}"
        )
    if models:
        draw_models(models, directory / "models.png")
        yield f"### A whole model\n\n![whole-model switching]({name}/models.png)"
        yield from (f"{machine_line(result['facts'])}\n\n{model_section(result)}" for result in models)
    if models_cuda:
        facts, device = models_cuda[0]["facts"], models_cuda[0]["peer"]["device"]
        yield f"### A whole model on a GPU\n\n{device}. {facts['date']}, {facts['processor']}, {facts['threads']} threads, LibTorch {facts['libtorch']}."
        yield from (model_section(result) for result in models_cuda)
    if inference:
        draw_inference(inference, directory / "inference.png")
        facts = inference["facts"]
        yield (
            f"### Inference\n\n{machine_line(facts)} {facts['model']}, {facts['dtype']}, prompt of {facts['prompt']} tokens.\n\n"
            f"![inference]({name}/inference.png)\n\n{inference_table(inference)}"
        )
    if gradient:
        yield from plot_weight_gradient.section(gradient, directory)
    if train:
        for what in ("step", "memory"):
            draw_training(train, directory / f"train_{what}.png", what)
        peer = train[0]["peer"]
        yield (
            f"### Training\n\n{machine_line(train[0]['facts'])} PEFT {peer['peft']}, transformers {peer['transformers']}, attention: {peer['attention']}. "
            f"{first_loss_line(train)}\n\n![time of a step]({name}/train_step.png)\n\n![memory of a step]({name}/train_memory.png)"
        )
        yield from (train_table(case) for case in train)
    if quality:
        yield from plot_time_to_quality.section(quality, directory, plt)


def read(path):
    return json.loads(path.read_text()) if path.exists() else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=pathlib.Path)
    args = parser.parse_args()
    directory = args.directory
    measured = read(directory / "switch.json")
    switching = Switching(measured) if measured else None
    models = read(directory / "model.json") or []
    inference = read(directory / "inference.json")
    gradient = read(directory / "weight_gradient.json")
    train = read(directory / "train.json") or []
    quality = read(directory / "time_to_quality.json") or []
    models_cuda = read(directory / "model_cuda.json")
    parts = sections(directory, switching, models, inference, gradient, train, quality, models_cuda)
    fill_page(directory.with_suffix(".md"), BEGIN, END, "\n\n".join(parts), PAGE)


if __name__ == "__main__":
    main()
