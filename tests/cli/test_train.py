"""`shira train`: loss curves against torch and transformers, data sets, schedules, precision and what must be refused."""

import json
import math
import os
import re
import resource
import shutil
import subprocess

import numpy
import pytest
from conftest import SHIRA_BIN, checkpoint, failure_of, run_json, run_shira
from train_helpers import (
    RECORDS,
    TEXT,
    instructions,
    merge,
    metrics_of,
    read_adapter,
    read_weights,
    reference,
    reference_schedules,
    reference_training,
    train,
    training_records,
    windows,
    write_config,
    write_records,
    write_text,
)


@pytest.fixture(scope="module")
def base():
    return checkpoint("llama2")


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path)


# ------------------------------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    """(directory, result) of a run with everything switched on; nothing to be changed in it."""
    directory = tmp_path_factory.mktemp("finished")
    config = write_config(
        directory / "config.yaml",
        base_model=str(base),
        datasets=write_text(directory),
        val_set_size=0.2,
        max_steps=24,
        learning_rate=2e-2,
        warmup_ratio=0.1,
        gradient_accumulation_steps=2,
        micro_batch_size=2,
        logging_steps=5,
        eval_steps=10,
        save_steps=10,
    )
    return directory, run_shira("train", config, "--json")


def test_training_lowers_the_held_out_loss(finished):
    answer = finished[1].json
    assert answer["eval_loss"] < answer["first_eval_loss"] - 0.3
    assert answer["step"] == answer["total_steps"] == 24 and answer["interrupted"] is False
    assert 0 < answer["trained_parameters"] < 0.05 * answer["total_parameters"]


def test_metrics(finished):
    directory, result = finished
    records = metrics_of(directory / "out")
    assert [r["step"] for r in records if "loss" in r] == [5, 10, 15, 20, 24]
    assert [r["step"] for r in records if "eval_loss" in r] == [0, 10, 20, 24]
    for record in records:
        if "loss" in record:
            assert record.keys() >= {
                "step",
                "epoch",
                "loss",
                "learning_rate",
                "grad_norm",
                "tokens_per_second",
                "train_seconds",
            }
        else:
            assert record["eval_perplexity"] == pytest.approx(math.exp(record["eval_loss"]))
    evaluations = [r["eval_loss"] for r in records if "eval_loss" in r]
    assert evaluations[0] == result.json["first_eval_loss"]
    assert evaluations[-1] == result.json["eval_loss"]


def test_run_directory(finished):
    out = finished[0] / "out"
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint-20",
        "checkpoint-24",
        "config.yaml",
        "loss.png",
        "metrics.jsonl",
    }
    last = out / "checkpoint-24" / "adapter_model.safetensors"
    assert last.read_bytes() == (out / "adapter_model.safetensors").read_bytes()


def test_progress_without_a_terminal_is_plain_lines(finished):
    stderr = finished[1].stderr
    assert "\r" not in stderr and "\x1b" not in stderr
    steps = re.findall(r"^step (\d+)/24  loss \d+\.\d+  \S+ tokens/s", stderr, re.MULTILINE)
    assert steps == ["5", "10", "15", "20", "24"]


def test_saved_config_gives_the_same_adapter_again(finished, tmp_path):
    out = finished[0] / "out"
    run_shira("config", "validate", out / "config.yaml")
    run_shira("train", out / "config.yaml", "--set", f"output_dir={tmp_path / 'again'}")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_summary_for_people(base, text, tmp_path):
    config = write_config(
        tmp_path / "c.yaml", base_model=str(base), datasets=text, max_steps=2, val_set_size=2
    )
    summary = run_shira("train", config).stdout
    assert "trained 2 of 2 steps" in summary
    assert re.search(r"trained parameters: \d+ of \d+", summary)
    assert re.search(r"held-out loss: +\d\.\d+ before, \d\.\d+ after", summary)
    assert str(tmp_path / "out") in summary


