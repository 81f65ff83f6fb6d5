"""`shira verify` on UNets: agrees with live diffusers on every kind, and refuses what it would compute otherwise."""

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys

import numpy
import pytest
from conftest import (
    BUILD_DIR,
    SOURCE_DIR,
    edit_json,
    failure_of,
    made_once,
    run_json,
    run_shira,
    shared_file,
    write_altered,
)
from safetensors.numpy import load_file, save_file

TOLERANCE = 1e-4  # max abs error / max abs reference, a tensor
WEIGHTS = "diffusion_pytorch_model.safetensors"
VARIANTS = [
    "sd15",
    "sd21",
    "sdxl",
    "odd",
    "defaults",
    "nested_layers",
    "class_table",
    "class_timestep",
    "class_projection",
]
SIZES = {
    "odd": [9, 7],
    "flat": [3, 12],
    "tiny": [5, 2],
    "large": [16, 12],
}
GRADIENT = "grad.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"

# What config.json of Stable Diffusion 2.1 and of XL base 1.0 hold, without keys at their defaults.
SD21 = {
    "attention_head_dim": [5, 10, 20, 20],
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "sample_size": 96,
    "upcast_attention": True,
    "use_linear_projection": True,
}
SDXL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "upcast_attention": None,
    "use_linear_projection": True,
}


def key():
    """Stands for the generator scripts and the packages they use."""
    digest = hashlib.sha256()
    for script in ("make_tiny_unet", "make_unet_reference"):
        digest.update((SOURCE_DIR / "scripts" / f"{script}.py").read_bytes())
    for package in ("torch", "diffusers", "safetensors"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:12]


def unet(variant, **options):
    """A directory of scripts/make_tiny_unet.py; not to be written to."""
    import make_tiny_unet

    text = "-".join(f"{name}_{value}" for name, value in options.items())
    return made_once(
        f"unet-{variant}-{text}-{key()}",
        lambda path: make_tiny_unet.make_tiny_unet(path, variant, **options),
    )


def reference(directory, name="own", **options):
    """The reference state of a UNet, made by scripts/make_unet_reference.py."""

    def make(path):
        from make_unet_reference import make_unet_reference

        make_unet_reference(directory, path, **options)

    return made_once(f"{directory.name}-{name}.safetensors", make)


def assert_agrees(directory, file):
    answer = run_json("verify", "--base_model", directory, "--reference", file)
    expected = load_file(file)
    compared = {name for name in expected if name in ("output", "loss") or name.startswith("grad.")}
    assert set(answer["tensors"]) == compared
    assert answer["worst_tensor"] in compared
    for name, entry in answer["tensors"].items():
        scale = numpy.abs(expected[name]).max()
        assert scale > 0, f"{name}: nothing to compare"
        assert 0 <= entry["max_abs_error"] <= TOLERANCE * scale, name
    return compared


@pytest.fixture(scope="module")
def small():
    return unet("class_table")


@pytest.fixture
def altered(small, tmp_path):
    """A function that writes the reference state with some tensors changed (None: left out)."""

    def alter(**changes):
        return write_altered(reference(small), tmp_path / "altered.safetensors", **changes)

    return alter


# ------------------------------------------------------------------------------------- agreement


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gradient_agrees(variant):
    directory = unet(variant)
    compared = assert_agrees(directory, reference(directory))
    weights = load_file(directory / WEIGHTS)
    assert {f"grad.{name}" for name in weights} == compared - {"output", "loss"}


def test_all_variants_are_tested():
    import make_tiny_unet

    assert set(VARIANTS) == set(make_tiny_unet.VARIANTS)


