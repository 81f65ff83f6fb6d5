"""`shira fuse`: one adapter that does what several do together, bit for bit."""

import json
import shutil

import pytest
from conftest import checkpoint, failure_of, run_json, run_shira
from read_adapter import read_adapter
from train_helpers import merge, read_weights, train_on_text


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """{dtype: two overlapping adapters}"""
    made = {}
    for dtype in ("float32", "bfloat16"):
        made[dtype] = []
        for mask in ("wm", "rand"):
            directory = tmp_path_factory.mktemp(f"{dtype}-{mask}")
            made[dtype].append(train_on_text(directory, dtype, mask))
    return made


def fuse(base, output, *adapters):
    return run_json("fuse", "--base_model", base, *adapters, "-o", output)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scales", [("", ""), ("@0.5", "@0.7"), ("@1", "@-0.25"), ("@0", "@1")])
def test_fused_is_what_they_do_together(adapters, tmp_path, dtype, scales):
    base = checkpoint("llama2", dtype)
    scaled = [f"{adapter}{scale}" for adapter, scale in zip(adapters[dtype], scales)]
    answer = fuse(base, tmp_path / "fused", *scaled)
    together = merge(base, tmp_path / "together", *scaled)
    fused = merge(base, tmp_path / "merged", tmp_path / "fused")
    assert read_weights(fused) == read_weights(together)
    assert read_weights(fused) != read_weights(base)

    one, two, all_of_it = (
        read_adapter(path)["sparse"] for path in (*adapters[dtype], tmp_path / "fused")
    )
    for name in one.keys() | two.keys():
        union = set(one[name]["positions"]) | set(two[name]["positions"])
        assert set(all_of_it[name]["positions"]) == union
    counts = [sum(t["nnz"] for t in adapter.values()) for adapter in (one, two, all_of_it)]
    assert answer["nnz"] == counts[2] and answer["overlaps"] == counts[0] + counts[1] - counts[2]
    assert answer["overlaps"] > 0


def test_the_fused_adapter_is_one_like_others(adapters, tmp_path):
    base = checkpoint("llama2")
    fuse(base, tmp_path / "fused", *adapters["float32"])
    described = run_json("inspect", tmp_path / "fused")
    assert described["mask_type"] == "fused" and described["base_model"] == str(base)
    prompt = ("--prompt", "The grey bird", "--max_new_tokens", 8, "--temperature", 0)
    both = [part for adapter in adapters["float32"] for part in ("--adapter", adapter)]
    alone = ("--adapter", tmp_path / "fused")
    assert run_json("generate", "--base_model", base, *alone, *prompt) == run_json(
        "generate", "--base_model", base, *both, *prompt
    )
    # Fusing again, half of it: as if each had been taken by half, up to the rounding in between.
    fuse(base, tmp_path / "half", f"{tmp_path / 'fused'}@0.5")
    assert run_json("inspect", tmp_path / "half")["nnz"] == described["nnz"]
    changed = checkpoint("llama2", "bfloat16")  # the same values: a wider adapter is warned about
    assert "float32" in run_shira("generate", "--base_model", changed, *alone, *prompt).stderr


def test_help_says_what_is_rounded():
    text = run_shira("fuse", "--help").stdout
    assert "copied" in text and "float64" in text and "rounded once" in text


def test_fuse_refuses_cleanly(adapters, tmp_path):
    base, (one, two) = checkpoint("llama2"), adapters["float32"]

    def error_of(*scaled, on=base, out=tmp_path / "fused", rc=1):
        error = failure_of("fuse", "--base_model", on, *scaled, "-o", out, rc=rc)
        assert error.count("error:") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "there"]
        return error

    (tmp_path / "there").mkdir()
    damaged = tmp_path / "damaged"
    shutil.copytree(one, damaged, ignore=shutil.ignore_patterns("checkpoint-*"))
    content = (damaged / "adapter_model.safetensors").read_bytes()
    (damaged / "adapter_model.safetensors").write_bytes(content[:-1])
    assert "exists" in error_of(one, two, out=tmp_path / "there", rc=2)
    assert str(damaged) in error_of(one, damaged)
    assert "k_proj.weight" in error_of(one, two, on=checkpoint("head_dim"))
    assert "nowhere" in error_of(one, tmp_path / "nowhere")
    assert "finite" in error_of(f"{one}@inf", rc=2)
    assert "overflow F32" in error_of(f"{one}@1e300", f"{two}@-1e300")
    assert "adapter" in error_of(base, two)


def test_fuse_needs_its_base(adapters, tmp_path):
    error = failure_of("fuse", *adapters["float32"], "-o", tmp_path / "fused", rc=2)
    assert "--base_model" in error


def test_another_base_is_refused_unless_forced(adapters, tmp_path, copy_of):
    other = copy_of(checkpoint("llama2"), "other")
    file = other / "model.safetensors"
    content = bytearray(file.read_bytes())
    length = int.from_bytes(content[:8], "little")
    name = "model.layers.1.mlp.up_proj.weight"
    one = adapters["float32"][0]
    begin = 8 + length + json.loads(content[8 : 8 + length])[name]["data_offsets"][0]
    content[begin + 4 * int(read_adapter(one)["sparse"][name]["positions"][0])] ^= 1
    file.write_bytes(content)
    command = ("fuse", "--base_model", other, one, "-o", tmp_path / "fused")
    error = failure_of(*command, rc=1)
    assert name in error and "--force" in error and not (tmp_path / "fused").exists()
    run_shira(*command, "--force")
    merge(other, tmp_path / "merged", tmp_path / "fused")  # which now belongs to that base