def test_adapter_improves_the_model_it_is_put_on(finished, base, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    flags = ("--base_model", base, "--text", tmp_path / "text.txt", "--window", 32)
    before = run_json("eval", *flags)
    after = run_json("eval", *flags, "--adapter", finished[0] / "out")
    assert after["nll"] < before["nll"] - 0.3


# ------------------------------------------------- ten steps against torch's optimiser on transformers

CURVES = {
    "full, linear, warm-up": {
        "adapter": "full",
        "learning_rate": 2e-3,
        "warmup_steps": 3,
        "weight_decay": 0.1,
    },
    "full, sgd, constant": {
        "adapter": "full",
        "optimizer": "sgd",
        "lr_scheduler": "constant",
        "learning_rate": 0.1,
        "weight_decay": 0.05,
        "max_grad_norm": 0,
    },
    "shira, wm, linear, warm-up": {
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "weight_decay": 0.5,
        "max_grad_norm": 0.3,
    },
    "shira, rand, cosine": {
        "shira_mask": "rand",
        "lr_scheduler": "cosine",
        "learning_rate": 1e-2,
        "max_grad_norm": 1000.0,
    },
    "shira, q_proj and down_proj, sgd": {
        "target_modules": ["q_proj", "down_proj"],
        "optimizer": "sgd",
        "learning_rate": 1.0,
    },
}


def assert_equals_torch(base, directory, samples, keys):
    """Trains ten steps, each on all samples (so their order cannot matter), and holds the curve to torch's."""
    train(directory, base_model=str(base), num_epochs=10, max_steps=None, **keys)
    out = directory / "out"
    is_full = keys.get("adapter") == "full"
    adapter = {} if is_full else read_adapter(out)
    assert is_full or adapter
    expected = reference(
        base,
        reference_training,
        samples=samples,
        steps=10,
        lr=keys["learning_rate"],
        scheduler={"constant": "constant_with_warmup"}.get(
            keys.get("lr_scheduler"), keys.get("lr_scheduler", "linear")
        ),
        warmup=keys.get("warmup_steps", 0),
        weight_decay=keys.get("weight_decay", 0.0),
        clip=keys.get("max_grad_norm", 1.0),
        optimizer=keys.get("optimizer", "adamw"),
        masks={name: indices.tolist() for name, (indices, _) in adapter.items()} or None,
    )
    records = training_records(out)
    assert len(records) == 10
    for key, tolerance in (("loss", 1e-4), ("grad_norm", 1e-3), ("learning_rate", 1e-12)):
        assert [r[key] for r in records] == pytest.approx(expected[key], rel=tolerance), key
    assert records[-1]["loss"] < records[0]["loss"] - 0.01, "the curve shows nothing"
    base_weights = read_weights(base)
    for name, (indices, values) in adapter.items():
        trained, start = values.array(), base_weights[name].array()[indices]
        moved = numpy.abs(trained - start).max()
        assert moved > 0
        assert numpy.abs(trained - expected["weights"][name]).max() <= 2e-3 * moved, name


@pytest.mark.parametrize("name", CURVES)
def test_ten_steps_on_text(base, text, tmp_path, name):
    samples = windows(base, TEXT, 48)
    assert len(samples[-1][0]) < 48, "the last window should be shorter"
    keys = {"datasets": text, "sequence_len": 48, "micro_batch_size": len(samples)}
    assert_equals_torch(base, tmp_path / "run", samples, keys | CURVES[name])


@pytest.mark.parametrize("variant", ["mistral", "qwen2_sliding", "qwen3", "rope_dynamic"])
@pytest.mark.parametrize("packed", [False, True])
def test_ten_steps_of_the_relatives(variant, packed, text, tmp_path):
    base = checkpoint(variant)
    samples = windows(base, TEXT, 48)
    keys = {"datasets": text, "sequence_len": 48, "micro_batch_size": len(samples), "sample_packing": packed}
    assert_equals_torch(base, tmp_path / "run", samples, keys | CURVES["shira, rand, cosine"])


@pytest.mark.parametrize("adapter", ["shira", "full"])
def test_accumulation_is_weighted_by_tokens(base, tmp_path, adapter):
    """Samples of unequal lengths in micro-batches that the shuffle fills differently each epoch."""
    samples = instructions(base, RECORDS, 200)
    counts = [sum(label != -100 for label in labels[1:]) for _, labels in samples]
    assert max(counts) > 4 * min(counts)
    keys = {
        "adapter": adapter,
        "datasets": write_records(tmp_path, RECORDS),
        "sequence_len": 200,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "learning_rate": 3e-3,
        "weight_decay": 0.1,
    }
    assert_equals_torch(base, tmp_path / "run", samples, keys)


# ------------------------------------------------------------------------------------------ alpaca


def first_loss(base, directory, **keys):
    train(directory, base_model=str(base), max_steps=1, micro_batch_size=16, **keys)
    return training_records(directory / "out")[0]["loss"]


@pytest.mark.parametrize("train_on_inputs", [False, True])
@pytest.mark.parametrize("name", ["records.jsonl", "records.json"])
def test_alpaca_prompts_carry_no_loss(base, tmp_path, train_on_inputs, name):
    samples = instructions(base, RECORDS, 200, train_on_inputs)
    expected = reference(base, reference_training, samples=samples, steps=1, lr=0.0)["loss"][0]
    loss = first_loss(
        base,
        tmp_path / "run",
        datasets=write_records(tmp_path, RECORDS, name),
        sequence_len=200,
        train_on_inputs=train_on_inputs,
    )
    assert loss == pytest.approx(expected, rel=1e-4)


def test_alpaca_samples_are_cut_at_sequence_len(base, tmp_path):
    """A sample whose prompt fills the window has nothing to learn and is left out, with a word about it."""
    kept = {length: instructions(base, RECORDS, length) for length in (110, 140)}
    length = next(n for n, samples in kept.items() if 0 < len(samples) < len(RECORDS))
    expected = reference(base, reference_training, samples=kept[length], steps=1, lr=0.0)["loss"][0]
    config = write_config(
        tmp_path / "c.yaml",
        base_model=str(base),
        datasets=write_records(tmp_path, RECORDS),
        sequence_len=length,
        micro_batch_size=16,
        max_steps=1,
    )
    stderr = run_shira("train", config).stderr
    left_out = len(RECORDS) - len(kept[length])
    assert f"{left_out} of {len(RECORDS)} samples left out" in stderr
    assert training_records(tmp_path / "out")[0]["loss"] == pytest.approx(expected, rel=1e-4)


def test_several_datasets_are_one(base, text, tmp_path):
    samples = instructions(base, RECORDS, 200) + windows(base, TEXT, 200)
    expected = reference(base, reference_training, samples=samples, steps=1, lr=0.0)["loss"][0]
    datasets = [*write_records(tmp_path, RECORDS), *text]
    train(
        tmp_path / "run",
        base_model=str(base),
        datasets=datasets,
        sequence_len=200,
        micro_batch_size=100,
        max_steps=1,
    )
    loss = training_records(tmp_path / "run" / "out")[0]["loss"]
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "bad, word",
    [
        ("{not json", "JSON"),
        ("[1, 2]", "object"),
        ('{"instruction": "x"}', "output"),
        ('{"output": "x"}', "instruction"),
        ('{"instruction": 7, "output": "x"}', "instruction"),
        ('{"instruction": "x", "output": ["y"]}', "output"),
        ('{"instruction": "x", "input": {}, "output": "y"}', "input"),
    ],
)
def test_malformed_record_is_named_by_file_and_line(base, tmp_path, bad, word):
    good = json.dumps(RECORDS[0])
    data = tmp_path / "data.jsonl"
    data.write_text(f"{good}\n\n{good}\n{bad}\n{good}\n")
    datasets = [{"path": str(data), "type": "alpaca"}]
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=datasets)
    error = failure_of("train", config)
    assert "data.jsonl:4" in error and word in error
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_malformed_record_of_a_list_is_named_by_number(base, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps([RECORDS[0], RECORDS[1], {"instruction": "no output"}]))
    datasets = [{"path": str(data), "type": "alpaca"}]
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=datasets)
    error = failure_of("train", config)
    assert "data.json" in error and "record 3" in error and "output" in error