@pytest.mark.parametrize("variant", ["sd15", "sdxl"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes(variant, size):
    """Odd sizes are halved upwards, and doubled to what they were before."""
    directory = unet(variant)
    assert_agrees(directory, reference(directory, size, size=SIZES[size], batch=3, seed=1))


@pytest.mark.parametrize("timesteps", [[0, 999], [1, 20], [500]])
def test_timesteps(small, timesteps):
    name = "at_" + "_".join(map(str, timesteps))
    assert_agrees(small, reference(small, name, timesteps=timesteps))


def test_texts_of_other_lengths(small):
    assert_agrees(small, reference(small, "long_text", tokens=77, batch=1))
    assert_agrees(small, reference(small, "short_text", tokens=2))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stored_in_half_precision(small, dtype):
    """The values are exact in each dtype and verify computes in F32, so the F32 reference holds."""
    assert_agrees(unet("class_table", dtype=dtype), reference(small))


def test_file_of_the_fp16_variant(small):
    directory = unet("class_table", dtype="float16", fp16_variant=True)
    assert [file.name for file in directory.glob("*.safetensors")] == [
        "diffusion_pytorch_model.fp16.safetensors"
    ]
    assert_agrees(directory, reference(small))


def test_shards(small):
    directory = unet("class_table", shards=True)
    assert len(list(directory.glob("*.safetensors"))) > 2
    assert_agrees(directory, reference(small))


def test_pipeline_directory(small, tmp_path):
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "x"]})
    )
    shutil.copytree(small, tmp_path / "unet")
    assert_agrees(tmp_path, reference(small))


def test_the_generators_as_commands(small, tmp_path):
    """The checked-in scripts, called as documented, write what the other tests use."""
    for script, *args in (
        ("make_tiny_unet", tmp_path / "unet", "--variant", "class_table"),
        ("make_unet_reference", tmp_path / "unet", tmp_path / "state", "--batch", "2"),
    ):
        subprocess.run(
            [sys.executable, SOURCE_DIR / f"scripts/{script}.py", *args], check=True, timeout=300
        )
    known, made = load_file(reference(small)), load_file(tmp_path / "state")
    assert known.keys() == made.keys()
    for name, tensor in known.items():
        numpy.testing.assert_allclose(made[name], tensor, rtol=1e-3, atol=1e-5)


# ----------------------------------------------------------------------------------- differences


@pytest.mark.parametrize("name", ["output", "loss", GRADIENT])
@pytest.mark.parametrize("by", [0.01, float("nan")])
def test_falsified_tensor(small, altered, name, by):
    def shift(tensor):
        tensor.flat[0] += by * numpy.abs(tensor).max()
        return tensor

    answer = run_shira(
        "verify",
        "--base_model",
        small,
        "--reference",
        altered(**{name: shift}),
        "--json",
        check=False,
    )
    assert answer.rc == 1
    assert answer.json["worst_tensor"] == name


def test_falsified_model(small, copy_of):
    damaged = copy_of(small)
    weights = load_file(damaged / WEIGHTS)
    weights["up_blocks.1.resnets.0.conv_shortcut.weight"][2, 3] += 1
    save_file(weights, damaged / WEIGHTS)
    answer = run_shira(
        "verify", "--base_model", damaged, "--reference", reference(small), check=False
    )
    assert answer.rc == 1
    assert "FAILED" in answer.stdout


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "name, value",
    [
        ("sample", None),
        ("sample", numpy.zeros((2, 3, 8, 8), numpy.float32)),
        ("sample", numpy.zeros((2, 4, 8), numpy.float32)),
        ("sample", numpy.full((2, 4, 8, 8), numpy.inf, numpy.float32)),
        ("timesteps", numpy.zeros(3, numpy.int64)),
        ("encoder_hidden_states", None),
        ("encoder_hidden_states", numpy.zeros((2, 7, 23), numpy.float32)),
        ("encoder_hidden_states", numpy.zeros((1, 7, 24), numpy.float32)),
        ("class_labels", None),
        ("class_labels", numpy.full(2, 5, numpy.int64)),
        ("target", None),
        ("target", numpy.zeros((2, 4, 8, 7), numpy.float32)),
        ("output", numpy.zeros((2, 4, 8, 7), numpy.float32)),
        (GRADIENT, numpy.zeros((2, 2), numpy.float32)),
        ("grad.mid_block.nothing", numpy.zeros((2, 2), numpy.float32)),
    ],
)
def test_unusable_tensor(small, altered, name, value):
    file = altered(**{name: value})
    error = failure_of("verify", "--base_model", small, "--reference", file, rc=1)
    assert name in error


