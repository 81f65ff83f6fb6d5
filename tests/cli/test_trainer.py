"""What `shira train` offers around the steps: best checkpoints, early stopping, samples, event files, pictures, going
on from an adapter, hooks, packing, dry runs, the summary."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest
from conftest import SHIRA_BIN, SOURCE_DIR, checkpoint, failure_of, run_json, run_shira
from train_helpers import (
    RECORDS,
    TEXT,
    metrics_of,
    read_adapter,
    train,
    training_records,
    write_config,
    write_records,
    write_text,
)

EVALUATED = {"val_set_size": 3, "eval_steps": 2, "sequence_len": 24, "micro_batch_size": 2}
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base():
    return checkpoint("llama2")


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path)


def evaluations(out):
    return {r["step"]: r["eval_loss"] for r in metrics_of(out) if "eval_loss" in r}


# ------------------------------------------------------------------------- best checkpoint, early stopping


@pytest.fixture(scope="module")
def overfitted(base, tmp_path_factory):
    """A rate so high that the held-out loss rises again: (answer, directory, keys)."""
    directory = tmp_path_factory.mktemp("overfitted")
    keys = EVALUATED | {
        "base_model": str(base),
        "datasets": write_text(directory),
        "learning_rate": 0.3,
        "lr_scheduler": "constant",
        "max_steps": 60,
        "early_stopping_patience": 2,
        "save_total_limit": 1,
    }
    return train(directory / "run", **keys), directory / "run" / "out", keys


def test_early_stopping_ends_after_the_patience(overfitted):
    answer, out, _ = overfitted
    losses = evaluations(out)
    best = min((loss, step) for step, loss in losses.items() if step > 0)[1]
    assert answer["stopped_early"] is True
    assert answer["step"] == best + 2 * EVALUATED["eval_steps"] < 60
    assert (answer["best_step"], answer["best_eval_loss"]) == (best, losses[best])


def test_the_result_is_the_best_checkpoint_which_is_kept(overfitted):
    answer, out, _ = overfitted
    names = sorted(path.name for path in out.glob("checkpoint-*"))
    best, last = f"checkpoint-{answer['best_step']}", f"checkpoint-{answer['step']}"
    assert names == sorted({best, last})
    assert (out / ADAPTER).read_bytes() == (out / best / ADAPTER).read_bytes()
    assert (out / ADAPTER).read_bytes() != (out / last / ADAPTER).read_bytes()


def test_without_the_best_the_result_is_the_last_step(overfitted, tmp_path):
    answer = train(tmp_path / "run", **overfitted[2] | {"load_best_model_at_end": False})
    out = tmp_path / "run" / "out"
    last = out / f"checkpoint-{answer['step']}"
    assert (out / ADAPTER).read_bytes() == (last / ADAPTER).read_bytes()
    assert answer["step"] == overfitted[0]["step"]


def test_resuming_a_run_that_stopped_early_changes_nothing(overfitted, tmp_path):
    answer, out, keys = overfitted
    before = (out / ADAPTER).read_bytes()
    config = write_config(tmp_path / "c.yaml", **keys | {"output_dir": str(out)})
    assert run_json("train", config, "--resume")["step"] == answer["step"]
    assert (out / ADAPTER).read_bytes() == before


# -------------------------------------------------------------------------- samples, event files, pictures


@pytest.fixture(scope="module")
def told(base, tmp_path_factory):
    """A run that tells all it can: its directory."""
    directory = tmp_path_factory.mktemp("told")
    keys = EVALUATED | {
        "base_model": str(base),
        "datasets": write_text(directory),
        "max_steps": 6,
        "sample_prompts": ["The dog", "Nobody saw"],
        "report_to": "tensorboard",
    }
    train(directory, **keys)
    return directory / "out"


def test_samples_are_logged_at_every_evaluation(told, base):
    samples = [(r["step"], r["prompt"]) for r in metrics_of(told) if "sample" in r]
    assert samples == [(s, p) for s in (0, 2, 4, 6) for p in ("The dog", "Nobody saw")]
    last = [r for r in metrics_of(told) if "sample" in r][-2]
    flags = ("--prompt", "The dog", "--max_new_tokens", 64)
    answer = run_json("generate", "--base_model", base, "--adapter", told, *flags)
    assert last["sample"] == answer["text"]


def test_samples_without_a_validation_split(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text, "max_steps": 3, "sample_prompts": ["The"]}
    train(tmp_path / "run", **keys)
    records = metrics_of(tmp_path / "run" / "out")
    assert [r["step"] for r in records if "sample" in r] == [0, 3]


def test_tensorboard_reads_what_the_metrics_file_has(told):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(told / "tensorboard"))
    events.Reload()
    for tag, key in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
        expected = {r["step"]: r[key] for r in training_records(told)}
        assert {e.step: e.value for e in events.Scalars(tag)} == pytest.approx(expected, rel=1e-6)
    assert {e.step: e.value for e in events.Scalars("eval/loss")} == pytest.approx(evaluations(told))
    assert [e.step for e in events.Tensors("sample/The dog")] == [0, 2, 4, 6]


def test_tensorboard_of_a_resumed_run_has_every_step_once(base, text, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    keys = EVALUATED | {"base_model": str(base), "datasets": text, "report_to": "tensorboard"}
    keys |= {"max_steps": 8, "save_steps": 2, "save_total_limit": 0}
    config = write_config(tmp_path / "c.yaml", **keys)
    run_shira("train", config)
    for step in (6, 8):  # as if it had been killed before it saved them
        shutil.rmtree(tmp_path / "out" / f"checkpoint-{step}")
    assert run_json("train", config, "--resume")["step"] == 8
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, 9))
    assert [r["step"] for r in training_records(tmp_path / "out")] == list(range(1, 9))


def test_a_picture_of_the_losses(told):
    from PIL import Image

    with Image.open(told / "loss.png") as picture:
        assert picture.width > 400 and picture.height > 250
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert len(colours) > 3  # background, text, two lines


# ----------------------------------------------------------------------------------------- adapter_dir


def test_going_on_from_an_adapter(base, text, tmp_path):
    keys = EVALUATED | {"base_model": str(base), "datasets": text, "max_steps": 6}
    first = train(tmp_path / "one", **keys)
    again = keys | {"adapter_dir": str(tmp_path / "one" / "out"), "shira_density": None}
    second = train(tmp_path / "two", **again)
    assert second["first_eval_loss"] == first["eval_loss"]
    assert second["eval_loss"] < first["eval_loss"]
    one, two = read_adapter(tmp_path / "one" / "out"), read_adapter(tmp_path / "two" / "out")
    assert {name: list(indices) for name, (indices, _) in one.items()} == {
        name: list(indices) for name, (indices, _) in two.items()
    }
    # An adapter of the base, not of the base with the first adapter on it.
    answer = run_json("train", tmp_path / "two" / "config.yaml", "--resume")
    assert answer["eval_loss"] == second["eval_loss"]
    prompt = ("--prompt", "The dog", "--max_new_tokens", 4)
    run_json("generate", "--base_model", base, "--adapter", tmp_path / "two" / "out", *prompt)


def test_an_adapter_of_another_base_is_refused(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text}
    train(tmp_path / "one", **keys)
    again = keys | {"adapter_dir": str(tmp_path / "one" / "out"), "shira_density": None}
    again["base_model"] = str(checkpoint("rms_norm_eps"))
    config = write_config(tmp_path / "c.yaml", **again)
    error = failure_of("train", config)
    assert "base" in error and not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------- hooks


def test_hooks_give_the_losses_of_packed_training(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text, "max_steps": 8}
    packed = train(tmp_path / "packed", **keys)
    hooked = train(tmp_path / "hooks", **keys, shira_training="hooks")
    losses = [
        [r["loss"] for r in training_records(tmp_path / name / "out")] for name in ("packed", "hooks")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert hooked["trained_parameters"] == packed["trained_parameters"]


def test_hooks_train_a_tied_head_which_cannot_be_packed(text, tmp_path):
    base = checkpoint("tied")
    keys = {"base_model": str(base), "datasets": text, "target_modules": ["q_proj", "lm_head"]}
    error = failure_of("train", write_config(tmp_path / "c.yaml", **keys))
    assert "tied" in error and "hooks" in error
    train(tmp_path / "run", **keys, shira_training="hooks")
    out = tmp_path / "run" / "out"
    assert "lm_head.weight" in read_adapter(out)
    prompt = ("--prompt", "The dog", "--max_new_tokens", 4)
    run_json("generate", "--base_model", base, "--adapter", out, *prompt)


def test_hooks_need_float32(text, tmp_path):
    base = checkpoint("llama2", dtype="bfloat16")
    keys = {"base_model": str(base), "datasets": text, "shira_training": "hooks"}
    error = failure_of("train", write_config(tmp_path / "c.yaml", **keys))
    assert "float32" in error
    train(tmp_path / "run", **keys, base_dtype="float32")


# ------------------------------------------------------------------------------------------- packing


def test_packing_trains_on_the_same_terms(base, tmp_path):
    """All samples in one step: packed or padded, the loss is the mean over the same terms."""
    keys = {
        "base_model": str(base),
        "datasets": write_records(tmp_path, RECORDS),
        "sequence_len": 256,
        "micro_batch_size": 100,
        "max_steps": 5,
        "lr_scheduler": "constant",
    }
    train(tmp_path / "padded", **keys)
    train(tmp_path / "packed", **keys, sample_packing=True)
    losses = [
        [r["loss"] for r in training_records(tmp_path / name / "out")]
        for name in ("padded", "packed")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


# ------------------------------------------------------------------------------------------- dry runs


def test_dry_run_tells_and_writes_nothing(base, tmp_path):
    keys = {
        "base_model": str(base),
        "datasets": write_records(tmp_path, RECORDS),
        "sequence_len": 256,
        "micro_batch_size": 2,
        "max_steps": None,
        "num_epochs": 2,
    }
    config = write_config(tmp_path / "c.yaml", **keys)
    answer = run_json("train", config, "--dry_run")
    assert not (tmp_path / "out").exists()
    assert answer["training_samples"] == len(RECORDS) == 7
    assert answer["total_steps"] == 2 * 4
    assert len(answer["batch"]) == 2
    for sample in answer["batch"]:
        assert sample["text"].startswith("Below is an instruction")
        assert sample["trained_text"] in sample["text"]
        assert 0 < sample["trained_tokens"] < sample["tokens"]
    trained = run_json("train", config)
    assert trained["trained_parameters"] == answer["trained_parameters"]
    assert trained["total_steps"] == answer["total_steps"]
    assert sum(t["trained"] for t in answer["tensors"]) == answer["trained_parameters"]


def test_dry_run_of_an_adapter_that_is_trained_on(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text}
    first = train(tmp_path / "one", **keys, shira_mask="rand")
    again = keys | {"adapter_dir": str(tmp_path / "one" / "out"), "shira_density": None}
    config = write_config(tmp_path / "c.yaml", **again)
    answer = run_json("train", config, "--dry_run")
    assert answer["trained_parameters"] == first["trained_parameters"]
    run_shira("train", config)
    described = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert described["mask_type"] == "rand"


@pytest.mark.parametrize("mask", ["struct", "rand", "wm", "grad", "snip"])
def test_dry_run_counts_every_mask(base, text, tmp_path, mask):
    keys = {"base_model": str(base), "datasets": text, "shira_mask": mask}
    config = write_config(tmp_path / "c.yaml", **keys)
    counted = run_json("train", config, "--dry_run")["trained_parameters"]
    assert run_json("train", config)["trained_parameters"] == counted


def peak_memory_of(*args):
    """Bytes, from the operating system."""
    process = subprocess.Popen([str(SHIRA_BIN), *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapter", ["shira", "lora", "dora", "wm_dora", "full"])
def test_the_memory_estimate_is_about_what_a_run_takes(base, tmp_path, adapter, checkpointing):
    keys = {"base_model": str(base), "datasets": write_text(tmp_path, TEXT * 40), "adapter": adapter}
    keys |= {"sequence_len": 256, "micro_batch_size": 64, "max_steps": 1}
    keys |= {"gradient_checkpointing": checkpointing}
    if adapter in ("lora", "dora", "wm_dora"):
        keys["lora_r"] = 8
    if adapter in ("lora", "dora"):
        keys["shira_density"] = None
    config = write_config(tmp_path / "c.yaml", **keys)
    estimate = run_json("train", config, "--dry_run")["memory_bytes"]["total"]
    program = peak_memory_of("tokenize", "--base_model", base, "text")
    assert 0.7 < estimate / (peak_memory_of("train", config) - program) < 1.4


def test_dry_run_for_people(base, text, tmp_path):
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=text)
    output = run_shira("train", config, "--dry_run").stdout
    for word in ("q_proj.weight", "trained parameters:", "memory, about:", "first batch:", "The dog"):
        assert word in output


# ------------------------------------------------------------------------------------------- summary


def test_the_summary_ends_with_a_command_that_works(base, text, tmp_path):
    keys = EVALUATED | {"base_model": str(base), "datasets": text}
    config = write_config(tmp_path / "c.yaml", **keys)
    lines = run_shira("train", config).stdout.splitlines()
    values = dict(line.split(":", 1) for line in lines[1:])
    for key in ("speed", "trained parameters", "held-out loss", "peak memory", "adapter"):
        assert values[key].strip()
    assert "loss.png" in values["files there"] and "config.yaml" in values["files there"]
    command = shlex.split(values["next"])
    command[0] = str(SOURCE_DIR / command[0]) if not command[0].startswith("/") else command[0]
    result = subprocess.run(command, capture_output=True, text=True, cwd=SOURCE_DIR)
    assert result.returncode == 0, result.stderr


def test_the_summary_in_numbers(base, text, tmp_path):
    answer = train(tmp_path / "run", base_model=str(base), datasets=text)
    assert answer["step_seconds"] > 0 and answer["tokens_per_second"] > 0
    assert answer["peak_memory_bytes"] > 1e7
    assert answer["result_bytes"] == (tmp_path / "run" / "out" / ADAPTER).stat().st_size


# ------------------------------------------------------------------------------- resuming from a checkpoint


@pytest.fixture
def branched(base, text, tmp_path):
    """A finished run with all its checkpoints: (configuration, directory)."""
    keys = {"base_model": str(base), "datasets": text, "max_steps": 6, "save_steps": 2}
    config = write_config(tmp_path / "c.yaml", **keys, save_total_limit=0)
    run_shira("train", config)
    return config, tmp_path / "out"


def branch(config, out, step, target, *flags):
    settings = (f"resume_from_checkpoint={out / f'checkpoint-{step}'}", f"output_dir={target}")
    return ("train", config, *(part for s in settings for part in ("--set", s)), *flags)


def test_branching_off_from_an_older_checkpoint(branched, tmp_path):
    config, out = branched
    target = tmp_path / "branch"
    assert run_json(*branch(config, out, 2, target))["step"] == 6
    assert (target / ADAPTER).read_bytes() == (out / ADAPTER).read_bytes()
    assert [r["step"] for r in training_records(target)] == [3, 4, 5, 6]
    # From then on it is a run of its own: its newest checkpoint counts.
    shutil.rmtree(target / "checkpoint-6")
    result = run_shira(*branch(config, out, 2, target, "--resume"))
    assert f"resumed from {target / 'checkpoint-4'}" in result.stderr


def test_branching_off_into_a_run_is_refused(branched):
    config, out = branched
    before = sorted(path.name for path in out.iterdir())
    error = failure_of(*branch(config, out, 2, out))
    assert "already holds a run" in error
    assert sorted(path.name for path in out.iterdir()) == before


def test_a_checkpoint_that_is_not_there(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text}
    config = write_config(tmp_path / "c.yaml", **keys, resume_from_checkpoint=str(tmp_path / "no"))
    error = failure_of("train", config)
    assert str(tmp_path / "no") in error and "resume_from_checkpoint" in error
    assert not (tmp_path / "out").exists()


def test_a_second_run_in_the_same_directory_is_refused(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text, "max_steps": 100000}
    config = write_config(tmp_path / "c.yaml", **keys)
    first = subprocess.Popen(
        [str(SHIRA_BIN), "train", str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while not (tmp_path / "out" / "metrics.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.01)
        assert "another run" in failure_of("train", config, "--resume")
    finally:
        first.send_signal(signal.SIGINT)
        stdout, _ = first.communicate()
    command = shlex.split(stdout.decode().rsplit("next:", 1)[1])
    assert command[1:] == ["train", str(tmp_path / "out" / "config.yaml"), "--resume"]


def test_a_place_that_cannot_be_written_is_noticed_first(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text, "output_dir": "/proc/1/out"}
    error = failure_of("train", write_config(tmp_path / "c.yaml", **keys), rc=2)
    assert "output_dir /proc/1/out" in error