@pytest.mark.parametrize("content", ["", "[]", "\n\n", "[{]", "\xff\xfe"])
def test_alpaca_file_without_records(base, tmp_path, content):
    data = tmp_path / "data.json"
    data.write_bytes(content.encode("latin-1"))
    datasets = [{"path": str(data), "type": "alpaca"}]
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=datasets)
    assert "data.json" in failure_of("train", config, rc=1)


def test_data_file_that_is_not_there(base, tmp_path):
    datasets = [{"path": str(tmp_path / "nowhere.txt"), "type": "text"}]
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=datasets)
    assert "nowhere.txt" in failure_of("train", config)


# --------------------------------------------------------------------------------------- schedules

NAMES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@pytest.mark.parametrize(
    "kind, optimizer", [("constant", "sgd"), ("linear", "adamw"), ("cosine", "sgd")]
)
def test_learning_rates_equal_transformers(base, text, tmp_path, kind, optimizer):
    expected = reference(
        base, reference_schedules, kinds=[*NAMES.values()], lr=3e-3, warmup=3, steps=13
    )
    train(
        tmp_path,
        base_model=str(base),
        datasets=text,
        optimizer=optimizer,
        lr_scheduler=kind,
        learning_rate=3e-3,
        warmup_ratio=0.2,  # of 13 steps: 2.6, rounded up
        max_steps=13,
        micro_batch_size=1,
        sequence_len=8,
    )
    rates = [record["learning_rate"] for record in training_records(tmp_path / "out")]
    assert rates == pytest.approx(expected[NAMES[kind]], rel=1e-12, abs=1e-18)


