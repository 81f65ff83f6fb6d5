"""`shira train --resume`: whatever ended a run, continuing it gives what the uninterrupted run gives, byte for byte."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from conftest import SHIRA_BIN, TIMEOUT, checkpoint, failure_of, run_json, run_shira
from train_helpers import TEXT, metrics_of, write_config, write_text

STEPS = 40
# Windows of logging, evaluation, saving, accumulation and epochs that all end at different steps.
KEYS = {
    "max_steps": STEPS,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "sequence_len": 24,
    "val_set_size": 3,
    "weight_decay": 0.1,
    "warmup_steps": 5,
    "logging_steps": 3,
    "eval_steps": 10,
    "save_steps": 4,
}
# Whatever a run can do besides: packed samples of uneven length, another part of a set in each epoch, masks from
# gradients in several passes, the best checkpoint, samples, event files.
EVERYTHING = KEYS | {
    "sample_packing": True,
    "shira_mask": "snip",
    "shira_calibration_batches": 3,
    "shira_calibration_memory": 1e-5,
    "load_best_model_at_end": True,
    "early_stopping_patience": 50,
    "sample_prompts": ["The dog"],
    "report_to": "tensorboard",
}
KINDS = {
    "shira": KEYS,
    "full": KEYS | {"adapter": "full"},
    "hooks": KEYS | {"shira_training": "hooks", "weight_decay": 0.0},
    "everything": EVERYTHING,
    "dora": KEYS | {"adapter": "dora", "shira_density": None, "lora_r": 3, "lora_dropout": 0.2},
    "wm_dora": KEYS | {"adapter": "wm_dora", "lora_r": 8},
    "evaluating": KEYS | {"val_set_size": 0.8, "eval_steps": 2},  # most of the time is evaluation
}


def uneven_records(directory):
    path = directory / "uneven.jsonl"
    texts = [TEXT[i * 40 : i * 45 + 10] for i in range(24)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [{"path": str(path), "type": "completion", "weight": 0.5}]


class Run:
    """One configuration, run into many directories."""

    def __init__(self, directory, kind):
        self.result = "model.safetensors" if kind == "full" else "adapter_model.safetensors"
        self.directory = directory
        datasets = write_text(directory)
        if kind == "everything":
            datasets += uneven_records(directory)
        keys = {"base_model": str(checkpoint("llama2")), "datasets": datasets}
        self.config = write_config(directory / "c.yaml", **keys | KINDS[kind])
        self.whole = directory / "whole"
        run_shira(*self.command(self.whole))

    def command(self, out, *flags):
        return ("train", self.config, "--set", f"output_dir={out}", *flags)

    def start(self, out, *flags):
        return subprocess.Popen(
            [str(SHIRA_BIN), *map(str, self.command(out, *flags))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )

    def resume(self, out):
        return run_json(*self.command(out, "--resume"))

    def assert_same_as_whole(self, out):
        name = self.result
        assert (out / name).read_bytes() == (self.whole / name).read_bytes()
        assert comparable(metrics_of(out)) == comparable(metrics_of(self.whole))
        assert not list(out.rglob("*.tmp"))


def comparable(records):
    clocks = ("tokens_per_second", "train_seconds")
    return [{k: v for k, v in record.items() if k not in clocks} for record in records]


@pytest.fixture(scope="module", params=["shira", "full", "everything", "dora"])
def run(request, tmp_path_factory):
    return Run(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module", params=["hooks", "evaluating", "wm_dora"])
def other_run(request, tmp_path_factory):
    return Run(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def shira_run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("shira_only"), "shira")


@pytest.fixture
def interrupted(shira_run, tmp_path):
    """Directory of a run that was interrupted in the middle, with two checkpoints."""
    out = tmp_path / "out"
    code, _, stderr = interrupt(shira_run, out, lambda: len(checkpoints(out)) >= 2, signal.SIGTERM)
    assert code == 143, stderr
    assert len(checkpoints(out)) == 2
    return out


def steps_logged(out):
    """The last step in metrics.jsonl; -1 when there is none."""
    try:
        lines = (out / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines), default=-1)
    except (FileNotFoundError, ValueError):
        return -1


def wait_for(process, condition):
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def interrupt(run, out, condition, number):
    """The exit code, stdout and stderr of a run that got a signal when `condition()` came true.

    A run that was over by then, on a busy machine, is made anew.
    """
    for _ in range(5):
        process = run.start(out, "--json")
        wait_for(process, condition)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        if process.returncode != 0:
            return process.returncode, stdout, stderr
        shutil.rmtree(out)
    raise AssertionError("the run was always over before the signal came")


def checkpoints(out):
    """Names of the checkpoints, by step."""
    found = [path.name for path in out.glob("checkpoint-*") if path.suffix != ".tmp"]
    return sorted(found, key=lambda name: int(name.split("-")[1]))


# ----------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_and_resume_equals_the_whole(run, tmp_path, number, code):
    out = tmp_path / "out"
    moment = random.randrange(3, 28)
    returned, stdout, stderr = interrupt(run, out, lambda: steps_logged(out) >= moment, number)
    assert returned == code, f"moment {moment}\n{stderr}"
    answer = json.loads(stdout)
    assert answer["interrupted"] is True and moment <= answer["step"] < STEPS
    assert checkpoints(out)[-1] == f"checkpoint-{answer['step']}"
    assert not (out / run.result).exists(), "only a finished run has a result"
    assert run.resume(out)["step"] == STEPS
    run.assert_same_as_whole(out)


def test_a_signal_in_an_evaluation_or_with_hooks(other_run, tmp_path):
    test_signal_saves_and_resume_equals_the_whole(other_run, tmp_path, signal.SIGTERM, 143)


def interrupt_and_resume(run, out, process, signals):
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode in (130, -signal.SIGINT)
    run.resume(out)
    run.assert_same_as_whole(out)


def test_second_signal_ends_at_once_and_loses_nothing_saved(shira_run, tmp_path):
    out = tmp_path / "out"
    process = shira_run.start(out)
    wait_for(process, lambda: bool(checkpoints(out)))
    interrupt_and_resume(shira_run, out, process, signals=2)


def test_interrupt_before_the_first_step(shira_run, tmp_path):
    """While the model loads the signal has its default effect; nothing is left that resuming minds."""
    out = tmp_path / "out"
    process = shira_run.start(out)
    time.sleep(random.uniform(0.0, 0.3))
    interrupt_and_resume(shira_run, out, process, signals=1)


# ----------------------------------------------------------------------------------------- kill -9


def test_killed_again_and_again(run, tmp_path):
    """Each attempt is killed some steps on, now and then in the middle of a save or at the start."""
    out = tmp_path / "out"
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    kills = 0
    for _ in range(40):
        process = run.start(out, "--resume")
        begin = steps_logged(out)
        if kills % 4 == 3:
            time.sleep(moments.uniform(0.0, 0.5))
        else:
            goal = begin + moments.randrange(6, 14)
            wait_for(process, lambda goal=goal: steps_logged(out) >= goal)
            time.sleep(moments.uniform(0.0, 0.05))
        process.kill()
        _, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode in (0, -signal.SIGKILL), f"seed {seed}\n{stderr}"
        if process.returncode == 0:
            break
        kills += 1
        if kills == 6:
            break
    assert kills >= 2, f"seed {seed}"
    run.resume(out)
    run.assert_same_as_whole(out)


def test_killed_while_saving(run, tmp_path):
    """The moment a checkpoint's temporary directory shows up."""
    out = tmp_path / "out"
    process = run.start(out)
    wait_for(process, lambda: any(out.glob("checkpoint-*.tmp")))
    process.kill()
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGKILL
    run.resume(out)
    run.assert_same_as_whole(out)


