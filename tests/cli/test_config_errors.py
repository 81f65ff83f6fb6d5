"""Checkpoints that cannot be used: one clear error each, never a crash."""

import json
import struct

import numpy
import pytest
from conftest import checkpoint, edit_json, failure_of, run_shira
from safetensors.numpy import load_file, save_file

UP = "model.layers.1.mlp.up_proj.weight"
LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}


def error_with(directory):
    """What `generate` says about a checkpoint that it must refuse."""
    return failure_of("generate", "--base_model", directory, "--prompt", "x", "--max_new_tokens", 2)


def runs(directory):
    run_shira("generate", "--base_model", directory, "--prompt", "x", "--max_new_tokens", 2)


@pytest.fixture
def directory(copy_of):
    return copy_of(checkpoint("llama2"))


@pytest.fixture
def change_weights(directory):
    def change(edit):
        weights = load_file(directory / "model.safetensors")
        edit(weights)
        save_file(weights, directory / "model.safetensors")

    return change


# ------------------------------------------------------------------------------------ config.json


@pytest.mark.parametrize(
    "key, value",
    [
        ("model_type", "gemma"),
        ("hidden_act", "gelu"),
        ("attention_dropout", 0.1),
        ("quantization_config", {"quant_method": "gptq"}),
        ("rope_scaling", {"type": "linear", "factor": 0.5}),
        ("rope_scaling", {"type": "longrope", "factor": 2.0}),
        ("rope_scaling", {"rope_type": "yarn", "factor": 2.0, "beta_slow": 0}),
        ("rope_scaling", {"type": "dynamic"}),
        ("model_type", None),
        ("is_causal", False),
        ("layer_types", ["chunked_attention"] * 2),
        ("layer_types", "full_attention"),
        ("rope_parameters", {"full_attention": {"rope_type": "default", "rope_theta": 500.0}}),
        ("rope_scaling", {**LLAMA3_ROPE, "factor": "8"}),
        (
            "rope_scaling",
            {key: value for key, value in LLAMA3_ROPE.items() if key != "high_freq_factor"},
        ),
        ("rope_scaling", "llama3"),
        ("rope_parameters", {"rope_type": "longrope", "rope_theta": 10000.0}),
        ("rope_theta", -1.0),
        ("rope_theta", "10000"),
        ("num_key_value_heads", 3),
        ("num_key_value_heads", 0),
        ("num_attention_heads", 0),
        ("num_attention_heads", -4),
        ("num_attention_heads", 5),
        ("head_dim", 15),
        ("head_dim", 0),
        ("hidden_size", "64"),
        ("hidden_size", 2**62),
        ("hidden_size", 64.5),
        ("vocab_size", None),
        ("num_hidden_layers", -1),
        ("rms_norm_eps", "small"),
        ("tie_word_embeddings", "yes"),
        ("attention_bias", 1),
    ],
)
def test_value_that_is_not_supported(directory, key, value):
    edit_json(directory / "config.json", **{key: value})
    error = error_with(directory)
    assert key in error and "config.json" in error


@pytest.mark.parametrize("value", [0, "7"])
def test_a_window_that_is_none(copy_of, value):
    directory = copy_of(checkpoint("mistral"))
    edit_json(directory / "config.json", sliding_window=value)
    assert "sliding_window" in error_with(directory)


def test_layers_with_a_window_that_is_off(copy_of):
    """transformers fails when it gets to them."""
    directory = copy_of(checkpoint("qwen2"))
    edit_json(directory / "config.json", layer_types=["full_attention", "sliding_attention"])
    assert "sliding_attention needs use_sliding_window" in error_with(directory)


def test_rope_settings_that_contradict_each_other(directory):
    parameters = {"rope_type": "default", "rope_theta": 10000.0}
    edit_json(directory / "config.json", rope_parameters=parameters, rope_scaling={"type": "linear", "factor": 4.0})
    assert "rope_scaling: differs from rope_parameters" in error_with(directory)


def test_a_config_without_model_type(directory):
    config = json.loads((directory / "config.json").read_text())
    del config["model_type"]
    (directory / "config.json").write_text(json.dumps(config))
    assert "model_type: missing" in error_with(directory)


@pytest.mark.parametrize("layers", [20, 200_000])
def test_far_more_layers_than_tensors_are_few_words(directory, layers):
    edit_json(directory / "config.json", num_hidden_layers=layers)
    error = error_with(directory)
    assert len(error) < 3000
    if layers == 20:
        assert "model.layers.2.input_layernorm.weight: missing" in error and "more" in error
    else:
        assert "num_hidden_layers is 200000" in error


def test_all_values_in_one_error(directory):
    edit_json(
        directory / "config.json",
        model_type="gpt2",
        hidden_act="relu",
        attention_dropout=0.5,
        rope_scaling={"type": "su", "factor": 2.0},
    )
    error = error_with(directory)
    for key in ("model_type", "hidden_act", "attention_dropout", "rope_scaling"):
        assert key in error


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "\x00\x01", '{"hidden_size": 64', "{}", "[" * 100000]
)
def test_config_that_is_no_llama_config(directory, content):
    (directory / "config.json").write_text(content)
    assert "config.json" in error_with(directory)


