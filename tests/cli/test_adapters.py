"""Adapters on a base: exact arithmetic, agreement with transformers, and files that must be refused."""

import json
import math
import shutil
import struct

import numpy
import pytest
from conftest import checkpoint, edit_json, failure_of, reference_model, run_json, run_shira
from train_helpers import (
    TEXT,
    merge,
    processor,
    read_adapter,
    read_safetensors,
    read_weights,
    train,
    train_on_text,
    write_text,
)

PROMPT = "The grey bird went to the"


@pytest.fixture(scope="module")
def base():
    return checkpoint("llama2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function: the directory of an adapter for a dtype and a mask, trained once."""
    made = {}

    def adapter(dtype="float32", mask="wm"):
        if (dtype, mask) not in made:
            directory = tmp_path_factory.mktemp(f"{dtype}-{mask}")
            made[dtype, mask] = train_on_text(directory, dtype, mask, max_steps=6)
        return made[dtype, mask]

    return adapter


@pytest.fixture(scope="module")
def wm(trained):
    return trained()


@pytest.fixture
def copy(wm, tmp_path):
    """A copy of the F32 adapter, to be damaged."""
    target = tmp_path / "adapter"
    target.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(wm / name, target)
    return target


# ------------------------------------------------------------------------------------- arithmetic


def to_bf16_bits(values):
    """float64 -> BF16 rounded once, to nearest, ties to even; by comparison of the two neighbours."""
    below = (values.astype("<f4").view("<u4") >> 16).astype("<u4")  # may be one off: f32 rounds
    candidates = numpy.stack([below - 1, below, below + 1])
    decoded = (candidates << 16).astype("<u4").view("<f4").astype("f8")
    distance = numpy.abs(decoded - values)
    is_even = candidates % 2 == 0
    best = numpy.lexsort((~is_even, distance), axis=0)[0]
    return numpy.take_along_axis(candidates, best[None], 0)[0].astype("<u2")


def rounded_bytes(values, dtype):
    return (values.astype("<f4") if dtype == "F32" else to_bf16_bits(values)).tobytes()


def test_the_rounding_of_this_test():
    halfway = 1 + 2**-8  # between 1 and 1 + 2^-7
    values = numpy.array([1.0, halfway, halfway + 2**-40, 1 + 3 * 2**-8, -halfway - 2**-40])
    assert to_bf16_bits(values).tolist() == [0x3F80, 0x3F80, 0x3F81, 0x3F82, 0xBF81]


def expected_weights(base_weights, *scaled):
    """{name: bytes} of W + sum of s * (v - W) in float64, rounded once."""
    adapters = [(read_adapter(directory), scale) for directory, scale in scaled]
    expected = {}
    for name, tensor in base_weights.items():
        original = tensor.array().astype("f8")
        total = original.copy()
        for adapter, scale in adapters:
            if name in adapter:
                indices, values = adapter[name]
                total[indices] += scale * (values.array().astype("f8") - original[indices])
        expected[name] = rounded_bytes(total, tensor.dtype)
    return expected


def assert_bytes(directory, expected):
    weights = read_weights(directory)
    assert weights.keys() == expected.keys()
    assert [name for name in expected if weights[name].data != expected[name]] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scale", ["0.5", "-1", "0.3", "1.0"])
def test_scaled_weights_are_rounded_once(trained, tmp_path, dtype, scale):
    base, adapter = checkpoint("llama2", dtype), trained(dtype)
    before = read_weights(base)
    expected = expected_weights(before, (adapter, float(scale)))
    assert sum(expected[name] != before[name].data for name in before) == 14
    assert_bytes(merge(base, tmp_path / "merged", f"{adapter}@{scale}"), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scale_one_copies_the_values(trained, tmp_path, dtype):
    base, adapter = checkpoint("llama2", dtype), trained(dtype)
    merged = read_weights(merge(base, tmp_path / "merged", adapter))
    for name, (indices, values) in read_adapter(adapter).items():
        item = numpy.frombuffer(merged[name].data, f"<u{len(values.data) // len(indices)}")
        assert item[indices].tobytes() == values.data, name


def test_scale_zero_is_the_base(base, wm, tmp_path):
    expected = {name: tensor.data for name, tensor in read_weights(base).items()}
    assert_bytes(merge(base, tmp_path / "merged", f"{wm}@0"), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_adapters_are_added(trained, tmp_path, dtype):
    base, first, second = checkpoint("llama2", dtype), trained(dtype), trained(dtype, "rand")
    overlap = [
        len(numpy.intersect1d(indices, read_adapter(second)[name][0]))
        for name, (indices, _) in read_adapter(first).items()
    ]
    assert min(overlap) > 0
    expected = expected_weights(read_weights(base), (first, 1.0), (second, 0.25))
    assert_bytes(merge(base, tmp_path / "merged", first, f"{second}@0.25"), expected)


def test_at_sign_in_a_directorys_name(base, wm, tmp_path):
    """Only a last @ followed by a number is a scale."""
    for name in ("a@b", "run@2"):
        shutil.copytree(wm, tmp_path / name)
    first = read_weights(merge(base, tmp_path / "m1", tmp_path / "a@b"))
    second = read_weights(merge(base, tmp_path / "m2", f"{tmp_path / 'run@2'}@1"))
    assert first == second == read_weights(merge(base, tmp_path / "m3", wm))


def test_adapter_of_a_bfloat16_base_on_a_float32_one(base, trained, tmp_path):
    """Both checkpoints hold the same values, so the wider base passes the check; the values are exact in it."""
    adapter = trained("bfloat16")
    merged = read_weights(merge(base, tmp_path / "merged", adapter))
    for name, (indices, values) in read_adapter(adapter).items():
        assert merged[name].dtype == "F32"
        assert (merged[name].array()[indices] == values.array()).all(), name


def test_adapter_of_a_float32_base_on_a_bfloat16_one_is_warned_about(wm, tmp_path):
    base = checkpoint("llama2", "bfloat16")
    flags = ("--base_model", base, "--adapter", wm, "--prompt", "x", "--max_new_tokens", 2)
    stderr = run_shira("generate", *flags).stderr
    assert stderr.count("warning") == 1 and "float32" in stderr and "bfloat16" in stderr


def test_adapter_on_a_float16_base(trained, tmp_path):
    """F16 bases are for inference: the same values, so the adapter of the F32 base goes on, rounded to F16."""
    base = checkpoint("llama2", "float16")
    adapter = trained("float32")
    merged = read_weights(merge(base, tmp_path / "merged", adapter))
    for name, (indices, values) in read_adapter(adapter).items():
        assert merged[name].dtype == "F16"
        expected = values.array().astype("<f2")
        assert merged[name].array()[indices].tobytes() == expected.tobytes(), name


# ------------------------------------------------------------------------------------ transformers


@pytest.fixture(scope="module")
def merged(base, wm, tmp_path_factory):
    return merge(base, tmp_path_factory.mktemp("merge") / "merged", wm)


def test_merged_checkpoint_in_transformers(base, wm, merged, tmp_path):
    """Greedy text of `generate --adapter`, and with `verify --adapter` every logit and gradient."""
    import torch
    from make_reference_state import make_reference_state

    model = reference_model(merged)
    prompt = [1, *processor(base).encode(PROMPT)]
    output = model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=40, pad_token_id=0
    )
    flags = ("--prompt", PROMPT, "--max_new_tokens", 40, "--temperature", 0)
    answer = run_json("generate", "--base_model", base, "--adapter", wm, *flags)
    assert answer["ids"] == output[0, len(prompt) :].tolist()
    assert answer["ids"] != run_json("generate", "--base_model", base, *flags)["ids"]
    assert answer == run_json("generate", "--base_model", merged, *flags)

    make_reference_state(merged, tmp_path / "state.safetensors", model=model)
    state = ("--reference", tmp_path / "state.safetensors")
    report = run_json("verify", "--base_model", base, "--adapter", wm, *state)
    assert report["passed"] and "logits" in report["tensors"]
    assert run_json("verify", "--base_model", merged, *state)["passed"]
    without = run_shira("verify", "--base_model", base, *state, check=False)
    assert without.rc == 1, "the base alone must not pass"


def test_merged_checkpoint_is_a_whole_directory(base, merged):
    assert {path.name for path in merged.iterdir()} == {path.name for path in base.iterdir()}
    for name in ("tokenizer.model", "tokenizer_config.json", "generation_config.json"):
        assert (merged / name).read_bytes() == (base / name).read_bytes()
    configs = [json.loads((path / "config.json").read_text()) for path in (merged, base)]
    assert configs[0] == configs[1]


def test_merge_of_a_sharded_checkpoint(wm, merged, tmp_path):
    base = checkpoint("llama2", shards=3)
    sharded = merge(base, tmp_path / "merged", wm)
    assert read_weights(sharded) == read_weights(merged)
    assert {path.name for path in sharded.iterdir()} == {path.name for path in base.iterdir()}


def test_merge_into_something_that_exists(base, wm, merged, tmp_path):
    before = (merged / "model.safetensors").read_bytes()
    error = failure_of("merge", "--base_model", base, "--adapter", wm, "-o", merged, rc=2)
    assert str(merged) in error
    assert (merged / "model.safetensors").read_bytes() == before


def test_eval_with_an_adapter(base, wm, merged, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    flags = ("--text", tmp_path / "text.txt", "--window", 32)
    adapted = run_json("eval", "--base_model", base, "--adapter", wm, *flags)
    assert adapted == run_json("eval", "--base_model", merged, *flags)
    assert adapted["nll"] < run_json("eval", "--base_model", base, *flags)["nll"]


# ----------------------------------------------------------------------------------------- inspect


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_inspect(trained, dtype):
    adapter = trained(dtype)
    answer = run_json("inspect", adapter)
    content = read_adapter(adapter)
    assert answer["kind"] == "adapter" and answer["value_kind"] == "weights"
    assert answer["mask_type"] == "wm" and answer["base_dtype"] == dtype
    assert answer["base_model"] == str(checkpoint("llama2", dtype))
    assert answer["nnz"] == sum(len(indices) for indices, _ in content.values())
    assert answer["bytes"] == (adapter / "adapter_model.safetensors").stat().st_size
    shapes = {name: t.shape for name, t in read_weights(checkpoint("llama2", dtype)).items()}
    for tensor in answer["tensors"]:
        assert tensor["shape"] == shapes[tensor["name"]]
        assert tensor["nnz"] == len(content[tensor["name"]][0])
        assert tensor["density"] == pytest.approx(tensor["nnz"] / math.prod(tensor["shape"]))
    assert {tensor["name"] for tensor in answer["tensors"]} == content.keys()


def test_inspect_for_people(base, wm):
    text = run_shira("inspect", wm).stdout
    assert "mask_type: wm" in text and "model.layers.0.mlp.up_proj.weight" in text
    assert "lm_head.weight" in run_shira("inspect", base).stdout


@pytest.fixture(scope="module")
def wide_base(tmp_path_factory):
    """One block with hidden size 1024, random, BF16; its files are written by hand."""
    directory = tmp_path_factory.mktemp("wide")
    small = checkpoint("llama2", "bfloat16")
    for name in ("tokenizer.model", "tokenizer_config.json", "config.json"):
        shutil.copy(small / name, directory)
    hidden, inner, vocabulary = 1024, 1536, 384
    edit_json(
        directory / "config.json",
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=1,
        num_attention_heads=16,
        num_key_value_heads=16,
    )
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": [vocabulary, hidden],
        "lm_head.weight": [vocabulary, hidden],
        "model.norm.weight": [hidden],
        layer + "input_layernorm.weight": [hidden],
        layer + "post_attention_layernorm.weight": [hidden],
        **{layer + f"self_attn.{n}_proj.weight": [hidden, hidden] for n in "qkvo"},
        layer + "mlp.gate_proj.weight": [inner, hidden],
        layer + "mlp.up_proj.weight": [inner, hidden],
        layer + "mlp.down_proj.weight": [hidden, inner],
    }
    generator = numpy.random.default_rng(0)
    header, data = {}, bytearray()
    for name, shape in shapes.items():
        values = generator.standard_normal(math.prod(shape), "f4") * 0.03 + (len(shape) == 1)
        piece = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(piece)],
        }
        data += piece
    text = json.dumps(header).encode()
    file = struct.pack("<Q", len(text)) + text + data
    (directory / "model.safetensors").write_bytes(file)
    return directory