def test_reference_of_a_language_model(small, tmp_path):
    file = tmp_path / "state.safetensors"
    save_file({"input_ids": numpy.zeros((1, 4), numpy.int64)}, file)
    assert "encoder_hidden_states" in failure_of(
        "verify", "--base_model", small, "--reference", file, rc=1
    )


def test_missing_unexpected_and_misshapen_tensors_are_listed_together(small, copy_of):
    damaged = copy_of(small)
    weights = load_file(damaged / WEIGHTS)
    del weights["conv_out.bias"]
    weights["mid_block.resnets.0.norm1.weight"] = numpy.ones(31, numpy.float32)
    weights["conv_in.bias"] = weights["conv_in.bias"].astype(numpy.int32)
    weights["up_blocks.7.conv.weight"] = numpy.ones(1, numpy.float32)
    save_file(weights, damaged / WEIGHTS)
    error = failure_of("verify", "--base_model", damaged, "--reference", reference(small), rc=1)
    for line in (
        "conv_out.bias: missing",
        "mid_block.resnets.0.norm1.weight: expected shape [32], got [31]",
        "conv_in.bias: expected floating-point values",
        "up_blocks.7.conv.weight: unexpected",
    ):
        assert line in error


def test_missing_files(small, tmp_path):
    state = reference(small)
    (tmp_path / "model_index.json").write_text("{}")
    assert "unet" in failure_of("verify", "--base_model", tmp_path, "--reference", state, rc=1)
    shutil.copytree(small, tmp_path / "unet")
    (tmp_path / "unet" / WEIGHTS).unlink()
    assert "safetensors" in failure_of(
        "verify", "--base_model", tmp_path, "--reference", state, rc=1
    )


def test_adapters_are_refused(small):
    assert "--adapter" in failure_of(
        "verify", "--base_model", small, "--reference", reference(small), "--adapter", "x"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"down_block_types": ["CrossAttnDownBlock2D", "AttnDownBlock2D"]},
        {"up_block_types": ["UpBlock2D"]},
        {"up_block_types": ["UpBlock2D", "SimpleCrossAttnUpBlock2D"]},
        {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"},
        {"block_out_channels": [32, 32, 32]},
        {"block_out_channels": [32, -32]},
        {"block_out_channels": [32, 36]},
        {"block_out_channels": "32"},
        {"layers_per_block": 0},
        {"layers_per_block": 1000000},
        {"layers_per_block": [1]},
        {"attention_head_dim": 5},
        {"attention_head_dim": [4, 4, 4]},
        {"num_attention_heads": 4},
        {"transformer_layers_per_block": -1},
        {"transformer_layers_per_block": [1, 1, 1]},
        {"transformer_layers_per_block": [[1], [1]]},
        {"reverse_transformer_layers_per_block": [1, [1]]},
        {"cross_attention_dim": [24, 25]},
        {"cross_attention_dim": 0},
        {"only_cross_attention": True},
        {"only_cross_attention": [False, True]},
        {"dual_cross_attention": True},
        {"encoder_hid_dim": 32},
        {"encoder_hid_dim_type": "text_proj"},
        {"class_embed_type": "simple_projection"},
        {"class_embed_type": "projection"},
        {"class_embeddings_concat": True},
        {"addition_embed_type": "text"},
        {"addition_embed_type": "text_time"},
        {"num_class_embeds": 0},
        {"resnet_time_scale_shift": "scale_shift"},
        {"resnet_skip_time_act": True},
        {"resnet_out_scale_factor": 0.5},
        {"time_embedding_type": "fourier"},
        {"time_embedding_dim": 64},
        {"time_embedding_act_fn": "silu"},
        {"timestep_post_act": "silu"},
        {"time_cond_proj_dim": 16},
        {"conv_in_kernel": 1},
        {"conv_out_kernel": 1},
        {"attention_type": "gated"},
        {"act_fn": "gelu"},
        {"dropout": 0.1},
        {"downsample_padding": 2},
        {"cross_attention_norm": "layer_norm"},
        {"norm_num_groups": 5},
        {"norm_eps": -1.0},
        {"norm_eps": "small"},
        {"mid_block_scale_factor": 0},
        {"freq_shift": 16},
        {"flip_sin_to_cos": 1},
        {"sample_size": [8]},
        {"in_channels": 4.5},
        {"out_channels": 0},
        {"a_key_of_the_future": True},
    ],
    ids=lambda changes: "-".join(f"{name}-{value}" for name, value in changes.items())[:60],
)
def test_refused_config(small, copy_of, changes):
    directory = copy_of(small)
    edit_json(directory / "config.json", **changes)
    error = failure_of("verify", "--base_model", directory, "--reference", reference(small), rc=2)
    required = {"projection": "projection_class_embeddings_input_dim", "text_time": "addition_time"}
    (name, value), *_ = changes.items()
    aliases = {
        "reverse_transformer_layers_per_block": "transformer_layers_per_block",
        "freq_shift": "block_out_channels",
    }
    expected = required.get(str(value), aliases.get(name, name))
    if changes in ({"block_out_channels": [32, 36]}, {"norm_num_groups": 5}):
        expected = "norm_num_groups"
    assert expected in error