def test_num_epochs(base, tmp_path):
    """Seven windows in batches of two are four batches, in groups of three two steps an epoch."""
    train(
        tmp_path,
        base_model=str(base),
        datasets=write_text(tmp_path, "x y z " * 9),
        sequence_len=8,
        val_set_size=None,
        micro_batch_size=2,
        gradient_accumulation_steps=3,
        num_epochs=1.5,
        max_steps=None,
    )
    samples = windows(base, "x y z " * 9, 8)
    steps = math.ceil(math.ceil(len(samples) / 2) / 3)
    records = training_records(tmp_path / "out")
    assert [r["step"] for r in records] == list(range(1, math.ceil(1.5 * steps) + 1))
    assert records[-1]["epoch"] == pytest.approx(len(records) / steps)


# --------------------------------------------------------------------------------------- precision


def test_a_device_that_is_not_there(base, text, tmp_path):
    if pytest.importorskip("torch").cuda.is_available():
        pytest.skip("there is a CUDA device")
    config = write_config(tmp_path / "run.yaml", base_model=str(base), datasets=text, device="cuda")
    assert "device: cuda: there is no CUDA device" in failure_of("train", config, rc=2)


def test_float16_base_is_refused(text, tmp_path):
    half = checkpoint("llama2", "float16")
    config = write_config(tmp_path / "c.yaml", base_model=str(half), datasets=text)
    error = failure_of("train", config, rc=2)
    assert "base_dtype" in error and "float32" in error and "bfloat16" in error
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_float16_base_trains_in_another_dtype(text, tmp_path, base_dtype):
    half = checkpoint("llama2", "float16")
    train(tmp_path, base_model=str(half), datasets=text, base_dtype=base_dtype)
    dtype = {"float32": "F32", "bfloat16": "BF16"}[base_dtype]
    assert {values.dtype for _, values in read_adapter(tmp_path / "out").values()} == {dtype}


@pytest.mark.parametrize("dtype, code", [("bfloat16", "BF16"), ("float32", "F32")])
def test_exported_values_are_the_merged_weights(text, tmp_path, dtype, code):
    """Under the masks the merged checkpoint has the adapter's bits, everywhere else the base's."""
    base = checkpoint("llama2", dtype)
    train(tmp_path, base_model=str(base), datasets=text, max_steps=6, learning_rate=2e-2)
    adapter = read_adapter(tmp_path / "out")
    before = read_weights(base)
    after = read_weights(merge(base, tmp_path / "merged", tmp_path / "out"))
    assert after.keys() == before.keys()
    assert len(adapter) == 14, "all seven linear layers of two blocks"
    item = {"BF16": "<u2", "F32": "<u4"}[code]
    changed = 0
    for name, tensor in after.items():
        assert tensor.dtype == code and tensor.shape == before[name].shape
        expected = numpy.frombuffer(before[name].data, item).copy()
        if name in adapter:
            indices, values = adapter[name]
            assert values.dtype == code
            changed += (expected[indices] != numpy.frombuffer(values.data, item)).sum()
            expected[indices] = numpy.frombuffer(values.data, item)
            assert len(indices) == round(0.05 * len(expected))
        assert numpy.frombuffer(tensor.data, item).tobytes() == expected.tobytes(), name
    assert changed > 500