@pytest.mark.parametrize("mask", ["wm", "rand"])
def test_bytes_an_entry_of_a_bfloat16_base(wide_base, tmp_path, mask):
    train(
        tmp_path,
        base_model=str(wide_base),
        datasets=write_text(tmp_path, "One short line."),
        shira_mask=mask,
        shira_density=0.01,
        max_steps=1,
        micro_batch_size=1,
    )
    out = tmp_path / "out"
    entries = sum(len(indices) for indices, _ in read_adapter(out).values())
    assert entries == 4 * round(0.01 * 1024 * 1024) + 3 * round(0.01 * 1024 * 1536)
    size = sum(path.stat().st_size for path in out.iterdir() if path.name.startswith("adapter_"))
    assert size / entries <= 3.2
    file_size = (out / "adapter_model.safetensors").stat().st_size
    assert run_json("inspect", out)["bytes_per_entry"] == pytest.approx(file_size / entries)


# ------------------------------------------------------------------------------------- other bases


def commands_with(base, adapter, tmp_path):
    """Every command that takes an adapter."""
    flags = ("--base_model", base, "--adapter", adapter)
    (tmp_path / "t.txt").write_text(TEXT[:400])
    return [
        ("generate", *flags, "--prompt", "x", "--max_new_tokens", 1),
        ("eval", *flags, "--text", tmp_path / "t.txt", "--window", 16),
        ("merge", *flags, "-o", tmp_path / "refused"),
    ]


