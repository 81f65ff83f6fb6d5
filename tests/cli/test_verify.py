"""`shira verify`: agrees with transformers on every variant of LLaMA, and sees what does not agree."""

import subprocess
import sys

import numpy
import pytest
from conftest import (
    SOURCE_DIR,
    VARIANTS,
    checkpoint,
    edit_json,
    failure_of,
    reference_state,
    run_json,
    run_shira,
    write_altered,
)
from make_reference_state import make_reference_state
from safetensors.numpy import load_file, save_file

TOLERANCE = 1e-4  # max abs error / max abs reference, a tensor
LENGTH = 40  # tokens a row: far enough for llama3's rope scaling to act
LOGIT, LOSS, GRADIENT = "logits", "loss", "grad.model.layers.1.mlp.up_proj.weight"


def compared(reference):
    return {name for name in reference if name in (LOGIT, LOSS) or name.startswith("grad.")}


def assert_agrees(directory, file):
    answer = run_json("verify", "--base_model", directory, "--reference", file)
    reference = load_file(file)
    assert set(answer["tensors"]) == compared(reference)
    assert answer["worst_tensor"] in answer["tensors"]
    for name, entry in answer["tensors"].items():
        scale = numpy.abs(reference[name]).max()
        assert 0 <= entry["max_abs_error"] <= TOLERANCE * scale, name
    assert answer["max_abs_error"] == max(
        entry["max_abs_error"] for entry in answer["tensors"].values()
    )
    return reference


@pytest.fixture(scope="module")
def directory():
    return checkpoint("llama2")


@pytest.fixture
def altered(directory, tmp_path):
    """A function that writes the reference state with some tensors changed (None: left out)."""

    def alter(**changes):
        source = reference_state(directory, length=LENGTH)
        return write_altered(source, tmp_path / "altered.safetensors", **changes)

    return alter


def shifted(index, by):
    def shift(tensor):
        tensor[index] += by * numpy.abs(tensor).max()
        return tensor

    return shift


def mismatch(directory, file, tensor):
    """verify must fail on `tensor`, in words and as JSON."""
    answer = run_shira(
        "verify", "--base_model", directory, "--reference", file, "--json", check=False
    )
    assert answer.rc == 1
    assert answer.json["worst_tensor"] == tensor
    words = run_shira("verify", "--base_model", directory, "--reference", file, check=False)
    assert words.rc == 1
    assert tensor in words.stdout + words.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gradient_agrees(variant):
    directory = checkpoint(variant)
    reference = assert_agrees(directory, reference_state(directory, length=LENGTH))
    weights = load_file(directory / "model.safetensors")
    assert {f"grad.{name}" for name in weights if "inv_freq" not in name} == compared(reference) - {
        LOGIT,
        LOSS,
    }


@pytest.mark.parametrize(
    "variant, keys",
    [
        ("llama2", {"sliding_window": 5}),
        ("llama2", {"sliding_window": 5, "use_sliding_window": True}),
        ("llama2", {"sliding_window": 5, "layer_types": ["sliding_attention"] * 2}),
        ("mistral", {"sliding_window": 5, "use_sliding_window": False}),
        ("mistral", {"attention_bias": True, "mlp_bias": True}),
        ("qwen2", {"attention_bias": False, "mlp_bias": True}),
    ],
)
def test_keys_of_other_models_are_ignored(variant, keys, copy_of, tmp_path):
    """As in transformers, which is asked here."""
    directory = copy_of(checkpoint(variant))
    edit_json(directory / "config.json", **keys)
    make_reference_state(directory, tmp_path / "state.safetensors", length=LENGTH)
    assert_agrees(directory, tmp_path / "state.safetensors")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stored_in_half_precision(dtype):
    """The values are exact in each dtype and verify computes in F32, so the F32 reference holds."""
    assert_agrees(checkpoint("llama3", dtype), reference_state(checkpoint("llama3"), length=LENGTH))


def test_sharded():
    assert_agrees(
        checkpoint("untied", shards=3), reference_state(checkpoint("untied"), length=LENGTH)
    )


def test_one_row_without_padding(directory):
    assert_agrees(directory, reference_state(directory, batch=1, length=7, seed=3))


def test_rows_of_several_lengths(directory):
    rows = [[1, 300, 301], [1, 5, 17, 290, 2, 0, 380, 379], [383], [1, 300, 1, 300]]
    assert_agrees(directory, reference_state(directory, rows=rows))


def test_a_model_that_no_one_here_trained(stories260k):
    assert_agrees(stories260k, reference_state(stories260k, length=LENGTH))