def test_wm_mask_has_the_largest_weights(text, tmp_path):
    base = checkpoint("llama2")
    weights = read_weights(base)
    taken = {}
    for band in (0, 1):
        directory = tmp_path / str(band)
        train(directory, base_model=str(base), datasets=text, max_steps=1, shira_wm_band=band)
        taken[band] = read_adapter(directory / "out")
    for name, (indices, _) in taken[0].items():
        # A stable sort by falling magnitude breaks ties by the lower index.
        order = numpy.argsort(-numpy.abs(weights[name].array()), kind="stable")
        count = len(indices)
        assert indices.tolist() == sorted(order[:count].tolist()), name
        assert taken[1][name][0].tolist() == sorted(order[count : 2 * count].tolist()), name


def test_full_training_keeps_the_checkpoints_dtype(text, tmp_path):
    base = checkpoint("llama2", "bfloat16")
    train(tmp_path, base_model=str(base), datasets=text, adapter="full", max_steps=2)
    before, after = read_weights(base), read_weights(tmp_path / "out")
    assert {name: (t.dtype, t.shape) for name, t in before.items()} == {
        name: (t.dtype, t.shape) for name, t in after.items()
    }
    assert all(before[name].data != after[name].data for name in before)
    run_shira("generate", "--base_model", tmp_path / "out", "--prompt", "x", "--max_new_tokens", 2)


def test_tied_head_cannot_be_packed(text, tmp_path):
    keys = {"base_model": str(checkpoint("tied")), "datasets": text}
    config = write_config(tmp_path / "c.yaml", target_modules=["lm_head"], **keys)
    error = failure_of("train", config, rc=2)
    assert "lm_head" in error and "embed_tokens" in error
    train(tmp_path / "run", adapter="full", max_steps=2, **keys)


# ------------------------------------------------------------------------------------- what goes wrong


def test_loss_that_is_no_number_stops_the_run(base, text, tmp_path):
    """The step after the one that broke the weights is named, and the checkpoint before still works."""
    keys = {"base_model": str(base), "datasets": text, "optimizer": "sgd", "max_grad_norm": 0}
    config = write_config(tmp_path / "c.yaml", learning_rate=1e-3, max_steps=3, **keys)
    run_shira("train", config)
    saved = tmp_path / "out" / "checkpoint-3"
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    error = failure_of(
        "train",
        config,
        "--resume",
        *("--set", "learning_rate=1e30", "--set", "max_steps=9"),
        *("--set", "lr_scheduler=constant"),
        rc=1,
    )
    assert re.search(r"step 5\b", error) and re.search(r"batch \d+", error) and "nan" in error
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert not (tmp_path / "out" / "checkpoint-9").exists()
    flags = ("--base_model", base, "--adapter", saved, "--prompt", "x", "--max_new_tokens", 3)
    assert len(run_json("generate", *flags)["ids"]) > 0


def test_weights_that_the_last_step_broke_are_not_saved(base, text, tmp_path):
    keys = {"base_model": str(base), "datasets": text, "optimizer": "sgd", "max_grad_norm": 0}
    config = write_config(tmp_path / "c.yaml", learning_rate=1e30, max_steps=1, **keys)
    error = failure_of("train", config, rc=1)
    assert "after step 1" in error and "learning_rate" in error
    out = tmp_path / "out"
    assert not (out / "checkpoint-1").exists()
    assert not (out / "adapter_model.safetensors").exists()


def test_all_problems_of_a_config_in_one_error(base, text, tmp_path):
    config = write_config(
        tmp_path / "c.yaml",
        base_model=str(base),
        datasets=text,
        learning_rat=1e-3,
        micro_batch_size=0,
        optimizer="adam",
        lr_scheduler=3,
        shira_density=1.5,
        shira_r=4,
        warmup_steps=1,
        warmup_ratio=0.1,
    )
    error = failure_of("train", config, "--set", "num_epochs=many", rc=2)
    for word in (
        "learning_rat:",
        "learning_rate",
        "micro_batch_size",
        "'adam'",
        "adamw",
        "lr_scheduler",
        "cosine",
        "shira_density",
        "shira_r",
        "warmup_ratio",
        "num_epochs",
        "many",
    ):
        assert word in error, word
    lines = config.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if "learning_rat" in line and "1" in line)
    assert f":{number}:" in error or f":{number + 1}:" in error
    assert not (tmp_path / "out").exists()


