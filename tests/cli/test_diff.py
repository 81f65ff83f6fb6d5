"""`shira diff` and `shira merge` on checkpoints of any content: every tensor's bytes, little memory, nothing half done."""

import json
import os
import resource
import shutil
import subprocess
import sys

import numpy
import pytest
from conftest import SHIRA_BIN, checkpoint, failure_of, run_json, run_shira
from make_adapter_fixtures import write_checkpoint
from read_adapter import read_adapter
from train_helpers import merge, read_weights, train, write_text

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
DTYPES = FLOATS | {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1}
DTYPES |= {"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8}


def random_bits(generator, dtype, shape):
    return generator.integers(0, 256, (*shape, DTYPES[dtype]), "u1").view(f"u{DTYPES[dtype]}")[..., 0]


def random_checkpoints(seed):
    """(base, tuned) as write_checkpoint takes them, with every kind of change."""
    generator = numpy.random.default_rng(seed)
    base, tuned = {}, {}
    for dtype in DTYPES:
        for change in ("same", "few", "many", "shape", "dtype", "removed", "added"):
            shape = tuple(generator.integers(1, 12, generator.integers(0, 4)))
            bits = random_bits(generator, dtype, shape)
            name = f"{dtype}.{change}"
            if change != "added":
                base[name] = (dtype, bits)
            new = bits.copy()
            if change in ("few", "many"):
                share = 0.1 if change == "few" else 0.6
                new ^= (generator.random(shape) < share).astype(new.dtype)
            other = random_bits(generator, "F32", (3, 2))
            if change != "removed":
                changed = {"shape": (dtype, new.reshape(-1)), "dtype": ("F32", other)}
                tuned[name] = changed.get(change, (dtype, new))
    return base, tuned


def shard(directory, files=3):
    """Spreads model.safetensors over several files, with an index."""
    tensors = read_weights(directory)
    parts, weight_map = [{} for _ in range(files)], {}
    for i, (name, tensor) in enumerate(tensors.items()):
        array = numpy.frombuffer(tensor.data, f"u{DTYPES[tensor.dtype]}").reshape(tensor.shape)
        parts[i % files][name] = (tensor.dtype, array)
        weight_map[name] = f"model-{i % files}.safetensors"
    for i, part in enumerate(parts):
        write_checkpoint(directory / "part", part)
        (directory / "part" / "model.safetensors").rename(directory / f"model-{i}.safetensors")
        (directory / "part").rmdir()
    (directory / "model.safetensors").unlink()
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (directory / "model.safetensors.index.json").write_text(index)


def expect_round_trip(base, tuned, tmp_path):
    answer = run_json("diff", base, tuned, "-o", tmp_path / "adapter")
    merged = merge(base, tmp_path / "merged", tmp_path / "adapter")
    assert read_weights(merged) == read_weights(tuned)
    return answer


# ----------------------------------------------------------------------------------- every byte


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sharded", [(), ("base",), ("tuned",), ("base", "tuned")])
def test_merge_of_diff_is_the_tuned_checkpoint(tmp_path, seed, sharded):
    for name, tensors in zip(("base", "tuned"), random_checkpoints(seed)):
        write_checkpoint(tmp_path / name, tensors)
        if name in sharded:
            shard(tmp_path / name)
    answer = expect_round_trip(tmp_path / "base", tmp_path / "tuned", tmp_path)
    assert answer["added"] == answer["removed"] == len(DTYPES)
    assert answer["sparse"] > 5 and answer["replaced"] > 30 and answer["unchanged"] >= len(DTYPES)
    read = read_adapter(tmp_path / "adapter")
    assert set(read["removed"]) == {f"{dtype}.removed" for dtype in DTYPES}
    for name, target in read["sparse"].items():
        assert target["nnz"] <= 0.3 * numpy.prod(target["shape"]), name
    described = run_json("inspect", tmp_path / "adapter")["tensors"]
    changes = [tensor.get("change", "entries") for tensor in described]
    for change in ("added", "removed", "replaced"):
        assert changes.count(change) == answer[change]
    assert changes.count("entries") == answer["sparse"]


def test_a_trained_adapter_comes_back(tmp_path):
    """diff of the base and the merged checkpoint holds what training wrote, entry for entry."""
    base = checkpoint("llama2", "bfloat16")
    train(tmp_path, base_model=str(base), datasets=write_text(tmp_path), learning_rate=2e-2)
    merged = merge(base, tmp_path / "m", tmp_path / "out")
    answer = expect_round_trip(base, merged, tmp_path)
    assert answer["other_files"] == [] and answer["replaced"] == answer["added"] == 0
    found, trained = (read_adapter(tmp_path / name)["sparse"] for name in ("adapter", "out"))
    assert found.keys() == trained.keys()
    for name, target in found.items():
        places = numpy.searchsorted(trained[name]["positions"], target["positions"])
        assert (trained[name]["positions"][places] == target["positions"]).all()
        assert (trained[name]["values"][places] == target["values"]).all()
        assert 0.9 * trained[name]["nnz"] < target["nnz"] <= trained[name]["nnz"]
    text = ("--prompt", "The grey bird", "--max_new_tokens", 8, "--temperature", 0)
    texts = [
        run_json("generate", "--base_model", base, "--adapter", tmp_path / name, *text)
        for name in ("adapter", "out")
    ]
    assert texts[0] == texts[1]


def test_companion_files_come_from_the_base_and_differences_are_told(tmp_path, copy_of):
    base = checkpoint("llama2")
    tuned = copy_of(base, "tuned")
    (tuned / "generation_config.json").write_text('{"temperature": 0.1}')
    (tuned / "extra.json").write_text("{}")
    result = run_shira("diff", base, tuned, "-o", tmp_path / "adapter")
    assert "identical" in result.stdout
    assert result.stderr.count("warning") == 1
    assert "extra.json, generation_config.json" in result.stderr
    merged = merge(base, tmp_path / "merged", tmp_path / "adapter")
    assert {path.name for path in merged.iterdir()} == {path.name for path in base.iterdir()}
    for path in base.iterdir():
        assert (merged / path.name).read_bytes() == path.read_bytes()


def test_a_model_in_memory_cannot_lose_or_gain_tensors(tmp_path):
    base, tuned = checkpoint("tied"), checkpoint("untied")
    run_shira("diff", base, tuned, "-o", tmp_path / "adapter")
    flags = ("--adapter", tmp_path / "adapter", "--prompt", "x")
    error = failure_of("generate", "--base_model", base, *flags, rc=1)
    assert "lm_head.weight: the adapter adds it" in error and "shira merge" in error
    run_shira("diff", tuned, base, "-o", tmp_path / "back")
    flags = ("--adapter", tmp_path / "back", "--prompt", "x")
    error = failure_of("generate", "--base_model", tuned, *flags, rc=1)
    assert "lm_head.weight: the adapter removes it" in error and "shira merge" in error


# ---------------------------------------------------------------------------------------- memory


def peak_of(*args):
    """Peak resident bytes of a command."""
    # Started by a small process: a child's peak begins with the memory of whoever forked it.
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    # What is freed shall be free: glibc would keep a few blocks of this size for later.
    allocator = {"ASAN_OPTIONS": "quarantine_size_mb=1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    answer = subprocess.run(
        [sys.executable, "-c", code, SHIRA_BIN, *map(str, args)],
        env=os.environ | allocator,
        capture_output=True,
        check=True,
    )
    return 1024 * int(answer.stdout)


@pytest.mark.parametrize("sharded", [False, True])
def test_one_tensor_is_in_memory_at_a_time(tmp_path, sharded):
    """Ten tensors of 16 MiB take little more than one does: what the allocator keeps of one, or two."""
    size = 16 << 20
    generator = numpy.random.default_rng(1)
    bits = generator.integers(0, 1 << 16, size // 2, "u2").reshape(1 << 12, -1)
    tuned_bits = bits.copy()
    tuned_bits.flat[:: 1 << 12] ^= 1
    peaks = []
    for count in (1, 10):
        folder = tmp_path / str(count)
        for name, array in (("base", bits), ("tuned", tuned_bits)):
            names = [f"layer.{i}" for i in range(count)]
            write_checkpoint(folder / name, {tensor: ("BF16", array) for tensor in names})
            if sharded:
                shard(folder / name, files=min(count, 2))
        base, tuned, adapter = folder / "base", folder / "tuned", folder / "adapter"
        diff = peak_of("diff", base, tuned, "-o", adapter)
        flags = ("--base_model", base, "--adapter", adapter, "-o", folder / "merged")
        peaks.append((diff, peak_of("merge", *flags)))
        assert read_weights(folder / "merged") == read_weights(tuned)
        shutil.rmtree(folder)
    for small, large in zip(*peaks):
        assert large - small < 2 * size, f"{small >> 20} MiB and {large >> 20} MiB"


# ---------------------------------------------------------------------------------------- errors


@pytest.fixture
def pair(tmp_path):
    base, tuned = random_checkpoints(9)
    write_checkpoint(tmp_path / "base", base)
    write_checkpoint(tmp_path / "tuned", tuned)
    return tmp_path / "base", tmp_path / "tuned"


def files_in(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_diff_refuses_cleanly(pair, tmp_path):
    base, tuned = pair
    before = files_in(tmp_path)
    output = ("-o", tmp_path / "adapter")
    assert "nowhere" in failure_of("diff", base, tmp_path / "nowhere", *output, rc=1)
    for existing in pair:
        assert "exists" in failure_of("diff", base, tuned, "-o", existing, rc=2)
    assert "no such directory" in failure_of("diff", base, tuned, "-o", tmp_path / "a" / "b", rc=1)
    assert files_in(tmp_path) == before
    content = (tuned / "model.safetensors").read_bytes()
    (tuned / "model.safetensors").write_bytes(content[:-1])
    error = failure_of("diff", base, tuned, *output, rc=1)
    assert error.count("error:") == 1 and str(tuned / "model.safetensors") in error
    assert not (tmp_path / "adapter").exists()


def test_merge_refuses_cleanly(pair, tmp_path):
    base, tuned = pair
    adapter = tmp_path / "adapter"
    run_shira("diff", base, tuned, "-o", adapter)
    before = files_in(tmp_path)

    def error_of(*adapters, on=base, out=tmp_path / "merged", rc=1):
        flags = [part for one in adapters for part in ("--adapter", one)]
        error = failure_of("merge", "--base_model", on, *flags, "-o", out, rc=rc)
        assert error.count("error:") == 1 and files_in(tmp_path) == before
        assert {path.name for path in tmp_path.iterdir()} == {"base", "tuned", "adapter"}
        return error

    error = error_of(adapter, on=tuned)
    assert "F32.added: the adapter adds it" in error and "F32.removed" in error
    assert "F32.few: the base's values under the mask differ" in error and "--force" in error
    assert "scale 1" in error_of(f"{adapter}@0.5")
    assert "no two adapters" in error_of(adapter, adapter)
    assert "exists" in error_of(adapter, out=base, rc=2)
    assert "nowhere" in error_of(tmp_path / "nowhere")
    assert "no such directory" in error_of(adapter, out=tmp_path / "a" / "b")


def test_a_full_disk_leaves_nothing(pair, tmp_path):
    base, tuned = pair
    run_shira("diff", base, tuned, "-o", tmp_path / "adapter")
    before = files_in(tmp_path)
    out = ("-o", tmp_path / "out")
    model = ("--base_model", base)
    for command in (
        ("diff", base, tuned, *out),
        ("merge", *model, "--adapter", tmp_path / "adapter", *out),
        ("fuse", *model, tmp_path / "adapter", *out),
    ):
        process = subprocess.run(
            [SHIRA_BIN, *command],
            capture_output=True,
            text=True,
            restore_signals=False,  # Python ignores SIGXFSZ, so writes fail as on a full disk
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        )
        assert process.returncode == 1 and process.stdout == "", process.stderr
        assert process.stderr.count("error:") == 1 and "File too large" in process.stderr
        assert files_in(tmp_path) == before and not (tmp_path / "out").exists()