@pytest.mark.parametrize("name", ["mid_block_type", "norm_num_groups", "flip_sin_to_cos"])
def test_null_that_means_another_model(small, copy_of, name):
    directory = copy_of(small)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {name: None}))
    assert name in failure_of(
        "verify", "--base_model", directory, "--reference", reference(small), rc=2
    )


def test_one_error_lists_all_problems_of_a_config(small, copy_of):
    directory = copy_of(small)
    changes = {"act_fn": "gelu", "dropout": 0.5, "unknown": 1, "layers_per_block": [1, 2, 3]}
    edit_json(directory / "config.json", **changes)
    error = failure_of("verify", "--base_model", directory, "--reference", reference(small), rc=2)
    for name in changes:
        assert f"\n  {name}: " in error


def test_keys_that_say_nothing_about_the_computation_are_ignored(small, copy_of):
    directory = copy_of(small)
    edit_json(
        directory / "config.json",
        _name_or_path="somewhere",
        addition_embed_type_num_heads=32,
        decay=0.9999,
        upcast_attention=True,
        use_ema_warmup=False,
    )
    assert_agrees(directory, reference(small))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff"])
def test_config_that_is_no_json_object(small, copy_of, text):
    directory = copy_of(small)
    (directory / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in failure_of(
        "verify", "--base_model", directory, "--reference", reference(small), rc=1
    )


# ---------------------------------------------------------------------- the models people have


def assert_same_parameters(directory):
    """The names and shapes that the program asks a checkpoint for are those of diffusers' model."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(directory))
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    lines = subprocess.run(
        [BUILD_DIR / "bin" / "unet_parameters", directory],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.splitlines()
    asked = [line.split() for line in lines if not line.startswith("registered ")]
    registered = {line.split()[1] for line in lines if line.startswith("registered ")}
    assert {name: list(map(int, shape)) for name, *shape in asked} == expected
    assert len(asked) == len(expected)
    assert registered == expected.keys()
    return sum(tensor.numel() for tensor in model.state_dict().values())


def test_parameters_of_stable_diffusion_15():
    directory = shared_file("data/sd_configs/sd15/unet/config.json").parent
    assert assert_same_parameters(directory) == 859_520_964


@pytest.mark.parametrize(
    "config, count",
    [(SD21, 865_910_724), (SDXL, 2_567_463_684), ({}, None)],
    ids=["sd21", "sdxl", "defaults"],
)
def test_parameters_of_other_models(tmp_path, config, count):
    name = {"_class_name": "UNet2DConditionModel"}
    (tmp_path / "config.json").write_text(json.dumps(name | config))
    assert assert_same_parameters(tmp_path) == count or count is None