# --------------------------------------------------------------------------- what lies in the directory


def files_of(out):
    """Contents by name; each start adds an event file of its own."""
    files = [path for path in out.rglob("*") if path.is_file() and "tensorboard" not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_resume_of_a_finished_run_changes_nothing(run, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(run.whole, out)
    before = files_of(out)
    before.pop("config.yaml")  # names its output_dir
    answer = run.resume(out)
    assert answer["step"] == STEPS and answer["interrupted"] is False
    records = metrics_of(run.whole)
    assert answer["first_eval_loss"] == records[0]["eval_loss"]
    assert answer["eval_loss"] == [r["eval_loss"] for r in records if "eval_loss" in r][-1]
    after = files_of(out)
    after.pop("config.yaml")
    assert after == before


def test_resume_writes_the_result_that_was_not_written(shira_run, tmp_path):
    """Killed between the last checkpoint and the result."""
    out = tmp_path / "out"
    shutil.copytree(shira_run.whole, out)
    (out / "adapter_model.safetensors").unlink()
    (out / "adapter_config.json").unlink()
    shira_run.resume(out)
    shira_run.assert_same_as_whole(out)


def test_resume_without_a_checkpoint_starts(shira_run, tmp_path):
    out = tmp_path / "out"
    assert shira_run.resume(out)["step"] == STEPS
    shira_run.assert_same_as_whole(out)


def test_resume_with_other_data_is_refused(shira_run, interrupted, tmp_path):
    before = files_of(interrupted)
    datasets = write_text(tmp_path, TEXT.replace("harbour", "village"))
    flags = ("--resume", "--set", f"datasets={json.dumps(datasets)}")
    error = failure_of(*shira_run.command(interrupted, *flags))
    assert "training data: other samples" in error and "checkpoint-" in error
    assert files_of(interrupted) == before


def test_resume_with_another_base_is_refused(shira_run, interrupted):
    before = files_of(interrupted)
    flags = ("--resume", "--set", f"base_model={checkpoint('rms_norm_eps')}")
    assert "base" in failure_of(*shira_run.command(interrupted, *flags))
    assert files_of(interrupted) == before


@pytest.mark.parametrize(
    "change",
    [
        "micro_batch_size=3",
        "optimizer=sgd",
        "target_modules=[q_proj]",
        "adapter=full",
        "seed=7",
        "shira_density=0.04",
        "max_steps=5",
    ],
)
def test_resume_with_another_configuration_is_refused(shira_run, interrupted, change):
    before = files_of(interrupted)
    flags = ["--resume", "--set", change]
    if change == "adapter=full":
        flags += ["--set", "shira_density="]
    failure_of(*shira_run.command(interrupted, *flags))
    assert files_of(interrupted) == before


def test_files_of_others_are_left_alone(shira_run, interrupted):
    (interrupted / "notes.tmp").write_text("mine")
    (interrupted / "precious.tmp").mkdir()
    shira_run.resume(interrupted)
    assert (interrupted / "notes.tmp").read_text() == "mine"
    assert (interrupted / "precious.tmp").is_dir()


def test_changed_schedule_is_warned_about(shira_run, interrupted):
    flags = ("--resume", "--set", "learning_rate=1e-3")
    result = run_shira(*shira_run.command(interrupted, *flags))
    assert "warning" in result.stderr and "learning rate schedule" in result.stderr


def test_more_steps_can_be_added(shira_run, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(shira_run.whole, out)
    flags = ("--resume", "--set", f"max_steps={STEPS + 6}")
    assert run_json(*shira_run.command(out, *flags))["step"] == STEPS + 6
    steps = [record["step"] for record in metrics_of(out) if "loss" in record]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS + 6


def test_leftovers_of_a_killed_run_are_ignored_and_removed(shira_run, interrupted):
    newest = interrupted / checkpoints(interrupted)[-1]
    for name in ("checkpoint-39.4194305-77.tmp", "checkpoint-38.tmp"):
        shutil.copytree(newest, interrupted / name)
    (interrupted / "config.yaml.4194305-77.tmp").write_text("half a")
    with open(interrupted / "metrics.jsonl", "a") as file:
        file.write('{"step": 31, "loss": 1.0}\n{"step": 34, "lo')
    shira_run.resume(interrupted)
    shira_run.assert_same_as_whole(interrupted)


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "trainer_state.safetensors", "adapter_model.safetensors"]
)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_truncated_checkpoint_is_one_clear_error(shira_run, interrupted, name, share):
    older, newest = (interrupted / checkpoint for checkpoint in checkpoints(interrupted))
    content = (newest / name).read_bytes()
    (newest / name).write_bytes(content[: int(share * len(content))])
    error = failure_of(*shira_run.command(interrupted, "--resume"), rc=1)
    assert str(newest / name) in error
    assert error.count("error:") == 1
    shutil.rmtree(newest)  # what the message proposes: the one before goes on
    shira_run.resume(interrupted)
    assert older.name not in checkpoints(interrupted)
    shira_run.assert_same_as_whole(interrupted)
