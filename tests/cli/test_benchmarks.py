"""scripts/run_benchmarks.py --quick: every benchmark and its PEFT peer run, and the page shows what they measured.

Figures of small models on a busy machine say nothing, so none is compared here.
"""

import json
import subprocess
import sys

import pytest
from conftest import BUILD_DIR, SOURCE_DIR

for package in ("peft", "transformers", "matplotlib"):
    pytest.importorskip(package)


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


def test_the_page_shows_targets_and_pictures(run):
    page = run.with_suffix(".md").read_text()
    assert "Not measured yet" not in page
    for line in (">= 100x", ">= 60x", "<= 1.3x", ">= 40x", "<= 1.5x", "<= 3.2", "within 1 %"):
        assert f"| {line} |" in page
    for picture in ("dimensions", "budgets", "speedup", "models", "inference"):
        assert f"({run.name}/{picture}.png)" in page
        assert (run / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_quick_figures_cannot_replace_the_page(run):
    command = [sys.executable, "scripts/run_benchmarks.py", "--quick", "--no_build"]
    result = subprocess.run(command, cwd=SOURCE_DIR, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "--quick needs --out" in result.stderr
