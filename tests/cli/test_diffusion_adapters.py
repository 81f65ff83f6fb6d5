"""Adapters of diffusers pipelines: LoRA files as diffusers and kohya's scripts write them, PEFT's directories of one
component, SHiRA. diffusers and PEFT judge every weight."""

import json
import shutil
import subprocess

import pytest
from conftest import BUILD_DIR, TIMEOUT, failure_of, merged, run_json, weights_in

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
from diffusers.training_utils import _collate_lora_metadata  # noqa: E402
from make_tiny_unet import VARIANTS, random_value  # noqa: E402
from safetensors.torch import load_file, safe_open, save_file  # noqa: E402

diffusers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

CLIP = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 11,
    "bos_token_id": 48,
    "eos_token_id": 49,
    "pad_token_id": 49,
}
WEIGHTS = "pytorch_lora_weights.safetensors"
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# -------------------------------------------------------------------------------------- pipelines


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(random_value(name, parameter, generator))
    return model.eval()


def make_pipeline(kind):
    parts = {
        "unet": diffusers.UNet2DConditionModel.from_config(VARIANTS[kind]),
        "vae": diffusers.AutoencoderKL(block_out_channels=[8], norm_num_groups=4),
        "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP)),
    }
    if kind == "sdxl":
        parts["text_encoder_2"] = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**CLIP, projection_dim=20))
        parts["tokenizer_2"] = None
    else:
        parts |= {"safety_checker": None, "feature_extractor": None}
    for seed, part in enumerate(parts.values()):
        if isinstance(part, torch.nn.Module):
            randomise(part, seed)
    return pipeline_class(kind)(**parts, tokenizer=None, scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False))


def pipeline_class(kind):
    return diffusers.StableDiffusionXLPipeline if kind == "sdxl" else diffusers.StableDiffusionPipeline


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """A function: the directory of a pipeline of this kind and dtype."""
    root = tmp_path_factory.mktemp("pipelines")

    def directory(kind, dtype="float32"):
        path = root / f"{kind}-{dtype}"
        if not path.exists():
            make_pipeline(kind).to(DTYPES[dtype]).save_pretrained(path)
        return path

    return directory


def load_pipeline(directory):
    """In its own dtype."""
    kind = json.loads((directory / "model_index.json").read_text())["_class_name"]
    file = directory / "unet" / "diffusion_pytorch_model.safetensors"
    dtype = next(iter(load_file(file).values())).dtype
    return getattr(diffusers, kind).from_pretrained(directory, dtype=dtype, tokenizer=None)


def components_of(pipe):
    return {n: c for n, c in pipe.components.items() if n == "unet" or n.startswith("text_encoder") and c}


# ---------------------------------------------------------------------------------------- adapters

