"""scripts/quality_experiment.py --quick: every method trained, compared and shown; what holds however short the training."""

import json

import plot_quality
import pytest
import quality_experiment
from conftest import SOURCE_DIR, run_script

SCRIPT = SOURCE_DIR / "scripts" / "quality_experiment.py"
MASKS = ("struct", "rand", "wm", "grad", "snip")
METHODS = {*(f"SHiRA {mask}" for mask in MASKS), "LoRA", "DoRA", "WM-DoRA"}
SHAKESPEARE = "\n".join(
    f"{who}: I {verb} thee, {whom}, by the {thing}!"
    for who in ("ROMEO", "JULIET", "TYBALT")
    for verb in ("love", "fear", "greet", "praise")
    for whom in ("Nurse", "Friar", "Prince", "Paris")
    for thing in ("moon", "sea", "rose", "grave")
)


def run_quick(*args):
    return run_script(SCRIPT, "--quick", "--threads", 1, *args)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of one quick run, which holds text.txt, out and page.md."""
    folder = tmp_path_factory.mktemp("quality")
    (folder / "text.txt").write_text(SHAKESPEARE)
    result = run_quick(*flags(folder))
    assert result.returncode == 0, result.stderr
    return folder


def flags(folder):
    return "--text", folder / "text.txt", "--out", folder / "out", "--page", folder / "page.md"


@pytest.fixture(scope="module")
def results(quick):
    return json.loads((quick / "out" / "results.json").read_text())


def test_every_method_learns_each_task(results):
    assert set(results["tasks"]) == {"pirate", "text"}
    for task in results["tasks"].values():
        assert set(task["methods"]) == METHODS
        for name, method in task["methods"].items():
            assert method["losses"][0] < task["base"][0] - 0.2, name


def test_all_train_as_many_entries_as_lora(results):
    methods = results["tasks"]["pirate"]["methods"]
    hidden, kv, intermediate, layers = 160, 80, 432, 5
    inputs, outputs = 6 * hidden + intermediate, 3 * hidden + 2 * kv + 2 * intermediate
    count = quality_experiment.R * layers * (inputs + outputs)
    for name in METHODS - {"SHiRA struct", "DoRA", "WM-DoRA"}:
        assert methods[name]["trained"] == count, name
    assert methods["SHiRA struct"]["trained"] == pytest.approx(count, rel=0.02)
    assert methods["DoRA"]["trained"] == count + layers * outputs


def test_a_run_that_exists_is_not_repeated_and_gives_the_same_results(quick, results):
    runs = {path: path.stat().st_mtime_ns for path in (quick / "out" / "runs").glob("*/answer.json")}
    assert len(runs) == 2 * 8 * 2
    again = next(iter(runs))
    again.unlink()  # as if it had been broken off
    assert run_quick(*flags(quick)).returncode == 0
    assert {path for path in runs if path.stat().st_mtime_ns != runs[path]} == {again}
    assert json.loads((quick / "out" / "results.json").read_text())["tasks"] == results["tasks"]


def test_the_page_has_the_methods_in_order_with_their_rates(quick, results):
    page = (quick / "page.md").read_text()
    assert "Not measured yet" not in page
    assert (quick / "page" / "results.json").exists()
    for task in results["tasks"].values():
        losses = [f"{method['losses'][0]:.3f}" for method in task["methods"].values()]
        places = [page.index(f"| 0.02 (an end) | {loss}") for loss in sorted(losses)]
        assert places == sorted(places)


def test_a_better_rate_is_looked_for_beyond_the_end_of_the_grid():
    assert quality_experiment.next_rate({5e-3: 1.0, 1e-2: 1.2, 2e-2: 1.3}) == 2e-3
    assert quality_experiment.next_rate({5e-3: 1.2, 1e-2: 1.1, 2e-2: 1.0}) == 5e-2
    assert quality_experiment.next_rate({5e-3: 1.2, 1e-2: 1.0, 2e-2: 1.1}) is None
    assert quality_experiment.next_rate({1.0: 1.2, 2.0: 1.0}) is None


def test_differences_from_lora_are_taken_seed_by_seed():
    task = {"methods": {"LoRA": {"losses": [1.0, 2.0]}, "DoRA": {"losses": [1.5, 2.5]}}}
    assert plot_quality.over_lora(task, "DoRA") == [0.5, 0.5]


def test_quick_figures_cannot_replace_the_page():
    result = run_quick("--page", SOURCE_DIR / "docs" / "results.md")
    assert result.returncode == 2
    assert "must not replace" in result.stderr
