"""scripts/fusion_experiment.py --quick: three adapters, alone and fused; what holds however short the training."""

import importlib.util
import json
import math
import re

import plot_fusion
import pytest
from conftest import SOURCE_DIR, run_json, run_script, run_shira

SCRIPT = SOURCE_DIR / "scripts" / "fusion_experiment.py"
BASE = SOURCE_DIR / "assets" / "tiny-llama"
METHODS = ("wm, same entries", "wm, bands", "struct, shifted rows")
TASKS = ("pirate", "robot", "quiz")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of one quick run."""
    out = tmp_path_factory.mktemp("fusion") / "out"
    result = run_script(SCRIPT, "--quick", "--threads", 1, "--out", out)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def results(quick):
    return json.loads((quick / "results.json").read_text())


def run_of(results, method):
    (run,) = (run for run in results["runs"] if run["method"] == method)
    return run


@pytest.mark.parametrize("method", METHODS)
def test_every_task_is_learnt_alone(results, method):
    one = results["settings"]["alphas"].index(1)
    alone = run_of(results, method)["alone"][one]
    for task in TASKS:
        assert alone[task] < results["base"][0][task] - 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_task_is_measured_alone_and_fused_at_every_scale(results, method):
    run, alphas = run_of(results, method), results["settings"]["alphas"]
    for kind in ("alone", "fused"):
        assert len(run[kind]) == len(alphas)
        for losses in run[kind]:
            assert tuple(losses) == TASKS
            assert all(0 < loss < math.log(1024) + 5 for loss in losses.values())


@pytest.mark.parametrize("method", METHODS)
def test_at_scale_0_the_base_is_back_exactly(results, method):
    run, zero = run_of(results, method), results["settings"]["alphas"].index(0)
    assert run["alone"][zero] == results["base"][0]
    assert run["fused"][zero] == results["base"][0]


def test_the_masks_overlap_as_the_methods_say(results):
    def shared(method):
        return [pair["shared_of_a"] for pair in run_of(results, method)["pairs"].values()]

    assert shared("wm, same entries") == [1, 1, 1]
    assert shared("wm, bands") == [0, 0, 0]
    # Rows of their own, but one diagonal for all.
    for share in shared("struct, shifted rows"):
        assert 0 < share < 0.5


def test_every_method_trains_about_the_same_number_of_entries(results):
    trained = [n for run in results["runs"] for n in run["trained"].values()]
    assert max(trained) < 1.02 * min(trained)


def test_fused_is_what_a_merged_checkpoint_has(quick, results, tmp_path):
    """Another way to the same number: merge the three adapters into a checkpoint, evaluate that."""
    folders = sorted((quick / "adapters").glob("*-struct-*"))
    assert len(folders) == 3
    flags = [part for folder in folders for part in ("--adapter", f"{folder}@0.5")]
    run_shira("merge", "--base_model", BASE, *flags, "-o", tmp_path / "merged")
    half = results["settings"]["alphas"].index(0.5)
    for task in TASKS:
        text = ("--text", quick / "data" / "0" / f"{task}_heldout.txt", "--window", 128)
        merged = run_json("eval", "--base_model", tmp_path / "merged", *text)
        fused = run_of(results, "struct, shifted rows")["fused"][half][task]
        assert merged["nll"] == pytest.approx(fused, abs=1e-6)


def test_the_tables_have_every_method_and_the_drop(quick, results):
    text = (quick / "table.md").read_text()
    one = results["settings"]["alphas"].index(1)
    for method in METHODS:
        assert len(re.findall(rf"^\| {method} \|", text, re.MULTILINE)) == 3
        run = run_of(results, method)
        drop = sum(run["fused"][one][task] - run["alone"][one][task] for task in TASKS) / 3
        assert f" {drop:.3f} " in text


def test_kept_is_1_where_fusing_costs_nothing_and_0_where_nothing_is_left():
    base = {"a": 4.0, "b": 3.0}
    results = {"base": [base], "settings": {"seeds": [7], "alphas": [0.5, 1, 1.25]}}
    run = {"seed": 7, "alone": [{"a": 2.0, "b": 1.0}] * 3}
    run["fused"] = [run["alone"][0], base, {"a": 3.0, "b": 2.5}]
    assert [plot_fusion.kept(results, run, i) for i in range(3)] == [1, 0, (0.5 + 0.25) / 2]
    assert plot_fusion.drop(results, run) == 2  # at alpha = 1: back at the base


def test_the_picture(quick):
    if importlib.util.find_spec("matplotlib") is None:
        assert not (quick / "alpha.png").exists()
        pytest.skip("needs matplotlib (scripts/setup.sh --tests)")
    assert (quick / "alpha.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_results_that_are_there_are_kept(quick):
    before = (quick / "results.json").read_bytes()
    result = run_script(SCRIPT, "--quick", "--out", quick)
    assert result.returncode == 2
    assert "there already" in result.stderr
    assert (quick / "results.json").read_bytes() == before


def test_a_failing_command_is_an_error_that_shows_its_message(tmp_path):
    result = run_script(SCRIPT, "--quick", "--base_model", "nowhere", "--out", tmp_path / "out")
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_held_out_quiz_starts_with_a_pair_that_was_never_trained_on(tmp_path):
    for folder in ("a", "b"):
        result = run_script(
            SOURCE_DIR / "scripts" / "make_quiz_data.py",
            tmp_path / folder,
            "--train_kb",
            20,
            "--heldout_kb",
            5,
        )
        assert result.returncode == 0, result.stderr

    def pairs(split):
        text = (tmp_path / "a" / f"quiz_{split}.txt").read_text()
        assert text == (tmp_path / "b" / f"quiz_{split}.txt").read_text()
        items = text.split("\n\n")
        assert all(item.count("Question: ") == item.count(" Answer: ") == 3 for item in items)
        return {re.match(r"(\w+) has an? \w+ (\w+)\. ", item).groups() for item in items}

    assert pairs("train").isdisjoint(pairs("heldout"))