CONVOLUTIONS = ["conv_in", "conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out", "conv"]
KINDS = {
    "attention": {"target_modules": ATTENTION, "lora_alpha": 6},
    "convolutions": {"target_modules": [*CONVOLUTIONS, "ff.net.0.proj", "ff.net.2"], "lora_alpha": 3},
    "patterns": {
        "target_modules": ATTENTION,
        "lora_alpha": 5,
        "rank_pattern": {"attn2.to_k": 2, "down_blocks.*to_v": 3},
        "alpha_pattern": {"to_v": 1.5, "^mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 7},
    },
    "rslora": {"target_modules": ATTENTION, "lora_alpha": 6, "use_rslora": True},
    "dora": {"target_modules": [*ATTENTION, "conv1", "proj_in"], "lora_alpha": 6, "use_dora": True},
}


def config_of(kind, component):
    keys = dict(KINDS[kind])
    if component != "unet":
        keys = {"target_modules": TEXT_ATTENTION, "lora_alpha": 2, "use_dora": kind == "dora"}
        if kind == "patterns":
            keys |= {"rank_pattern": {"q_proj": 1}, "alpha_pattern": {"1.self_attn.v_proj": 9}}
    return peft.LoraConfig(r=4, init_lora_weights=False, **keys)


def add_lora(pipe, kind, components=None):
    """Random factors, large enough to matter."""
    torch.manual_seed(5)
    adapted = {n: c for n, c in components_of(pipe).items() if components is None or n in components}
    for name, component in adapted.items():
        component.add_adapter(config_of(kind, name))
        for key, parameter in component.named_parameters():
            if "lora_magnitude_vector" in key:
                parameter.data *= 1 + 0.2 * torch.rand_like(parameter)
            elif "lora_" in key:
                parameter.data = torch.randn_like(parameter) * 0.1
    return adapted


def layers_of(adapted):
    return {f"{name}_lora_layers": peft.get_peft_model_state_dict(part) for name, part in adapted.items()}


def save_lora(pipe, adapted, directory, with_metadata=True):
    metadata = _collate_lora_metadata(adapted) if with_metadata else {}
    type(pipe).save_lora_weights(directory, **layers_of(adapted), **metadata)
    return directory


def make_lora(base, directory, kind, components=None):
    pipe = load_pipeline(base)
    return save_lora(pipe, add_lora(pipe, kind, components), directory)


def fused_by_diffusers(base, scale=1.0, **source):
    """The pipeline's weights with the adapter; `source` as load_lora_weights has it."""
    torch.set_num_threads(1)
    pipe = load_pipeline(base)
    directory = source.pop("directory")
    pipe.load_lora_weights(directory, adapter_name="a", **source)
    if scale != 1.0:
        pipe.set_adapters(["a"], [scale])
    names = list(components_of(pipe))
    pipe.fuse_lora(components=names)
    pipe.unload_lora_weights()
    return {f"{name}.{key}": t for name in names for key, t in getattr(pipe, name).state_dict().items()}


def merged_by_peft(base, adapted):
    """The pipeline's weights after PEFT has merged the adapters of these live components."""
    weights = weights_in(base)
    for component, model in adapted.items():
        for module, layer in model.named_modules():
            if isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
                layer.merge()
                weights[f"{component}.{module}.weight"] = layer.get_base_layer().weight.detach()
    return weights


def changed(weights, base):
    before = weights_in(base)
    return {name for name, tensor in weights.items() if not tensor.equal(before[name])}


def assert_same(ours, theirs, base):
    """Every tensor: to the bit in two bytes, to an F32 rounding of the sum in four."""
    names = changed(ours, base)
    assert names == changed(theirs, base) and names
    for name, expected in theirs.items():
        if expected.dtype == torch.float32:
            torch.testing.assert_close(ours[name], expected, rtol=1e-6, atol=1e-6, msg=name)
        else:
            assert ours[name].equal(expected), name
    return names


# --------------------------------------------------------------------------------- diffusers' files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_lora_file_merges_as_diffusers_fuses_it(pipelines, tmp_path, family, kind):
    base = pipelines(family)
    pipe = load_pipeline(base)
    adapted = add_lora(pipe, kind)
    lora = save_lora(pipe, adapted, tmp_path / "lora")
    ours = merged(base, tmp_path / "merged", lora)
    names = assert_same(ours, merged_by_peft(base, adapted), base)
    if kind != "dora":  # transformers 5.23 loads no magnitudes into a text encoder
        assert_same(ours, fused_by_diffusers(base, directory=lora), base)
    assert {name.split(".")[0] for name in names} == set(components_of(load_pipeline(base)))
    again = load_pipeline(tmp_path / "merged")
    for name, component in components_of(again).items():
        for key, tensor in component.state_dict().items():
            assert tensor.equal(ours[f"{name}.{key}"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["attention", "convolutions"])
def test_bases_of_two_bytes(pipelines, tmp_path, dtype, kind):
    """To the bit what PEFT merges from float32 factors. diffusers holds the factors in the base's dtype, in which PEFT
    rounds their product too: within these roundings."""
    base = pipelines("sd15", dtype)
    pipe = load_pipeline(base)
    adapted = add_lora(pipe, kind)
    for component in adapted.values():
        for name, parameter in component.named_parameters():
            if "lora_" in name:  # values of the base's dtype
                parameter.data = parameter.data.to(DTYPES[dtype]).float()
    lora = save_lora(pipe, adapted, tmp_path / "lora")
    assert_same(merged(base, tmp_path / "merged", lora), merged_by_peft(base, adapted), base)

    ours = merged(base, tmp_path / "scaled", f"{lora}@0.75")
    theirs = fused_by_diffusers(base, 0.75, directory=lora)
    before = weights_in(base)
    assert changed(ours, base) == changed(theirs, base)
    for name, expected in theirs.items():
        weight, our, their = (t.float() for t in (before[name], ours[name], expected))
        bound = torch.finfo(DTYPES[dtype]).eps / 2 * ((our - weight).abs() + our.abs() + their.abs())
        assert our.equal(their) or ((our - their).abs() <= 1.01 * bound).all(), name


def test_scales_and_single_files(pipelines, tmp_path):
    base = pipelines("sdxl")
    lora = make_lora(base, tmp_path / "lora", "attention")
    file = tmp_path / "my.style.v2.safetensors"
    shutil.copy(lora / WEIGHTS, file)
    ours = merged(base, tmp_path / "merged", f"{file}@-0.5")
    assert_same(ours, fused_by_diffusers(base, -0.5, directory=lora), base)


def test_without_metadata_alpha_is_the_rank(pipelines, tmp_path):
    base = pipelines("sd15")
    pipe = load_pipeline(base)
    lora = save_lora(pipe, add_lora(pipe, "patterns"), tmp_path / "lora", with_metadata=False)
    ours = merged(base, tmp_path / "merged", lora)
    assert_same(ours, fused_by_diffusers(base, directory=lora), base)


def test_a_unet_saves_its_adapter_without_its_name(pipelines, tmp_path):
    """UNet2DConditionModel.save_lora_adapter."""
    base = pipelines("sd15")
    lora = make_lora(base, tmp_path / "lora", "patterns", ["unet"])
    pipe = load_pipeline(base)
    pipe.load_lora_weights(lora, adapter_name="a")
    pipe.unet.save_lora_adapter(tmp_path / "bare", adapter_name="a")
    assert not any(name.startswith("unet.") for name in load_file(tmp_path / "bare" / WEIGHTS))
    ours = merged(base, tmp_path / "merged", tmp_path / "bare")
    assert_same(ours, fused_by_diffusers(base, directory=lora), base)


# --------------------------------------------------------------------------------- older layouts


def split(name):
    """(component, module, role)"""
    for role in (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"):
        if name.endswith(role):
            component, module = name.removesuffix(role).split(".", 1)
            return component, module, role
    raise AssertionError(name)


def rewrite(lora, out, rename):
    """The LoRA file's tensors under new names, without metadata."""
    out.mkdir()
    tensors = {rename(*split(name)): t for name, t in load_file(lora / WEIGHTS).items()}
    save_file(tensors, out / WEIGHTS)
    return out


def down_or_up(role):
    return "down" if "lora_A" in role else "up"


def lora_2023(component, module, role):
    """diffusers 0.17 to 0.25."""
    infix = "lora" if component == "unet" else "lora_linear_layer"
    return f"{component}.{module}.{infix}.{down_or_up(role)}.weight"


def lora_processors(component, module, role):
    """Attention processors of early 2023."""
    parent, last = module.removesuffix(".0").rsplit(".", 1)
    text = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    if component == "unet":
        return f"unet.{parent}.processor.{last}_lora.{down_or_up(role)}.weight"
    return f"{component}.{parent}.{text[last]}_lora.{down_or_up(role)}.weight"


@pytest.mark.parametrize("rename", [lora_2023, lora_processors])
def test_older_names_of_diffusers(pipelines, tmp_path, rename):
    base = pipelines("sd15")
    pipe = load_pipeline(base)
    lora = save_lora(pipe, add_lora(pipe, "patterns"), tmp_path / "new", with_metadata=False)
    old = rewrite(lora, tmp_path / "old", rename)
    ours = merged(base, tmp_path / "merged", old)
    assert_same(ours, fused_by_diffusers(base, directory=old), base)
    assert_same(ours, fused_by_diffusers(base, directory=lora), base)


def test_text_model_in_the_name_or_not(pipelines, tmp_path):
    """transformers 5 has dropped it; the files of years have it."""
    base = pipelines("sd15")
    lora = make_lora(base, tmp_path / "lora", "attention")
    old = rewrite(
        lora,
        tmp_path / "old",
        lambda c, m, role: f"{c}.text_model.{m}{role}" if c == "text_encoder" else f"{c}.{m}{role}",
    )
    ours = merged(base, tmp_path / "merged", old)
    assert_same(ours, fused_by_diffusers(base, directory=old), base)


@pytest.fixture
def old_base(pipelines, tmp_path):
    """A function: a copy of a pipeline whose text encoder has "text_model." in its file, as those of years have."""

    def make(base, name="old"):
        old = tmp_path / name
        shutil.copytree(base, old)
        file = old / "text_encoder" / "model.safetensors"
        save_file({f"text_model.{n}": t for n, t in load_file(file).items()}, file, metadata={"format": "pt"})
        return old

    return make


def as_new(weights):
    return {name.replace("text_encoder.text_model.", "text_encoder."): tensor for name, tensor in weights.items()}


def test_a_base_with_text_model_in_its_names(pipelines, old_base, tmp_path):
    base = pipelines("sd15")
    old = old_base(base)
    lora = make_lora(base, tmp_path / "lora", "patterns")
    kohya = write_kohya(lora, tmp_path / "k.safetensors", lambda *_: 3.0)
    for number, adapter in enumerate((lora, kohya)):
        ours = merged(base, tmp_path / f"new-{number}", adapter)
        theirs = as_new(merged(old, tmp_path / f"old-{number}", adapter))
        assert changed(ours, base) and all(theirs[name].equal(ours[name]) for name in ours)
    out = copied(lora, old, tmp_path / "out")
    assert any("text_model" in name for name in load_file(out / WEIGHTS))
    theirs, expected = (fused_by_diffusers(base, directory=d) for d in (out, lora))
    assert all(theirs[name].equal(expected[name]) for name in expected)


# ------------------------------------------------------------------------------------------- kohya

PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
ROLES = {".lora_A.weight": "lora_down.weight", ".lora_B.weight": "lora_up.weight"}


def write_kohya(lora, path, alpha_of, name_of=lambda component, module: module, family="sd15", form=lambda t: t):
    """`name_of` gives a module's name before its dots become underscores."""
    tensors = {}
    prefixes = PREFIXES | ({"text_encoder": "lora_te1_"} if family == "sdxl" else {})
    for name, tensor in load_file(lora / WEIGHTS).items():
        component, module, role = split(name)
        if component == "text_encoder":
            module = "text_model." + module
        module = prefixes[component] + name_of(component, module).replace(".", "_")
        if role == ".lora_magnitude_vector":
            out = tensor.numel()
            tensors[f"{module}.dora_scale"] = tensor.reshape([out, 1, 1, 1] if tensor.dim() == 4 else [out, 1])
            continue
        tensors[f"{module}.{ROLES[role]}"] = form(tensor).contiguous()
        if role == ".lora_A.weight":
            alpha = alpha_of(component, split(name)[1], len(tensor))
            if alpha is not None:
                tensors[f"{module}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


def sgm(component, module):
    """A module of the tiny SDXL UNet as Stability's code names it: 2 resnets (3 on the way up) in each block."""
    if component != "unet":
        return module
    way, *rest = module.split(".")
    if way == "conv_in":
        return "input_blocks.0.0"
    block = int(rest.pop(0)) if way != "mid_block" else 0
    kind, layer, rest = rest[0], int(rest[1]), ".".join(rest[2:])
    parts = {"conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    rest = (parts | {"time_emb_proj": "emb_layers.1"}).get(rest, rest)
    if way == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    part = ["resnets", "attentions", "upsamplers"].index(kind) if kind != "downsamplers" else 0
    if way == "down_blocks":
        place = 1 + 3 * block + (2 if kind == "downsamplers" else layer)
        return f"input_blocks.{place}.{part}." + ("op" if kind == "downsamplers" else rest)
    return f"output_blocks.{3 * block + (2 if kind == 'upsamplers' else layer)}.{part}.{rest}"


@pytest.mark.parametrize("kind", ["attention", "convolutions"])
@pytest.mark.parametrize("family", ["sd15", "sdxl", "sdxl-sgm"])
def test_kohyas_names(pipelines, tmp_path, family, kind):
    """One alpha for all: where there are several, diffusers' own conversion loses them (attention)."""
    name_of = sgm if family == "sdxl-sgm" else lambda component, module: module
    family = family[:4]
    base = pipelines(family)
    pipe = load_pipeline(base)
    lora = save_lora(pipe, add_lora(pipe, kind), tmp_path / "lora")
    file = write_kohya(lora, tmp_path / "k.safetensors", lambda *_: 3.0, name_of, family)
    assert len(load_file(file)) == 1.5 * len(load_file(lora / WEIGHTS))
    ours = merged(base, tmp_path / "merged", file)
    assert_same(ours, fused_by_diffusers(base, directory=tmp_path, weight_name=file.name), base)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("kind", ["patterns", "dora"])
def test_kohyas_alphas_and_magnitudes(pipelines, tmp_path, family, kind):
    """Against PEFT's merge of the same adapter: of kohya's files diffusers drops dora_scale, and mistakes alphas."""
    base = pipelines(family)
    pipe = load_pipeline(base)
    adapted = add_lora(pipe, kind)
    lora = save_lora(pipe, adapted, tmp_path / "lora")

    def alpha_of(component, module, rank):
        layer = adapted[component].get_submodule(module)
        alpha = layer.scaling["default"] * rank
        return int(alpha) if alpha == int(alpha) else alpha

    file = write_kohya(lora, tmp_path / "k.safetensors", alpha_of, family=family)
    assert {t.dtype for n, t in load_file(file).items() if "alpha" in n} >= {torch.int64}
    ours = merged(base, tmp_path / "merged", file)
    assert_same(ours, merged_by_peft(base, adapted), base)


def test_factors_of_pointwise_convolutions_in_either_form(pipelines, tmp_path):
    """(r, in) or (r, in, 1, 1), for linear layers (SD 2, SDXL) and 1x1 convolutions (SD 1)."""
    for family, turn in (
        ("sd15", lambda t: t.flatten(1) if t.dim() == 4 and t.shape[2] == 1 else t),
        ("sdxl", lambda t: t[..., None, None] if t.dim() == 2 else t),
    ):
        base = pipelines(family)
        lora = make_lora(base, tmp_path / family, "convolutions", ["unet"])
        file = write_kohya(lora, tmp_path / f"{family}.safetensors", lambda *_: 3.0, family=family, form=turn)
        plain = write_kohya(lora, tmp_path / f"{family}-plain.safetensors", lambda *_: 3.0, family=family)
        shapes = [{n: t.shape for n, t in load_file(f).items()} for f in (file, plain)]
        assert shapes[0] != shapes[1]
        ours = merged(base, tmp_path / f"{family}-merged", file)
        theirs = merged(base, tmp_path / f"{family}-expected", plain)
        assert all(ours[name].equal(theirs[name]) for name in theirs) and changed(ours, base)


# ----------------------------------------------------------------------------------------- written


def copied(adapter, base, out):
    """Loaded on the base and saved by save_lora_adapter."""
    subprocess.run([BUILD_DIR / "bin" / "copy_lora", adapter, base, out], check=True, timeout=TIMEOUT)
    assert [path.name for path in out.iterdir()] == [WEIGHTS]
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_what_is_saved_is_the_same_adapter_to_diffusers(pipelines, tmp_path, family, kind):
    base = pipelines(family)
    components = ["unet"] if kind == "dora" else None  # whose magnitudes transformers 5.23 does not load
    lora = make_lora(base, tmp_path / "lora", kind, components)
    out = copied(lora, base, tmp_path / "out")
    theirs, expected = (fused_by_diffusers(base, directory=d) for d in (out, lora))
    assert changed(expected, base) and all(theirs[name].equal(expected[name]) for name in expected)
    for name, tensor in load_file(lora / WEIGHTS).items():
        assert load_file(out / WEIGHTS)[name].equal(tensor), name
    ours, again = merged(base, tmp_path / "a", lora), merged(base, tmp_path / "b", out)
    assert all(ours[name].equal(again[name]) for name in ours)


def test_kohyas_file_saved_again_is_one_of_diffusers(pipelines, tmp_path):
    base = pipelines("sdxl")
    pipe = load_pipeline(base)
    adapted = add_lora(pipe, "patterns")
    lora = save_lora(pipe, adapted, tmp_path / "lora")

    def alpha_of(component, module, rank):
        return adapted[component].get_submodule(module).scaling["default"] * rank

    file = write_kohya(lora, tmp_path / "k.safetensors", alpha_of, sgm, "sdxl")
    out = copied(file, base, tmp_path / "out")
    assert_same(fused_by_diffusers(base, directory=out), fused_by_diffusers(base, directory=lora), base)


# ------------------------------------------------------------------------------------ other commands


def test_inspect_describes_the_files(pipelines, tmp_path):
    base = pipelines("sd15")
    lora = make_lora(base, tmp_path / "lora", "patterns")
    answer = run_json("inspect", lora)
    tensors = load_file(lora / WEIGHTS)
    assert answer["kind"] == "lora" and answer["bytes"] == (lora / WEIGHTS).stat().st_size
    assert answer["parameters"] == sum(t.numel() for t in tensors.values())
    assert 2 * len(answer["tensors"]) == len(tensors)
    named = {t["name"]: t for t in answer["tensors"]}
    attention = "unet.mid_block.attentions.0.transformer_blocks.0.attn1."
    assert named[attention + "to_q.weight"]["scaling"] == 7 / 4
    assert named[attention + "to_k.weight"]["shape"] == [64, 64]
    file = write_kohya(lora, tmp_path / "k.safetensors", lambda *_: 3.0)
    assert len(run_json("inspect", file)["tensors"]) == len(answer["tensors"])
    dora = make_lora(base, tmp_path / "dora", "dora")
    assert run_json("inspect", dora / WEIGHTS)["kind"] == "dora"


def test_fuse_and_projection(pipelines, tmp_path):
    base = pipelines("sd15")
    lora = make_lora(base, tmp_path / "lora", "attention")
    ours = merged(base, tmp_path / "merged", lora)
    run_json("fuse", "--base_model", base, f"{lora}@1", "-o", tmp_path / "fused")
    fused = merged(base, tmp_path / "from_fused", tmp_path / "fused")
    assert all(fused[name].equal(ours[name]) for name in ours)
    options = ("--to", "shira", "--density", "1", "--base_model", base, "-o", tmp_path / "sparse")
    assert run_json("convert", lora, *options)["relative_error"] == 0
    sparse = merged(base, tmp_path / "from_sparse", tmp_path / "sparse")
    assert all(sparse[name].equal(ours[name]) for name in ours)


# ------------------------------------------------------------------------- PEFT, one component each


def saved_by_peft(model, directory, **keys):
    torch.manual_seed(7)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, init_lora_weights=False, **keys))
    adapted.save_pretrained(directory)
    return adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_pefts_directory_of_a_component(pipelines, tmp_path, family):
    base = pipelines(family)
    for name, component in components_of(load_pipeline(base)).items():
        targets = ["to_q", "ff.net.2"] if name == "unet" else ["q_proj", "fc1"]
        theirs = saved_by_peft(component, tmp_path / name, target_modules=targets)
        ours = merged(base, tmp_path / f"{name}-merged", tmp_path / name)
        assert {n.split(".")[0] for n in changed(ours, base)} == {name}
        for key, tensor in theirs.items():
            torch.testing.assert_close(ours[f"{name}.{key}"], tensor, rtol=1e-6, atol=1e-6)


def test_two_text_encoders_of_one_shape_are_told_apart_by_the_directory(pipelines, tmp_path):
    base = pipelines("sdxl")
    saved_by_peft(load_pipeline(base).text_encoder_2, tmp_path / "text_encoder_2", target_modules=["q_proj"])
    shutil.copytree(tmp_path / "text_encoder_2", tmp_path / "style")
    message = failure_of("merge", "--base_model", base, "--adapter", tmp_path / "style", "-o", tmp_path / "m")
    assert '"text_encoder" and "text_encoder_2"' in message and not (tmp_path / "m").exists()
    ours = merged(base, tmp_path / "merged", tmp_path / "text_encoder_2")
    assert {name.split(".")[0] for name in changed(ours, base)} == {"text_encoder_2"}


# ------------------------------------------------------------------------------------------- SHiRA


@pytest.fixture
def tuned(pipelines, tmp_path):
    """A function: (base, tuned pipeline, adapter) where 5 % of the entries of some linear layers differ; all values
    are bfloat16's, so that their differences are exact."""

    def make(family, layers=("attn1.to_q", "attn2.to_v", "q_proj", "fc2")):
        base = pipelines(family)
        shutil.copytree(base, tmp_path / "tuned")
        generator = torch.Generator().manual_seed(3)
        for file in (tmp_path / "tuned").glob("*/*.safetensors"):
            tensors = load_file(file)
            for name, tensor in tensors.items():
                if name.endswith(tuple(f"{layer}.weight" for layer in layers)):
                    chosen = torch.rand(tensor.shape, generator=generator) < 0.05
                    values = torch.randn(tensor.shape, generator=generator).bfloat16().float()
                    tensors[name] = torch.where(chosen, values, tensor)
            save_file(tensors, file, metadata={"format": "pt"})
        run_json("diff", base, tmp_path / "tuned", "-o", tmp_path / "adapter")
        return base, tmp_path / "tuned", tmp_path / "adapter"

    return make


def inputs_of(name, kind):
    generator = torch.Generator().manual_seed(1)
    if name != "unet":
        return {"input_ids": torch.randint(0, 50, (2, 11), generator=generator)}
    config = VARIANTS[kind]
    inputs = {
        "sample": torch.randn(1, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([10]),
        "encoder_hidden_states": torch.randn(1, 7, config["cross_attention_dim"], generator=generator),
    }
    if kind == "sdxl":
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(1, 20, generator=generator),
            "time_ids": torch.tensor([[8.0, 8, 0, 0, 8, 8]]),
        }
    return inputs


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_shira_goes_to_peft_component_by_component_and_back(tuned, tmp_path, family):
    base, after, adapter = tuned(family)
    out = tmp_path / "peft"
    run_json("convert", adapter, "--to", "peft", "--base_model", base, "-o", out)
    components = components_of(load_pipeline(base))
    assert {path.name for path in out.iterdir()} == set(components)
    error = failure_of("merge", "--base_model", base, "--adapter", out, "-o", tmp_path / "never")
    assert all(f'"{name}"' in error for name in components)
    expected, backs = weights_in(after), []
    for name, reference in components_of(load_pipeline(after)).items():
        described = json.loads((out / name / "adapter_config.json").read_text())
        assert described["peft_type"] == "SHIRA" and described["task_type"] is None
        model = peft.PeftModel.from_pretrained(components[name], out / name)
        inputs = inputs_of(name, family)
        with torch.no_grad():
            theirs, wanted = model(**inputs)[0], reference(**inputs)[0]
        torch.testing.assert_close(theirs, wanted, rtol=0, atol=1e-5)
        assert not wanted.allclose(load_component(base, name)(**inputs)[0], rtol=0, atol=1e-2)
        for key, tensor in model.merge_and_unload().state_dict().items():
            assert tensor.equal(expected[f"{name}.{key}"]), key
        back = tmp_path / f"back-{name}"
        run_json("convert", out / name, "--to", "shira", "--base_model", base, "-o", back)
        backs.append(back)
    ours = merged(base, tmp_path / "merged", *backs)
    assert all(ours[name].equal(expected[name]) for name in expected)


def test_peft_gets_the_names_that_transformers_has_now(tuned, old_base, tmp_path):
    base, after, adapter = tuned("sd15", layers=("q_proj", "fc2"))
    old = old_base(base)
    run_json("diff", old, old_base(after, "old-after"), "-o", tmp_path / "old-adapter")
    options = ("--to", "peft", "--base_model", old, "-o", tmp_path / "peft")
    run_json("convert", tmp_path / "old-adapter", *options)
    model = peft.PeftModel.from_pretrained(load_component(base, "text_encoder"), tmp_path / "peft" / "text_encoder")
    expected = weights_in(after)
    for key, tensor in model.merge_and_unload().state_dict().items():
        assert tensor.equal(expected[f"text_encoder.{key}"]), key
    back = ("--to", "shira", "--base_model", old, "-o", tmp_path / "back")
    run_json("convert", tmp_path / "peft" / "text_encoder", *back)
    ours = as_new(merged(old, tmp_path / "merged", tmp_path / "back"))
    assert all(ours[name].equal(expected[name]) for name in expected)


def test_pefts_super_tuning_of_a_unet(pipelines, tmp_path):
    base = pipelines("sd15")
    unet = load_component(base, "unet")
    config = peft.SupertuningConfig(sparsity=0.9, target_modules=["to_q", "to_v"])
    model = peft.get_peft_model(unet, config)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if "supertuning_values" in name:
            parameter.data = torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "adapter")
    ours = merged(base, tmp_path / "merged", tmp_path / "adapter")
    assert {name.split(".")[0] for name in changed(ours, base)} == {"unet"}
    for key, tensor in model.merge_and_unload().state_dict().items():
        assert tensor.equal(ours[f"unet.{key}"]), key


def load_component(base, name):
    return components_of(load_pipeline(base))[name]


def test_shira_adapters_of_a_pipeline_go_through_the_commands(tuned, tmp_path):
    base, after, adapter = tuned("sd15")
    described = run_json("inspect", adapter)
    assert {t["name"].split(".")[0] for t in described["tensors"]} == {"unet", "text_encoder"}
    run_json("fuse", "--base_model", base, f"{adapter}@1", "-o", tmp_path / "fused")
    expected = weights_in(after)
    for source in (adapter, tmp_path / "fused"):
        ours = merged(base, tmp_path / f"merged-{source.name}", source)
        assert all(ours[name].equal(expected[name]) for name in expected)
    lora = make_lora(base, tmp_path / "lora", "attention")
    assert changed(merged(base, tmp_path / "both", adapter, f"{lora}@0.5"), base)


def test_pefts_shira_holds_no_convolutions(tuned, tmp_path):
    base, _, adapter = tuned("sd15", layers=("conv1", "attn1.to_q"))
    message = failure_of("convert", adapter, "--to", "peft", "--base_model", base, "-o", tmp_path / "out")
    assert "conv1.weight is a convolution's weight" in message
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------- refusals


def refused(base, adapter, tmp_path):
    message = failure_of("merge", "--base_model", base, "--adapter", adapter, "-o", tmp_path / "never", rc=1)
    assert not (tmp_path / "never").exists()
    return message


@pytest.fixture
def damaged(pipelines, tmp_path):
    """A function that damages a LoRA file and returns the error of merging it."""
    base = pipelines("sd15")
    lora = make_lora(base, tmp_path / "lora", "attention", ["unet"])
    with safe_open(lora / WEIGHTS, "pt") as file:
        metadata = file.metadata()

    def damage(change=lambda tensors: None, **settings):
        tensors = load_file(lora / WEIGHTS)
        change(tensors)
        keys = json.loads(metadata["lora_adapter_metadata"]) | {f"unet.{k}": v for k, v in settings.items()}
        header = {"format": "pt", "lora_adapter_metadata": json.dumps(keys)}
        save_file(tensors, tmp_path / "bad.safetensors", metadata=header)
        message = refused(base, tmp_path / "bad.safetensors", tmp_path)
        assert "bad.safetensors" in message
        return message

    return damage


QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    "name, word",
    [
        ("lora_unet_conv_in.hada_w1_a", "LoHa"),
        ("lora_unet_conv_in.lokr_w1", "LoKr"),
        ("lora_unet_conv_in.lora_mid.weight", "lora_mid"),
        ("lora_unet_conv_in.diff", "full differences"),
        ("unet.conv_in.lora_B.bias", "biases"),
        ("unet.conv_in.ia3_l", "no known LoRA layout"),
        ("base_model.model.conv_in.lora_A.weight", "give the directory"),
    ],
)
def test_tensors_of_other_methods_are_refused_by_name(damaged, name, word):
    message = damaged(lambda tensors: tensors.update({name: torch.ones(2, 2)}))
    assert name in message and word in message


def test_damaged_files_are_refused(damaged):
    assert f'"{QUERY}": its lora_B (up) is missing' in damaged(lambda t: t.pop(f"{QUERY}.lora_B.weight"))
    both = damaged(lambda t: (t.pop(f"{QUERY}.lora_A.weight"), t.pop(f"{QUERY}.lora_B.weight")))
    assert f'no tensors for "{QUERY}"' in both
    assert "its rank is 4, but 5" in damaged(r=5)
    assert "use_dora is true, but it has no lora_magnitude_vector" in damaged(use_dora=True)
    assert "velora_config" in damaged(velora_config={"rank": 3})
    assert "lora_alpha" in damaged(lora_alpha=-1)
    assert "has an alpha, but so has" in damaged(lambda t: t.update({f"{QUERY}.alpha": torch.tensor(4.0)}))
    assert "expected F32" in damaged(lambda t: t.update({f"{QUERY}.lora_A.weight": t[f"{QUERY}.lora_A.weight"].long()}))
    nan = damaged(lambda t: t[f"{QUERY}.lora_A.weight"].fill_(float("nan")))
    assert f"{QUERY}.weight: its lora_A has values that are not finite" in nan
    twice = damaged(lambda t: t.update({f"{QUERY}.lora.down.weight": torch.ones(4, 64)}))
    assert "another one" in twice


def test_a_file_for_another_base_is_one_error_that_lists(pipelines, tmp_path):
    lora = make_lora(pipelines("sdxl"), tmp_path / "lora", "attention", ["unet"])
    message = refused(pipelines("sd15"), lora, tmp_path)
    assert WEIGHTS in message and "the base has no such layer" in message and "more" in message
    file = write_kohya(lora, tmp_path / "k.safetensors", lambda *_: 3.0)
    message = refused(pipelines("sd15"), file, tmp_path)
    assert "down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_k" in message

    small = tmp_path / "small"
    pipe = load_pipeline(pipelines("sd15"))
    pipe.unet = diffusers.UNet2DConditionModel.from_config(VARIANTS["sd15"] | {"cross_attention_dim": 16})
    pipe.save_pretrained(small)
    lora = make_lora(pipelines("sd15"), tmp_path / "lora15", "attention", ["unet"])
    message = refused(small, lora, tmp_path)
    assert "attn2.to_k" in message and "is for a weight of [32,24], the base's is [32,16]" in message
    assert "attn1" not in message


def test_pefts_directory_for_another_base_is_one_error_that_lists(pipelines, tmp_path):
    for kind, config in {"lora": peft.LoraConfig, "shira": peft.ShiraConfig}.items():
        unet = load_component(pipelines("sdxl"), "unet")
        peft.get_peft_model(unet, config(r=2, target_modules=["to_q"])).save_pretrained(tmp_path / kind)
        message = refused(pipelines("sd15"), tmp_path / kind, tmp_path)
        assert "does not fit the base" in message and "more" in message
        assert '"down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q": the base has no such layer' in message


def test_one_layer_named_twice_is_refused(pipelines, tmp_path):
    """As Stability's code and as diffusers name it: diffusers would drop the former."""
    base = pipelines("sdxl")
    lora = make_lora(base, tmp_path / "lora", "attention", ["unet"])
    tensors = {}
    for name_of in (sgm, lambda component, module: module):
        tensors |= load_file(write_kohya(lora, tmp_path / "k.safetensors", lambda *_: 3.0, name_of))
    save_file(tensors, tmp_path / "k.safetensors")
    assert "are both the base's unet." in refused(base, tmp_path / "k.safetensors", tmp_path)


def test_what_is_no_adapter_is_refused(pipelines, tmp_path):
    base = pipelines("sd15")
    (tmp_path / "lora.pt").write_bytes(b"PK")
    assert "pickles" in refused(base, tmp_path / "lora.pt", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no adapter directory" in refused(base, tmp_path / "empty", tmp_path)
    assert "no adapter directory" in refused(base, tmp_path / "missing.safetensors", tmp_path)
    lora = make_lora(base, tmp_path / "lora", "attention", ["unet"])
    assert "is LoRA" in failure_of("inspect", lora, lora, "--base_model", base)
