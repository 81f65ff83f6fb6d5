"""CLIP's text encoders and AutoencoderKL, held against transformers and diffusers."""

import json
import subprocess

import pytest
from conftest import BUILD_DIR, SHARED_DIR

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

TOLERANCE = 1e-4  # max abs error over max abs reference of a tensor
CLIP = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "max_position_embeddings": 11,
    "bos_token_id": 48,
    "eos_token_id": 49,
    "pad_token_id": 49,
}
VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [8, 16, 24],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 16,
}


def run_component(kind, directory, inputs, tmp_path, check=True):
    save_file(inputs, tmp_path / "inputs.safetensors")
    out = tmp_path / "outputs.safetensors"
    result = subprocess.run(
        [BUILD_DIR / "bin" / "run_component", kind, directory, tmp_path / "inputs.safetensors", out],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if not check:
        assert result.returncode == 1
        return result.stderr
    assert result.returncode == 0, result.stderr
    return load_file(out)


def names_of(kind, directory, tmp_path):
    out = tmp_path / "names.json"
    command = [BUILD_DIR / "bin" / "run_component", "names", kind, directory, out]
    subprocess.run(command, check=True, timeout=120)
    return json.loads(out.read_text())


def assert_close(ours, reference):
    assert set(ours) == set(reference)
    for name, tensor in reference.items():
        # softmax does not see a key's bias: its gradient is rounding, small beside a query's
        scale = reference[name.replace("k_proj.bias", "q_proj.bias")].abs().max()
        error = (ours[name] - tensor).abs().max() / scale.clamp(min=1e-30)
        assert ours[name].shape == tensor.shape and error <= TOLERANCE, f"{name}: {error:.1e}"


# ------------------------------------------------------------------------------------------- CLIP


def make_clip(directory, projection=False, **changes):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    config = CLIPTextConfig(**CLIP | changes)
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()
    with torch.no_grad():  # nothing that is zero or one at first stays so
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    return model


def clip_ids():
    ids = torch.randint(0, 48, (4, 11), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = 48
    for row, end in enumerate((4, 10, 1, 11)):  # the last one has no EOS
        ids[row, end:] = 49
    return ids


def clip_reference(model, ids, weights):
    model.zero_grad(set_to_none=True)
    result = model(input_ids=ids, output_hidden_states=True)
    penultimate = result.hidden_states[-2]
    pooled = getattr(result, "text_embeds", None)
    pooled = result.pooler_output if pooled is None else pooled
    ((penultimate * weights).sum() + pooled.sum()).backward()
    outputs = {"last": result.last_hidden_state, "penultimate": penultimate, "pooled": pooled}
    gradients = {"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.detach() for name, tensor in outputs.items()} | gradients


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu", "num_attention_heads": 4},
        {"projection": True, "projection_dim": 10},
        {"projection": True, "projection_dim": 24, "hidden_act": "gelu"},
        {"eos_token_id": 2, "pad_token_id": 1},  # as SD 1.5 has it: the largest id ends the text
        {"num_hidden_layers": 1},
    ],
    ids=str,
)
def test_clip_equals_transformers(changes, tmp_path):
    model = make_clip(tmp_path / "clip", **changes)
    weights = torch.randn(4, 11, 24)
    ids = clip_ids()
    ours = run_component(
        "clip", tmp_path / "clip", {"input_ids": ids, "weights": weights}, tmp_path
    )
    reference = clip_reference(model, ids, weights)
    assert_close(ours, reference)
    checkpointed = {"input_ids": ids, "weights": weights, "checkpointed": torch.ones(1)}
    assert_close(run_component("clip", tmp_path / "clip", checkpointed, tmp_path), reference)


def test_rows_shorter_than_the_positions(tmp_path):
    model = make_clip(tmp_path / "clip")
    ids, weights = clip_ids()[:, :7].contiguous(), torch.randn(4, 7, 24)
    ours = run_component(
        "clip", tmp_path / "clip", {"input_ids": ids, "weights": weights}, tmp_path
    )
    assert_close(ours, clip_reference(model, ids, weights))


def test_clip_files_with_and_without_the_prefix_and_with_position_ids(tmp_path):
    model = make_clip(tmp_path / "clip")
    weights = torch.randn(4, 11, 24)
    reference = clip_reference(model, clip_ids(), weights)
    path = tmp_path / "clip" / "model.safetensors"
    tensors = {"text_model." + name: tensor for name, tensor in load_file(path).items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(11).unsqueeze(0)
    save_file(tensors, path)
    ours = run_component(
        "clip", tmp_path / "clip", {"input_ids": clip_ids(), "weights": weights}, tmp_path
    )
    assert_close({n.replace("text_model.", ""): t for n, t in ours.items()}, reference)


def test_a_half_precision_file_of_the_fp16_variant(tmp_path):
    model = make_clip(tmp_path / "clip")
    model.half().save_pretrained(tmp_path / "clip", variant="fp16")
    (tmp_path / "clip" / "model.safetensors").unlink()
    weights = torch.randn(4, 11, 24)
    ours = run_component(
        "clip", tmp_path / "clip", {"input_ids": clip_ids(), "weights": weights}, tmp_path
    )
    assert_close(ours, clip_reference(model.float(), clip_ids(), weights))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"hidden_act": "relu"}, ["hidden_act", "quick_gelu and gelu"]),
        ({"num_attention_heads": 5}, ["num_attention_heads", "divisor"]),
        ({"hidden_size": 25}, ["expected shape", "token_embedding"]),
        ({"num_hidden_layers": 4}, ["layers.3.mlp.fc1.weight: missing"]),
        ({"num_hidden_layers": 2}, ["layers.2.mlp.fc1.weight: unexpected"]),
        ({"model_type": "bert"}, ["model_type", "clip_text_model"]),
        ({"num_hidden_layers": 1 << 20}, ["num_hidden_layers", "at most 256"]),
        ({"layer_norm_eps": -1e-5}, ["layer_norm_eps", "at least 0"]),
        ({"use_attention_mask": True}, ["use_attention_mask", "only false"]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, words, tmp_path):
    make_clip(tmp_path / "clip")
    path = tmp_path / "clip" / "config.json"
    if change.get("hidden_size") == 25:
        change = change | {"num_attention_heads": 5}
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    inputs = {"input_ids": clip_ids(), "weights": torch.randn(4, 11, 24)}
    error = run_component("clip", tmp_path / "clip", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    "ids, words",
    [
        (torch.zeros(1, 12, dtype=torch.int64), ["12 tokens", "11 positions"]),
        (torch.full((1, 3), 50), ["id 50", "vocabulary of 50"]),
        (torch.full((1, 3), -1), ["id -1"]),
        (torch.zeros(1, 3), ["int64"]),
    ],
)
def test_ids_that_the_model_does_not_have(ids, words, tmp_path):
    make_clip(tmp_path / "clip")
    inputs = {"input_ids": ids, "weights": torch.randn(1, 1, 24)}
    error = run_component("clip", tmp_path / "clip", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


# -------------------------------------------------------------------------------------------- VAE


def make_vae(directory, **changes):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(**VAE | changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    return model


def vae_inputs(count, size, latent, channels=4):
    return {
        "pixels": torch.rand(count, 3, *size) * 2 - 1,
        "latents": torch.randn(count, channels, *latent),
        "noise": torch.randn(count, channels, size[0] // 4, size[1] // 4),
    }


@torch.no_grad()
def vae_reference(model, inputs):
    moments = model.encode(inputs["pixels"]).latent_dist
    return {
        "mean": moments.mean,
        "logvar": moments.logvar,
        "sampled": moments.mean + moments.std * inputs["noise"],
        "decoded": model.decode(inputs["latents"]).sample,
    }


@pytest.mark.parametrize(
    "changes, size, latent",
    [
        ({}, (16, 16), (4, 4)),
        ({}, (19, 30), (5, 3)),  # an odd size is cut
        ({"layers_per_block": 2, "norm_num_groups": 8, "sample_size": 32}, (16, 24), (4, 6)),
        ({"use_quant_conv": False, "use_post_quant_conv": False}, (8, 8), (2, 2)),
        ({"mid_block_add_attention": False, "latent_channels": 8}, (8, 8), (2, 2)),
    ],
    ids=str,
)
def test_vae_equals_diffusers(changes, size, latent, tmp_path):
    model = make_vae(tmp_path / "vae", **changes)
    inputs = vae_inputs(2, size, latent, changes.get("latent_channels", 4))
    ours = run_component("vae", tmp_path / "vae", inputs, tmp_path)
    assert_close(ours, vae_reference(model, inputs))


def test_the_variance_is_bounded(tmp_path):
    model = make_vae(tmp_path / "vae")
    with torch.no_grad():
        model.quant_conv.bias[4:] = torch.tensor([-100.0, 100.0, 0.0, 25.0])
    model.save_pretrained(tmp_path / "vae")
    inputs = vae_inputs(1, (16, 16), (4, 4))
    ours = run_component("vae", tmp_path / "vae", inputs, tmp_path)
    assert ours["logvar"].min() == -30 and ours["logvar"].max() == 20
    assert_close(ours, vae_reference(model, inputs))


def test_a_half_precision_autoencoder_of_the_fp16_variant(tmp_path):
    model = make_vae(tmp_path / "vae")
    model.half().save_pretrained(tmp_path / "vae", variant="fp16")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    inputs = vae_inputs(1, (16, 16), (4, 4))
    ours = run_component("vae", tmp_path / "vae", inputs, tmp_path)
    assert_close(ours, vae_reference(model.float(), inputs))


@pytest.mark.parametrize("size", [(16, 16), (44, 20), (64, 52), (12, 40)])
def test_tiles_equal_those_of_diffusers(size, tmp_path):
    model = make_vae(tmp_path / "vae")
    model.enable_tiling()
    inputs = vae_inputs(2, size, (size[0] // 4, size[1] // 4))
    ours = run_component("vae_tiled", tmp_path / "vae", inputs, tmp_path)
    assert_close(ours, vae_reference(model, inputs))


@pytest.mark.parametrize(
    "sample_size, size, words",
    [
        (4, (16, 16), ["4 pixels", "too small to overlap"]),  # one latent a tile: diffusers fails too
        (16, (16, 27), ["16 x 3 pixels", "multiples of 4"]),  # tiles begin at 0, 12 and 24
    ],
)
def test_tiles_that_cannot_be_are_refused(sample_size, size, words, tmp_path):
    make_vae(tmp_path / "vae", sample_size=sample_size)
    inputs = vae_inputs(1, size, (4, 6))
    error = run_component("vae_tiled", tmp_path / "vae", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    "change, words",
    [
        ({"pixels": torch.zeros(1, 4, 16, 16)}, ["encode", "[1, 4, 16, 16]", "(B, 3, H, W)"]),
        ({"pixels": torch.zeros(3, 16, 16)}, ["encode", "[3, 16, 16]"]),
        ({"pixels": torch.zeros(1, 3, 16, 2)}, ["encode", "16 x 2 pixels"]),
        ({"pixels": torch.zeros(0, 3, 16, 16)}, ["encode", "[0, 3, 16, 16]"]),
        ({"latents": torch.zeros(1, 3, 4, 4)}, ["decode", "[1, 3, 4, 4]", "(B, 4, h, w)"]),
        ({"latents": torch.zeros(1, 4, 0, 4)}, ["decode", "[1, 4, 0, 4]"]),
    ],
)
def test_pictures_that_do_not_fit(change, words, tmp_path):
    make_vae(tmp_path / "vae")
    inputs = vae_inputs(1, (16, 16), (4, 4)) | change
    error = run_component("vae", tmp_path / "vae", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


def test_attention_names_of_2022(tmp_path):
    model = make_vae(tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(path).items():
        for now, before in old.items():
            name = name.replace(f".{now}.", f".{before}.")
        tensors[name] = tensor
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, path)
    inputs = vae_inputs(1, (16, 16), (4, 4))
    ours = run_component("vae", tmp_path / "vae", inputs, tmp_path)
    assert_close(ours, vae_reference(model, inputs))


@pytest.mark.parametrize(
    "change, words",
    [
        # the shape that the first release of the weights had, which diffusers' files never do
        (lambda t, q: {q: t[q][:, :, None, None]}, ["to_q.weight: expected shape [24, 24]"]),
        (lambda t, q: {q.replace("to_q", "query"): t[q].clone()}, ["query.weight: unexpected"]),
        (lambda t, q: {q: t[q].int()}, ["to_q.weight: expected floating-point values"]),
    ],
    ids=["shape", "both names", "dtype"],
)
def test_weights_of_an_autoencoder_that_do_not_fit_are_named(change, words, tmp_path):
    make_vae(tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file(tensors | change(tensors, "decoder.mid_block.attentions.0.to_q.weight"), path)
    inputs = vae_inputs(1, (16, 16), (4, 4))
    error = run_component("vae", tmp_path / "vae", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    "change, words",
    [
        ({"act_fn": "relu"}, ["act_fn", "only silu"]),
        ({"shift_factor": 0.1}, ["shift_factor"]),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 3}, ["DownEncoderBlock2D"]),
        ({"block_out_channels": [8, 16]}, ["one for each of block_out_channels"]),
        ({"layers_per_block": 2}, ["resnets.1.norm1.weight: missing"]),
        ({"_class_name": "AutoencoderTiny"}, ["only AutoencoderKL"]),
        ({"layers_per_block": 1 << 20}, ["layers_per_block", "at most 16"]),
        ({"norm_num_groups": 3}, ["block_out_channels", "multiples of norm_num_groups"]),
        ({"sample_size": [-1, 3]}, ["sample_size", "from 1 to 2^24"]),
        ({"use_tanh": True}, ["use_tanh", "unknown key"]),
    ],
    ids=str,
)
def test_an_autoencoder_that_does_not_fit_is_refused(change, words, tmp_path):
    make_vae(tmp_path / "vae")
    path = tmp_path / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    inputs = vae_inputs(1, (16, 16), (4, 4))
    error = run_component("vae", tmp_path / "vae", inputs, tmp_path, check=False)
    assert all(word in error for word in words), error


# ------------------------------------------------------------------------------------ real configs

SDXL_TEXT_2 = {
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
    "vocab_size": 49408,
}
SDXL_VAE = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def real_config(part, tmp_path):
    known = {"text_encoder_2": SDXL_TEXT_2, "sdxl_vae": SDXL_VAE}
    if part in known:
        (tmp_path / "config.json").write_text(json.dumps(known[part]))
        return tmp_path
    directory = SHARED_DIR / "sd_configs" / "sd15" / part
    directory = directory if directory.is_dir() else SHARED_DIR / "data/sd_configs/sd15" / part
    if not directory.is_dir():
        pytest.skip(f"{directory} is missing")
    return directory


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
def test_parameters_of_real_text_encoders(part, tmp_path):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    directory = real_config(part, tmp_path)
    kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
    with torch.device("meta"):
        model = kind(CLIPTextConfig.from_pretrained(directory))
    expected = {
        name.removeprefix("text_model."): list(p.shape) for name, p in model.named_parameters()
    }
    assert names_of("clip", directory, tmp_path) == expected


@pytest.mark.parametrize("part", ["vae", "sdxl_vae"])
def test_parameters_of_real_autoencoders(part, tmp_path):
    from diffusers import AutoencoderKL

    directory = real_config(part, tmp_path)
    with torch.device("meta"):
        model = AutoencoderKL.from_config(AutoencoderKL.load_config(directory))
    expected = {name: list(p.shape) for name, p in model.named_parameters()}
    assert names_of("vae", directory, tmp_path) == expected