def test_missing_keys(tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 1\n")
    error = failure_of("train", tmp_path / "c.yaml", rc=2)
    for key in ("base_model", "datasets", "output_dir"):
        assert key in error


@pytest.mark.parametrize(
    "key, value, word",
    [
        ("target_modules", ["q_proj", "k_prj"], "k_prj"),
        ("val_set_size", 1000, "val_set_size"),
        ("shira_wm_band", 20, "shira_wm_band"),
    ],
)
def test_values_that_do_not_fit_model_or_data(base, text, tmp_path, key, value, word):
    keys = {"base_model": str(base), "datasets": text, key: value}
    assert word in failure_of("train", write_config(tmp_path / "c.yaml", **keys), rc=(1, 2))


def test_output_dir_of_another_run_is_refused(base, text, tmp_path):
    config = write_config(tmp_path / "c.yaml", base_model=str(base), datasets=text, save_steps=2)
    run_shira("train", config)
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    error = failure_of("train", config, rc=2)
    assert str(out) in error and "--resume" in error
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "metrics.jsonl").unlink()
    (out / "adapter_model.safetensors").unlink()
    assert "--resume" in failure_of("train", config, rc=2)  # its checkpoints would mix with the new ones


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of 400 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a small file system here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def assert_checkpoints_work(base, out):
    """Complete ones are left, the newest loadable, and nothing half written."""
    checkpoints = list(out.glob("checkpoint-*"))
    assert checkpoints and all(re.fullmatch(r"checkpoint-\d+", c.name) for c in checkpoints)
    assert not list(out.rglob("*.tmp"))
    assert {len(list(saved.iterdir())) for saved in checkpoints} == {4}
    newest = max(checkpoints, key=lambda saved: int(saved.name.split("-")[1]))
    flags = ("--base_model", base, "--adapter", newest, "--prompt", "x", "--max_new_tokens", 1)
    run_shira("generate", *flags)


def test_full_disk_leaves_earlier_checkpoints(base, text, small_disk, tmp_path):
    out = small_disk / "out"
    config = write_config(
        tmp_path / "c.yaml",
        base_model=str(base),
        datasets=text,
        output_dir=str(out),
        max_steps=20,
        save_steps=1,
        save_total_limit=0,
    )
    error = failure_of("train", config, rc=1)
    assert "No space left" in error and "checkpoint-" in error
    assert_checkpoints_work(base, out)
    checkpoints = sorted(out.glob("checkpoint-*"), key=lambda saved: int(saved.name.split("-")[1]))
    for saved in checkpoints[:-1]:  # make room, go on
        shutil.rmtree(saved)
    flags = ("--set", "save_total_limit=1", "--set", "save_steps=10")
    assert run_json("train", config, "--resume", *flags)["step"] == 20


def test_file_size_limit_leaves_earlier_checkpoints(base, text, tmp_path):
    """A write that fails halfway: full training's state outgrows the limit, the adapter's does not."""
    keys = {"base_model": str(base), "datasets": text, "save_steps": 2}
    config = write_config(tmp_path / "c.yaml", max_steps=2, **keys)
    run_shira("train", config)
    state = (tmp_path / "out" / "checkpoint-2" / "trainer_state.safetensors").stat().st_size
    process = subprocess.run(
        [SHIRA_BIN, "train", config, "--resume", "--set", "max_steps=6"],
        capture_output=True,
        text=True,
        timeout=120,
        restore_signals=False,  # Python ignores SIGXFSZ, and so does its child
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (state // 2, state // 2)),
    )
    assert process.returncode == 1, process.stderr
    assert "trainer_state.safetensors" in process.stderr and "too large" in process.stderr.lower()
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-2"]
    assert_checkpoints_work(base, tmp_path / "out")