@pytest.fixture
def other_base(base, copy_of):
    """A copy of the base, to be changed."""
    return copy_of(base, "other")


def change_weight(directory, name, index):
    """Flips the lowest bit of one F32 weight."""
    file = directory / "model.safetensors"
    content = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    begin = json.loads(content[8 : 8 + length])[name]["data_offsets"][0]
    content[8 + length + begin + 4 * int(index)] ^= 1
    file.write_bytes(content)


def test_another_base_is_refused(other_base, wm, tmp_path):
    """One bit under the mask is enough, and the tensor is named; --force puts the adapter on all the same."""
    name = "model.layers.1.mlp.up_proj.weight"
    indices, _ = read_adapter(wm)[name]
    change_weight(other_base, name, indices[3])
    for command in commands_with(other_base, wm, tmp_path):
        error = failure_of(*command, rc=1)
        assert name in error and "--force" in error
        assert "layers.0" not in error, "only the tensor that differs"
        run_shira(*command, "--force")
    # A copy does not depend on the base: the forced result has the adapter's values.
    merged = read_weights(tmp_path / "refused")
    values = read_adapter(wm)[name][1].array()
    assert (merged[name].array()[indices] == values).all()


def test_a_base_that_differs_outside_the_mask_is_the_same_base(other_base, wm, tmp_path):
    name = "model.layers.1.mlp.up_proj.weight"
    indices, _ = read_adapter(wm)[name]
    change_weight(other_base, name, numpy.setdiff1d(numpy.arange(112 * 64), indices)[5])
    for command in commands_with(other_base, wm, tmp_path):
        run_shira(*command)