def test_the_generator_as_a_command(directory, tmp_path):
    """The checked-in script, called as documented, writes what the other tests use."""
    out = tmp_path / "state.safetensors"
    subprocess.run(
        [
            sys.executable,
            SOURCE_DIR / "scripts/make_reference_state.py",
            directory,
            out,
            "--batch",
            "2",
            "--length",
            str(LENGTH),
            "--seed",
            "0",
        ],
        check=True,
        timeout=300,
    )
    known, made = load_file(reference_state(directory, length=LENGTH)), load_file(out)
    assert known.keys() == made.keys()
    for name, tensor in known.items():
        numpy.testing.assert_allclose(made[name], tensor, rtol=1e-4, atol=1e-5)
    mask, labels = made["attention_mask"], made["labels"]
    assert (
        0 < mask.sum() < mask.size
        and (labels[mask == 0] == -100).all()
        and (labels[mask == 1] == -100).any()
    )


def test_subset_of_gradients(directory, altered):
    file = reference_state(directory, length=LENGTH)
    drop = {name: None for name in load_file(file) if name.startswith("grad.") and name != GRADIENT}
    answer = run_json("verify", "--base_model", directory, "--reference", altered(**drop))
    assert set(answer["tensors"]) == {LOGIT, LOSS, GRADIENT}


def test_other_keys_are_ignored(directory, altered):
    file = altered(hidden_states=numpy.ones((2, 3), numpy.float32))
    assert (
        "hidden_states"
        not in run_json("verify", "--base_model", directory, "--reference", file)["tensors"]
    )


def test_logits_under_padding_are_not_compared(directory, altered):
    file = altered(logits=shifted((-1, -1), 10.0))  # the last row is padded
    run_shira("verify", "--base_model", directory, "--reference", file)


@pytest.mark.parametrize("by", [0.01, float("nan"), float("inf")])
@pytest.mark.parametrize("name, index", [(GRADIENT, (3, 5)), (LOGIT, (0, 2, 7)), (LOSS, 0)])
def test_falsified_tensor(directory, altered, name, index, by):
    mismatch(directory, altered(**{name: shifted(index, by)}), name)


def test_falsified_model(directory, copy_of):
    """The other way round: the reference is right and one weight is not."""
    damaged = copy_of(directory)
    weights = load_file(damaged / "model.safetensors")
    weights["model.layers.0.self_attn.k_proj.weight"][2, 3] += 0.25
    save_file(weights, damaged / "model.safetensors")
    answer = run_shira(
        "verify",
        "--base_model",
        damaged,
        "--reference",
        reference_state(directory, length=LENGTH),
        "--json",
        check=False,
    )
    assert answer.rc == 1
    assert answer.json["max_abs_error"] > 1e-3


@pytest.mark.parametrize(
    "name", ["grad.model.layers.9.mlp.up_proj.weight", "grad.up_proj", "grad."]
)
def test_gradient_of_an_unknown_parameter(directory, altered, name):
    file = altered(**{name: numpy.zeros((2, 2), numpy.float32)})
    error = failure_of("verify", "--base_model", directory, "--reference", file, rc=1)
    assert name in error


@pytest.mark.parametrize(
    "name, value",
    [
        (GRADIENT, numpy.zeros((64, 112), numpy.float32)),
        (LOGIT, numpy.zeros((2, LENGTH, 383), numpy.float32)),
        ("labels", numpy.zeros((2, LENGTH - 1), numpy.int64)),
        ("labels", numpy.full((2, LENGTH), 384, numpy.int64)),
        ("labels", numpy.full((2, LENGTH), -2, numpy.int64)),
        ("attention_mask", numpy.ones((1, LENGTH), numpy.int64)),
        ("input_ids", numpy.full((2, LENGTH), 384, numpy.int64)),
        ("input_ids", numpy.full((2, LENGTH), -1, numpy.int64)),
        ("input_ids", numpy.zeros((2, LENGTH), numpy.float32)),
        ("input_ids", None),
    ],
)
def test_unusable_tensor(directory, altered, name, value):
    error = failure_of(
        "verify", "--base_model", directory, "--reference", altered(**{name: value}), rc=1
    )
    assert name in error


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_reference(directory, tmp_path, keep):
    file = tmp_path / "truncated.safetensors"
    file.write_bytes(reference_state(directory, length=LENGTH).read_bytes()[:keep])
    assert "truncated.safetensors" in failure_of(
        "verify", "--base_model", directory, "--reference", file, rc=1
    )


def test_missing_files(directory, tmp_path):
    reference = reference_state(directory, length=LENGTH)
    assert "nowhere" in failure_of(
        "verify", "--base_model", directory, "--reference", tmp_path / "nowhere"
    )
    assert "nowhere" in failure_of(
        "verify", "--base_model", tmp_path / "nowhere", "--reference", reference
    )


def test_bad_usage(directory):
    assert "--reference" in failure_of("verify", "--base_model", directory, rc=2)