def test_missing_config(directory):
    (directory / "config.json").unlink()
    assert "config.json" in error_with(directory)


def test_missing_directory(tmp_path):
    assert "nowhere" in error_with(tmp_path / "nowhere")


def test_a_file_instead_of_a_directory(directory):
    error_with(directory / "model.safetensors")


def test_keys_that_only_describe_are_ignored(directory):
    edit_json(
        directory / "config.json",
        something_new={"a": [1]},
        torch_dtype="float32",
        use_cache=False,
        _name_or_path="x",
        rope_scaling=None,
        pad_token_id=-1,
    )
    runs(directory)


# ---------------------------------------------------------------------------------------- tensors


def test_missing_unexpected_and_misshaped_in_one_error(directory, change_weights):
    def edit(weights):
        del weights["model.layers.0.self_attn.q_proj.weight"], weights["model.norm.weight"]
        weights["model.layers.2.mlp.up_proj.weight"] = numpy.zeros((112, 64), numpy.float32)
        weights["surprise"] = numpy.zeros(3, numpy.float32)
        weights[UP] = weights[UP].T.copy()

    change_weights(edit)
    error = error_with(directory)
    for name in (
        "model.layers.0.self_attn.q_proj.weight",
        "model.norm.weight",
        "model.layers.2.mlp.up_proj.weight",
        "surprise",
        UP,
        "[64, 112]",
        "[112, 64]",
    ):
        assert name in error, name


def test_biases_without_their_config_key(copy_of):
    """Silently dropped biases would be a wrong model."""
    directory = copy_of(checkpoint("attention_bias"))
    edit_json(directory / "config.json", attention_bias=False)
    error = error_with(directory)
    for layer in (0, 1):
        assert f"model.layers.{layer}.self_attn.k_proj.bias" in error


def test_missing_head(copy_of):
    directory = copy_of(checkpoint("tied"))
    edit_json(directory / "config.json", tie_word_embeddings=False)
    assert "lm_head.weight" in error_with(directory)


def test_integers_where_weights_belong(directory, change_weights):
    change_weights(lambda weights: weights.update({UP: weights[UP].astype(numpy.int32)}))
    assert UP in error_with(directory)


# ------------------------------------------------------------------------------------------ files


def rewrite_header(file, edit):
    """Changes the JSON header of a safetensors file and leaves the data as they are."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize("keep", [0, 7, 8, 50, 4000, -1])
def test_truncated_weights(directory, keep):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "model.safetensors" in error_with(directory)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 1, 0])
def test_header_length_that_lies(directory, length):
    file = directory / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])
    assert "model.safetensors" in error_with(directory)


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 2**63]},
        {"data_offsets": [-4, 0]},
        {"data_offsets": [100, 4]},
        {"data_offsets": "0, 4"},
        {"shape": [2**32, 2**32]},
        {"shape": [-112, -64]},
        {"shape": [112, 65]},
        {"shape": None},
        {"dtype": "F31"},
        {"dtype": "F16"},
        {"dtype": 7},
    ],
    ids=str,
)
def test_tensor_entry_that_lies(directory, change):
    rewrite_header(directory / "model.safetensors", lambda header: header[UP].update(change))
    error = error_with(directory)
    assert "model.safetensors" in error and UP in error


def test_weights_in_no_supported_format(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    assert "pytorch_model.bin" in error_with(directory)


def test_one_shard_is_missing(copy_of):
    directory = copy_of(checkpoint("untied", shards=3))
    (directory / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors" in error_with(directory)


@pytest.mark.parametrize(
    "edit",
    [
        lambda weight_map: weight_map.update({UP: "../outside.safetensors"}),
        lambda weight_map: weight_map.update({UP: "/etc/passwd"}),
        lambda weight_map: weight_map.update({UP: "model-00009-of-00003.safetensors"}),
        lambda weight_map: weight_map.update({UP: 3}),
        lambda weight_map: weight_map.update({"surprise": "model-00001-of-00003.safetensors"}),
        lambda weight_map: weight_map.clear(),
    ],
    ids=["outside", "absolute", "absent", "number", "unknown", "empty"],
)
def test_index_that_lies(copy_of, edit):
    directory = copy_of(checkpoint("untied", shards=3))
    index = directory / "model.safetensors.index.json"
    value = json.loads(index.read_text())
    edit(value["weight_map"])
    index.write_text(json.dumps(value))
    error_with(directory)


# -------------------------------------------------------------------------------------- the program


def test_no_subcommand_and_unknown_ones():
    for args in ([], ["fly"], ["generate", "--fly"], ["tokenize", "--base_model"]):
        failure_of(*args, rc=2)


def test_help_is_no_error():
    for args in (
        ["--help"],
        ["generate", "--help"],
        ["verify", "--help"],
        ["tokenize", "--help"],
        ["eval", "--help"],
    ):
        assert "--" in run_shira(*args).stdout