@pytest.mark.parametrize("variant", ["llama1", "head_dim"])
def test_a_base_of_another_shape_is_refused_even_with_force(wm, tmp_path, variant):
    other = checkpoint(variant)
    for command in commands_with(other, wm, tmp_path):
        error = failure_of(*command, "--force", rc=1)
        assert "model.layers.0.self_attn.k_proj.weight" in error
    assert not (tmp_path / "refused").exists()


# ---------------------------------------------------------------------------------- damaged adapters


def error_with(base, adapter):
    """The one error of `generate` and of `inspect`, which refuse a damaged adapter alike."""
    flags = ("--base_model", base, "--adapter", adapter, "--prompt", "x", "--max_new_tokens", 1)
    errors = [failure_of("generate", *flags, rc=1), failure_of("inspect", adapter, rc=1)]
    for error in errors:
        assert error.count("error:") == 1, error
    assert errors[0] == errors[1]
    return errors[0]


def test_adapter_that_is_not_there(base, tmp_path):
    flags = ("--base_model", base, "--adapter", tmp_path / "nowhere", "--prompt", "x")
    assert "nowhere" in failure_of("generate", *flags, rc=1)


def test_directory_without_an_adapter(base, tmp_path):
    flags = ("--base_model", base, "--adapter", tmp_path, "--prompt", "x")
    assert "adapter_config.json" in failure_of("generate", *flags, rc=1)


def test_missing_adapter_config(base, copy):
    (copy / "adapter_config.json").unlink()
    flags = ("--base_model", base, "--adapter", copy, "--prompt", "x")
    assert "adapter_config.json" in failure_of("generate", *flags, rc=1)


