"""scripts/run_benchmarks.py --quick: every benchmark and its PEFT peer run, and the page shows what they measured.

Figures of small models on a busy machine say nothing, so none is compared here.
"""

import importlib.util
import json
import subprocess
import sys

import benchmark_time_to_quality as quality
import pytest
from conftest import BUILD_DIR, SOURCE_DIR

for package in ("peft", "transformers", "matplotlib"):
    if importlib.util.find_spec(package) is None:  # to import them takes seconds
        pytest.skip(f"no {package}: scripts/setup.sh --tests", allow_module_level=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of results, whose page lies beside it."""
    if not (BUILD_DIR / "bin" / "benchmark_switch").exists():
        pytest.skip("configure with -DSHIRA_BUILD_BENCHMARKS=ON")
    out = tmp_path_factory.mktemp("benchmarks") / "figures"
    command = ["scripts/run_benchmarks.py", "--quick", "--no_build", "--threads", "1", "--out", out]
    result = subprocess.run([sys.executable, *command], cwd=SOURCE_DIR, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


def read(path):
    def refuse(constant):
        raise AssertionError(f"{path.name} holds {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_one_layer_is_measured_for_every_size_dtype_and_state(run):
    measured = read(run / "switch.json")
    assert measured["machine"]["last_level_cache"] > 0
    results = measured["results"]
    cases = {(r["dimension"], r["dtype"], r["state"], r["operation"]) for r in results}
    assert len({case[:3] for case in cases}) == 2 * 2 * 2
    ours = ("scatter", "swap", "scatter_both", "floor", "floor_both")
    for dimension, dtype, state, _ in cases:
        for operation in (*ours, "lora_peft", "lora_addmm"):
            assert (dimension, dtype, state, operation) in cases
    for result in results:
        assert 0 < result["least"] <= result["ms"] <= result["most"], result


def test_whole_models_are_measured_beside_peft_and_come_back(run):
    for result, methods in zip(read(run / "model.json"), (("lora_r4", "lora_r4_narrow", "shira"), ("lora_r4",)), strict=True):
        ours, peers = result["rounds"]["shira"], result["rounds"]["peft"]
        assert ours["changed_tensors"] == [0, 0]
        assert result["facts"]["switch_allocations"] == 0
        for stages in (ours["shira"], *(peers[method] for method in methods)):
            for stage in ("load", "fuse", "unfuse", "unload", "ready", "switch"):
                assert stages[stage] and all(value > 0 for value in stages[stage]), (stage, stages)


def test_both_engines_infer_with_every_method(run):
    rounds = read(run / "inference.json")["rounds"]
    assert set(rounds["shira"]) == {"base", "shira", "lora_fused", "lora_unfused", "dora_unfused"}
    assert set(rounds["peft"]) == {"base", "lora_fused", "lora_unfused", "dora_unfused"}
    for methods in rounds.values():
        for values in methods.values():
            for what in ("prefill", "decode"):
                assert len(values[what]) == 2 and all(value > 0 for value in values[what])


def test_the_gradient_of_masked_entries_is_measured_beside_the_dense_product_and_the_limit(run):
    measured = read(run / "weight_gradient.json")
    assert measured["machine"]["threads"] == 1 and measured["machine"]["copy_gigabytes_per_second"] > 0
    cases = {(r["dtype"], r["tokens"], r["mask"], r["density"]) for r in measured["results"]}
    masks = [("rand", density) for density in (0.001, 0.01, 0.05, 0.1)] + [("struct row", 0.01), ("struct column", 0.01)]
    assert cases == {(dtype, tokens, *mask) for dtype in ("Float", "BFloat16") for tokens in (8, 64) for mask in masks}
    for result in measured["results"]:
        assert 0 < result["least"] <= result["ms"] <= result["most"], result
        assert result["dense_ms"] > 0 and result["limit_ms"] > 0, result


def gradient_targets(measured):
    """[(target, measured, whether it is met)]"""
    import plot_weight_gradient  # which needs matplotlib

    return [tuple(cells[2:]) for cells in plot_weight_gradient.target_rows(measured)]


def test_a_gradients_target_is_held_at_its_worst_count_of_tokens():
    keys = ("dtype", "tokens", "mask", "density", "dense_ms", "ms")
    results = [
        ("Float", 64, "rand", 0.01, 10, 5),
        ("Float", 512, "rand", 0.01, 100, 4),
        ("Float", 512, "rand", 0.1, 100, 80),
        ("Float", 512, "struct row", 0.01, 100, 90),
        ("Float", 2048, "rand", 0.01, 400, 40),
        ("BFloat16", 512, "rand", 0.01, 20, 5),
        ("BFloat16", 2048, "rand", 0.01, 80, 10),
    ]
    measured = {"machine": {"dimension": 4096}, "results": [dict(zip(keys, result)) for result in results]}
    assert gradient_targets(measured) == [
        (">= 10x", "10x (400 / 40 ms at 2048 tokens)", True),
        (">= 5x", "4x (20 / 5 ms at 512 tokens)", False),
    ]


def test_a_gradient_of_other_shapes_has_no_target(run):
    measured = read(run / "weight_gradient.json")
    assert gradient_targets(measured) == []
    assert "gradient of 1 % of" not in run.with_suffix(".md").read_text()
    measured["machine"]["dimension"] = 4096
    assert gradient_targets(measured) == []
    for result in measured["results"]:
        result["tokens"] *= 8  # 64 and 512
    assert [target for target, _, _ in gradient_targets(measured)] == [">= 10x", ">= 5x"]


def test_training_steps_of_both_engines_do_the_same_work(run):
    case = read(run / "train.json")[0]
    methods = case["methods"]
    ours = {"shira frozen", "shira shira", "shira shira_checkpointed", "shira full"}
    peers = {"peft frozen", "peft lora", "peft dora", "peft shira", "peft supertuning", "peft full"}
    assert set(methods) == ours | peers
    for name, method in methods.items():
        assert method["first_loss"] == pytest.approx(methods["peft full"]["first_loss"], rel=1e-5), name
        if name.endswith("frozen"):
            assert method["loss"][-1] == method["first_loss"], name
        else:
            assert method["loss"][-1] < method["loss"][0] < method["first_loss"], name
    assert methods["shira shira_checkpointed"]["loss"] == methods["shira shira"]["loss"]
    # The losses after two and four steps of AdamW on clipped gradients.
    assert methods["shira full"]["loss"] == pytest.approx(methods["peft full"]["loss"], rel=1e-5)


def test_all_methods_train_as_many_entries(run):
    methods = read(run / "train.json")[0]["methods"]
    r, hidden, kv, intermediate, layers = 2, 128, 64, 320, 2
    outputs = layers * (2 * hidden + 2 * kv + 2 * intermediate + hidden)
    inputs = layers * (6 * hidden + intermediate)
    count = r * (inputs + outputs)
    for name in ("shira shira", "peft shira", "peft lora"):
        assert methods[name]["trained"] == count
    assert methods["peft dora"]["trained"] == count + outputs
    assert 0 <= count - methods["peft supertuning"]["trained"] <= 7 * layers  # rounded down in each layer
    assert methods["shira full"]["trained"] == methods["peft full"]["trained"]
    assert methods["shira frozen"]["trained"] == methods["peft frozen"]["trained"] == 0


def test_both_engines_train_the_same_network_of_convolutions_and_attention(run):
    case = read(run / "train.json")[2]
    assert case["facts"]["model"] == "tiny"
    ours, peer = case["methods"]["shira shira"], case["methods"]["peft lora"]
    assert ours["trained"] == peer["trained"]
    assert ours["first_loss"] == pytest.approx(peer["first_loss"], rel=1e-5)
    assert ours["loss"][1] < ours["loss"][0] < ours["first_loss"]


def test_time_and_memory_of_training_steps_are_measured_in_both_dtypes(run):
    for case, dtype in zip(read(run / "train.json"), ("float32", "bfloat16", "float32"), strict=True):
        assert case["facts"]["dtype"] == dtype
        for name, method in case["methods"].items():
            assert len(method["step"]) == 2 and all(value > 0 for value in method["step"]), name
            assert method["peak_above_base"][0] > 0, name
    # Weights, gradients and two moments of AdamW against none of that.
    peaks = {name: max(method["peak_above_base"]) for name, method in read(run / "train.json")[0]["methods"].items()}
    assert peaks["peft full"] > peaks["peft frozen"]
    assert peaks["shira full"] > peaks["shira frozen"]


def test_both_sides_train_on_the_same_samples_until_the_target(run):
    """That the samples are the same ones the script itself checks: it ends if the base's held-out losses differ."""
    cases = read(run / "time_to_quality.json")
    assert [case["facts"]["packed_rows"] for case in cases] == [None, 3]
    for case in cases:
        peer, *ours = case["runs"]
        assert [run["engine"] for run in (peer, *ours)] == ["peft", "shira"] + ["shira"] * (len(ours) - 1)
        assert ours[0]["trained"] == peer["trained"]
        assert ours[0]["curve"][0][2] == pytest.approx(peer["curve"][0][2], rel=1e-4)
        for run_ in case["runs"]:
            steps, seconds, losses = zip(*run_["curve"])
            assert steps == (0, 3, 6)
            assert seconds[0] == 0 < seconds[1] < seconds[2]
            assert losses[2] < losses[0]
            assert run_["setup"] > run_["calibration"]
            assert (run_["calibration"] > 0) == (run_["engine"] == "shira" and case["facts"]["mask"] == "snip")


def curve(*losses, **run):
    """A run with an evaluation every second and every ten steps."""
    points = [(10 * i, float(i), loss) for i, loss in enumerate(losses)]
    return {"rank": 2, "rate": 1.0, "setup": 5.0, "calibration": 0.5, "curve": points} | run


def test_the_target_is_the_lowest_loss_of_the_peer_and_ours_the_first_evaluation_there():
    runs = [
        curve(4, 3, 2, 2.5, engine="peft"),
        curve(4, 3.5, 3, 2.2, engine="peft"),
        curve(4, 2.1, 1.9, 1, engine="shira"),
        curve(4, 2, 3, 3, engine="shira", rate=2.0),
    ]
    assert quality.target_of(runs) == 2
    assert quality.reach(quality.best_of_peer(runs), 2) == (20, 2.5, 7.0)
    best = quality.best_of_ours(runs, 2)
    assert best["rate"] == 2.0
    assert quality.reach(best, 2) == (10, 1.5, 6.0)


def test_a_target_that_is_not_reached_is_said_to_be():
    runs = [
        curve(4, 3, 2, engine="peft"),
        curve(4, 3, 2.2, engine="shira"),
        curve(4, 2, 1, engine="shira", rank=4),
    ]
    peer, ours, twice = quality.outcome({"runs": runs, "facts": {"rank": 2}})
    assert "reaches 2.0000 in 2.5 s" in peer
    assert "with as many entries does NOT get there: its lowest loss is 2.2000" in ours
    assert "with TWICE the entries (rate 1) is there in 1.5 s (0.60x)" in twice


def test_the_profile_lists_the_largest_operators_first(run):
    program = BUILD_DIR / "bin" / "benchmark_train_step"
    command = [program, "--model", "llama_tiny", "--batch", "2", "--length", "16", "--rank", "2", "--threads", "1", "--profile"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=True)
    lines = [line.split(maxsplit=4) for line in result.stdout.splitlines()]  # "12.3 % 4.56 ms aten::mm"
    assert 5 < len(lines) <= 15 and any(line[4] == "aten::mm" for line in lines)
    shares = [float(line[0]) for line in lines]
    assert shares == sorted(shares, reverse=True) and 50 < sum(shares) <= 100.1


def test_the_page_shows_targets_and_pictures(run):
    page = run.with_suffix(".md").read_text()
    assert "Not measured yet" not in page
    for line in (">= 100x", ">= 60x", "<= 1.3x", ">= 40x", "<= 1.5x", "<= 3.2", "within 1 %", "<= 0.8x", "<= 0.7x", "<= 1.0x", "<= 0.6x", "<= 0.5x"):
        assert f"| {line} |" in page
    for picture in ("dimensions", "budgets", "speedup", "models", "inference", "weight_gradient", "train_step", "train_memory", "time_to_quality"):
        assert f"({run.name}/{picture}.png)" in page
        assert (run / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    for line in ("float32 | 8 | rand, 0.1 %", "bfloat16 | 64 | struct column, 1 %"):
        assert f"\n| {line} |" in page


def test_quick_figures_cannot_replace_the_page(run):
    command = [sys.executable, "scripts/run_benchmarks.py", "--quick", "--no_build"]
    result = subprocess.run(command, cwd=SOURCE_DIR, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--quick needs --out" in result.stderr