def test_missing_tensors(base, copy):
    (copy / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors" in error_with(base, copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_adapter_config_of_something_else(base, copy, content):
    (copy / "adapter_config.json").write_text(content)
    assert "adapter_config.json" in error_with(base, copy)


@pytest.mark.parametrize("keep", [0, 4, 8, 300, 0.5, -1])
def test_truncated_adapter(base, copy, keep):
    file = copy / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    assert "adapter_model.safetensors" in error_with(base, copy)


def rewrite(adapter, edit):
    """Applies edit(metadata, tensors), tensors as {name: [dtype, shape, bytearray]}, to the file."""
    file = adapter / "adapter_model.safetensors"
    metadata, raw = read_safetensors(file)
    tensors = {name: [t.dtype, t.shape, bytearray(t.data)] for name, t in raw.items()}
    edit(metadata, tensors)
    header, data = {"__metadata__": metadata}, bytearray()
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


NAME = "model.layers.0.mlp.gate_proj.weight"


def edit_record(metadata, **changes):
    record = json.loads(metadata["target." + NAME]) | changes
    metadata["target." + NAME] = json.dumps(record)


def append_byte(tensors, suffix):
    entry = tensors[NAME + suffix]
    entry[1] = [entry[1][0] + 1]
    entry[2].append(1)


DAMAGES = {
    "gap of zero": lambda m, t: t[NAME + ".gaps"][2].__setitem__(5, 0),
    "gap that continues": lambda m, t: t[NAME + ".gaps"][2].__setitem__(5, 255),
    "all gaps long": lambda m, t: t[NAME + ".gaps"].__setitem__(
        2, bytearray([254]) * len(t[NAME + ".gaps"][2])
    ),
    "last gap continues": lambda m, t: t[NAME + ".gaps"][2].__setitem__(-1, 255),
    "one gap more": lambda m, t: append_byte(t, ".gaps"),
    "gaps missing": lambda m, t: t.pop(NAME + ".gaps"),
    "values missing": lambda m, t: t.pop(NAME + ".values"),
    "a tensor more": lambda m, t: t.update(extra=["U8", [1], bytearray(1)]),
    "gaps of another dtype": lambda m, t: t[NAME + ".gaps"].__setitem__(0, "BOOL"),
    "restarts where none belong": lambda m, t: t[NAME + ".restarts"].__setitem__(
        slice(1, 3), [[2], bytearray(16)]
    ),
    "too few entries": lambda m, t: edit_record(m, nnz=3),
    "negative entries": lambda m, t: edit_record(m, nnz=-1),
    "entries as text": lambda m, t: edit_record(m, nnz="many"),
    "small shape": lambda m, t: edit_record(m, shape=[2, 3]),
    "huge shape": lambda m, t: edit_record(m, shape=[2**31, 2**31]),
    "negative shape": lambda m, t: edit_record(m, shape=[-112, -64]),
    "empty shape": lambda m, t: edit_record(m, shape=[]),
    "checksum that is none": lambda m, t: edit_record(m, base_xxh3_64="xyz"),
    "record that is no JSON": lambda m, t: m.update({"target." + NAME: "{"}),
    "record of nothing": lambda m, t: m.update({"target.nothing.weight": "{}"}),
}
HEADER_DAMAGES = {
    "format version": lambda m, t: m.update(format_version="3"),
    "format": lambda m, t: m.update(format="pt"),
    "no format": lambda m, t: m.pop("format"),
    "value_kind": lambda m, t: m.update(value_kind="sums"),
    "base_dtype": lambda m, t: m.update(base_dtype="F7"),
    "no metadata": lambda m, t: m.clear(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tensor_is_named(base, copy, damage):
    rewrite(copy, DAMAGES[damage])
    error = error_with(base, copy)
    assert "adapter_model.safetensors" in error
    assert NAME in error or damage in ("a tensor more", "record of nothing")


@pytest.mark.parametrize("damage", HEADER_DAMAGES)
def test_damaged_header(base, copy, damage):
    rewrite(copy, HEADER_DAMAGES[damage])
    error = error_with(base, copy)
    assert "adapter_model.safetensors" in error
    if damage == "format version":
        assert "version 3" in error


def test_rewriting_alone_damages_nothing(base, wm, copy):
    rewrite(copy, lambda metadata, tensors: None)
    flags = ("--prompt", "x", "--max_new_tokens", 4)
    assert run_json("generate", "--base_model", base, "--adapter", copy, *flags) == run_json(
        "generate", "--base_model", base, "--adapter", wm, *flags
    )


def test_flipped_gap_hits_other_entries(base, copy):
    """Gaps that decode, but to another place: the base's checksum gives it away."""

    def edit(metadata, tensors):
        gaps = tensors[NAME + ".gaps"][2]
        place = next(i for i in range(3, len(gaps)) if 1 < gaps[i] < 250 and 3 < gaps[i + 1] < 250)
        gaps[place] += 1
        gaps[place + 1] -= 1

    rewrite(copy, edit)
    flags = ("--base_model", base, "--adapter", copy, "--prompt", "x", "--max_new_tokens", 1)
    error = failure_of("generate", *flags, rc=1)
    assert NAME in error and "--force" in error


@pytest.mark.parametrize("scale", ["nan", "inf", "1e999"])
def test_scale_that_is_no_number(base, wm, scale):
    flags = ("--base_model", base, "--adapter", f"{wm}@{scale}", "--prompt", "x")
    failure_of("generate", *flags)
