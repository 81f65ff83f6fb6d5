"""Adapters exchanged with live PEFT: what it saves goes on our models, what we save goes on its, bit for bit."""

import json
import shutil
import struct
import warnings

import numpy
import pytest
from conftest import checkpoint, edit_json, failure_of, run_json, run_shira, shared_file
from test_adapters import change_weight, rewrite
from train_helpers import (
    merge,
    read_adapter,
    read_safetensors,
    read_weights,
    train,
    write_text,
)

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

DTYPES = ["float32", "bfloat16"]
TARGETS = ["q_proj", "v_proj", "down_proj"]
IDS = [[1, 300, 17, 350, 301, 299, 42, 380, 5, 310]]


# ------------------------------------------------------------------------------------ PEFT's side


def base_model(directory):
    """transformers' model in the checkpoint's dtype, as users load it."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)  # as the program runs in tests: equal bits need equal sums
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="auto")


def with_adapter(base, adapter):
    """PeftModel.from_pretrained, in which a tensor that it did not find or use is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing|unexpected).*")
        return peft.PeftModel.from_pretrained(base_model(base), adapter).eval()


def logits_of(model):
    with torch.no_grad():
        return model(torch.tensor(IDS)).logits


def raw_parameters(model):
    """{parameter: bytes}"""
    return {
        name: weight.detach().contiguous().view(torch.uint8).numpy().tobytes()
        for name, weight in model.named_parameters()
    }


def merged_by_peft(base, adapter):
    """{parameter: bytes} after PEFT's merge_and_unload, and the logits before."""
    model = with_adapter(base, adapter)
    logits = logits_of(model)
    return raw_parameters(model.merge_and_unload()), logits


def save_reference(path, logits):
    """A reference state for shira verify."""
    from safetensors.torch import save_file

    state = {"input_ids": torch.tensor(IDS), "logits": logits}
    state["attention_mask"] = torch.ones_like(state["input_ids"])
    save_file(state, path / "state.safetensors")
    return path / "state.safetensors"


def saved_by_peft(path, base, config):
    """An adapter directory of `config` whose trained values are small random ones."""
    torch.manual_seed(7)
    model = peft.get_peft_model(base_model(base), config)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        noise = torch.randn_like(parameter)
        is_magnitude = "magnitude" in name
        parameter.data = parameter * (1 + 0.1 * noise) if is_magnitude else 0.05 * noise
    model.save_pretrained(path)
    return path


def config_of(kind, base):
    lora = {"r": 3, "lora_alpha": 5, "target_modules": TARGETS, "task_type": "CAUSAL_LM"}
    return {
        "shira": lambda: peft.ShiraConfig(r=2, target_modules=TARGETS, random_seed=3),
        "supertuning": lambda: peft.SupertuningConfig(sparsity=0.9, target_modules=TARGETS),
        "lora": lambda: peft.LoraConfig(**lora),
        "rslora": lambda: peft.LoraConfig(**lora, use_rslora=True),
        "dora": lambda: peft.LoraConfig(**lora, use_dora=True),
        "patterns": lambda: peft.LoraConfig(
            **lora,
            rank_pattern={"layers.0.self_attn.q_proj": 2, r"^model\.layers\.\d+\.mlp.down_.*": 4},
            alpha_pattern={"q_proj": 7, "layers.1.self_attn.(q|v)_proj": 1},
        ),
    }[kind]()


@pytest.fixture(scope="module")
def from_peft(tmp_path_factory):
    """A function: (base, directory that live PEFT saved) for a kind of adapter and a dtype."""
    made = {}

    def adapter(kind, dtype="float32"):
        base = checkpoint("llama2", dtype)
        if (kind, dtype) not in made:
            path = tmp_path_factory.mktemp("from_peft") / f"{kind}-{dtype}"
            made[kind, dtype] = saved_by_peft(path, base, config_of(kind, base))
        return base, made[kind, dtype]

    return adapter


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function: (base, directory of an adapter of ours) with different counts in each layer."""
    made = {}

    def adapter(dtype="float32"):
        base = checkpoint("llama2", dtype)
        if dtype not in made:
            directory = tmp_path_factory.mktemp(f"ours-{dtype}")
            train(
                directory,
                base_model=str(base),
                datasets=write_text(directory),
                shira_density=0.07,
                learning_rate=2e-2,
                max_steps=4,
                export_formats=["shira", "peft"],
            )
            made[dtype] = directory / "out"
        return base, made[dtype]

    return adapter


def convert(directory, out, to, base=None, *flags):
    options = () if base is None else ("--base_model", base)
    return run_json("convert", directory, "--to", to, *options, *flags, "-o", out)


def raw_weights(directory):
    return {name: tensor.data for name, tensor in read_weights(directory).items()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def changed_from(base, weights):
    before = raw_weights(base)
    return {name for name in before if before[name] != weights[name]}


# -------------------------------------------------------------------------------- from PEFT to us


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["shira", "supertuning"])
def test_sparse_adapter_of_peft(from_peft, tmp_path, kind, dtype):
    """As it is, and converted to our layout: the same bits as PEFT's merge."""
    base, adapter = from_peft(kind, dtype)
    theirs, _ = merged_by_peft(base, adapter)
    assert len(changed_from(base, theirs)) == 2 * len(TARGETS)
    assert_same(raw_weights(merge(base, tmp_path / "direct", adapter)), theirs)

    answer = convert(adapter, tmp_path / "ours", "shira", base)
    assert answer["tensors"] == 6 and "relative_error" not in answer
    assert run_json("inspect", tmp_path / "ours")["value_kind"] == "weights"
    assert_same(raw_weights(merge(base, tmp_path / "merged", tmp_path / "ours")), theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "patterns"])
def test_lora_is_merged_as_peft_merges_it(from_peft, tmp_path, kind, dtype):
    """As it is, and projected to all of its changes, where nothing is left out."""
    base, adapter = from_peft(kind, dtype)
    theirs, _ = merged_by_peft(base, adapter)
    assert len(changed_from(base, theirs)) == 2 * len(TARGETS)
    assert_same(raw_weights(merge(base, tmp_path / "direct", adapter)), theirs)
    answer = convert(adapter, tmp_path / "ours", "shira", base, "--density", 1)
    assert answer["relative_error"] == 0
    assert_same(raw_weights(merge(base, tmp_path / "merged", tmp_path / "ours")), theirs)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_lora_on_a_model_in_memory(from_peft, tmp_path, kind):
    """verify, eval and generate say what they say of the merged checkpoint."""
    base, adapter = from_peft(kind)
    _, logits = merged_by_peft(base, adapter)
    on_base = ("--base_model", base, "--adapter", adapter)
    reference = save_reference(tmp_path, logits)
    assert run_json("verify", *on_base, "--reference", reference)["passed"]
    assert run_shira("verify", *on_base[:2], "--reference", reference, check=False).rc == 1

    on_merged = ("--base_model", merge(base, tmp_path / "merged", adapter))
    text = tmp_path / "text"
    text.write_text("To be, or not to be, that is the question.\n" * 4)
    for command in (
        ("eval", "--text", text, "--window", 32),
        ("generate", "--prompt", "a king", "--max_new_tokens", 8, "--temperature", 0),
    ):
        with_adapter, merged = (run_json(*command, *flags) for flags in (on_base, on_merged))
        for key in ("nll", "ids"):
            assert with_adapter.get(key) == merged.get(key)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_lora(from_peft, tmp_path, dtype):
    """DIR@0.5 is PEFT's scale_layer(0.5); DIR@0 is the base."""
    base, adapter = from_peft("patterns", dtype)
    model = with_adapter(base, adapter)
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.scale_layer(0.5)
    theirs = raw_parameters(model.merge_and_unload())
    assert_same(raw_weights(merge(base, tmp_path / "half", f"{adapter}@0.5")), theirs)
    assert_same(raw_weights(merge(base, tmp_path / "none", f"{adapter}@0")), raw_weights(base))


def test_several_loras(from_peft, tmp_path):
    """Changes are added, as PEFT's svd-free combination of ranks (cat) does."""
    base, first = from_peft("lora")
    _, second = from_peft("rslora")
    model = with_adapter(base, first)
    model.load_adapter(second, "second")
    model.add_weighted_adapter(["default", "second"], [0.5, -2.0], "both", "cat")
    model.set_adapter("both")
    theirs = raw_parameters(model.merge_and_unload())
    ours = read_weights(merge(base, tmp_path / "merged", f"{first}@0.5", f"{second}@-2"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        expected = numpy.frombuffer(theirs[name], "<f4")
        numpy.testing.assert_allclose(tensor.array(), expected, rtol=0, atol=1e-7)


def test_lora_and_shira_together(from_peft, trained, tmp_path):
    """W + (LoRA's change) + (SHiRA's change), and fused into one adapter the same bits."""
    base, ours = trained()
    _, lora = from_peft("lora")
    both = merge(base, tmp_path / "both", ours, f"{lora}@0.5")
    weights = [read_weights(d) for d in (both, base, merge(base, tmp_path / "ours", ours),
                                         merge(base, tmp_path / "lora", f"{lora}@0.5"))]  # fmt: skip
    for name, result in weights[0].items():
        before, sparse, dense = (tensors[name].array().astype("f8") for tensors in weights[1:])
        numpy.testing.assert_allclose(result.array(), sparse + dense - before, rtol=0, atol=2e-7)
    flags = ("fuse", "--base_model", base, ours, f"{lora}@0.5", "-o", tmp_path / "fused")
    assert run_json(*flags)["tensors"] == 14
    assert_same(raw_weights(merge(base, tmp_path / "again", tmp_path / "fused")), raw_weights(both))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_projection_keeps_the_largest_changes(from_peft, tmp_path, kind):
    base, adapter = from_peft(kind)
    theirs, _ = merged_by_peft(base, adapter)
    before = read_weights(base)
    answer = convert(adapter, tmp_path / "ours", "shira", base, "--density", 0.1)
    dropped = total = 0.0
    for name, (indices, values) in read_adapter(tmp_path / "ours").items():
        merged = numpy.frombuffer(theirs[name], "<f4")
        changes = numpy.abs(merged.astype("f8") - before[name].array())
        assert len(indices) == round(0.1 * len(changes))
        assert (values.array() == merged[indices]).all()
        rest = numpy.delete(changes, indices)
        assert changes[indices].min() >= rest.max() - 1e-6  # changes are known to F32 only
        error = numpy.sqrt((rest**2).sum() / (changes**2).sum())
        assert answer["relative_errors"][name] == pytest.approx(error, rel=1e-5)
        dropped, total = dropped + (rest**2).sum(), total + (changes**2).sum()
    assert answer["relative_error"] == pytest.approx(numpy.sqrt(dropped / total), rel=1e-5)
    text = run_shira(
        "convert", adapter, "--to", "shira", "--base_model", base, "--density", 0.1,
        "-o", tmp_path / "again",
    ).stdout  # fmt: skip
    assert f"relative error {answer['relative_error']:.4f}" in text


@pytest.mark.parametrize("kind", ["shira_r2", "lora_r2"])
def test_adapter_that_was_trained_with_peft(stories260k, tmp_path, kind):
    """Stored adapters with PEFT's own results: merged weight - base weight, exactly."""
    adapter = shared_file(f"data/peft_adapters/{kind}")
    density = () if kind == "shira_r2" else ("--density", 1)
    convert(adapter, tmp_path / "ours", "shira", stories260k, *density)
    before = read_weights(stories260k)
    _, expected = read_safetensors(adapter / "expected.safetensors")
    deltas = {name: t for name, t in expected.items() if name.startswith("delta.")}
    assert len(deltas) == 10
    for source in (adapter, tmp_path / "ours"):
        weights = read_weights(merge(stories260k, tmp_path / f"with-{source.name}", source))
        for name, delta in deltas.items():
            name = name.removeprefix("delta.")
            assert (weights[name].array() - before[name].array() == delta.array()).all(), name


# -------------------------------------------------------------------------------- from us to PEFT


@pytest.mark.parametrize("dtype", DTYPES)
def test_our_adapter_in_peft(trained, tmp_path, dtype):
    base, ours = trained(dtype)
    shapes = {name: tensor.shape for name, tensor in read_weights(base).items()}
    needed = {len(i) / sum(shapes[name]) for name, (i, _) in read_adapter(ours).items()}
    assert len(needed) > 1, "no r fits all layers: some are filled up"
    convert(ours, tmp_path / "peft", "peft", base)
    theirs, logits = merged_by_peft(base, tmp_path / "peft")
    merged = merge(base, tmp_path / "merged", ours)
    assert len(changed_from(base, raw_weights(merged))) == 14
    expected = logits_of(base_model(merged).eval())
    assert not torch.equal(expected, logits_of(base_model(base).eval()))
    if dtype == "bfloat16":
        assert_same(raw_weights(merged), theirs)
        assert torch.equal(logits, expected)
        return
    for name, tensor in read_weights(merged).items():  # the difference is rounded to F32
        weights, before = tensor.array(), read_weights(base)[name].array()
        distance = numpy.abs(numpy.frombuffer(theirs[name], "<f4") - weights)
        assert (distance <= numpy.spacing(numpy.maximum(abs(weights), abs(before)))).all()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_peft_directory_of_a_run(trained, tmp_path):
    """export_formats writes what convert writes, beside the result and in every checkpoint."""
    base, ours = trained()
    convert(ours, tmp_path / "peft", "peft", base)
    for directory in (ours / "peft", *(path / "peft" for path in ours.glob("checkpoint-*"))):
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            assert (directory / name).read_bytes() == (tmp_path / "peft" / name).read_bytes()
    assert len(list(ours.glob("checkpoint-*/peft"))) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back(trained, tmp_path, dtype):
    """The padding is gone again, the masks are the same, and so are the weights."""
    base, ours = trained(dtype)
    convert(ours, tmp_path / "peft", "peft", base)
    convert(tmp_path / "peft", tmp_path / "back", "shira", base)
    before, after = read_adapter(ours), read_adapter(tmp_path / "back")
    assert before.keys() == after.keys()
    for name, (indices, values) in before.items():
        assert (after[name][0] == indices).all()
        if dtype == "bfloat16":
            assert after[name][1].data == values.data
        else:
            numpy.testing.assert_allclose(after[name][1].array(), values.array(), atol=1e-7)


def test_verify_against_the_logits_of_peft(trained, tmp_path):
    base, ours = trained()
    reference = save_reference(tmp_path, logits_of(with_adapter(base, ours / "peft")))
    flags = ("--base_model", base, "--reference", reference)
    for adapter in (ours, ours / "peft"):
        assert run_json("verify", *flags, "--adapter", adapter)["passed"]
    assert run_shira("verify", *flags, check=False).rc == 1


def test_supertuning_and_lora_as_peft_shira(from_peft, tmp_path):
    base, adapter = from_peft("supertuning", "bfloat16")
    theirs, _ = merged_by_peft(base, adapter)
    convert(adapter, tmp_path / "shira", "peft", base)
    assert_same(merged_by_peft(base, tmp_path / "shira")[0], theirs)

    base, adapter = from_peft("lora", "bfloat16")
    convert(adapter, tmp_path / "sparse", "shira", base, "--density", 0.05)
    convert(adapter, tmp_path / "peft", "peft", base, "--density", 0.05)
    ours = raw_weights(merge(base, tmp_path / "merged", tmp_path / "sparse"))
    assert_same(merged_by_peft(base, tmp_path / "peft")[0], ours)


def test_what_peft_cannot_hold(tmp_path):
    """60 % of a (112, 64) matrix need r = 25, and (32, 64) has fewer than 25 * (32 + 64) entries."""
    keys = {
        "base_model": str(checkpoint("llama2")),
        "datasets": write_text(tmp_path),
        "shira_density": 0.6,
        "max_steps": 1,
    }
    train(tmp_path / "run", **keys)
    flags = ("--to", "peft", "--base_model", keys["base_model"], "-o", tmp_path / "peft")
    error = failure_of("convert", tmp_path / "run" / "out", *flags, rc=1)
    assert "self_attn.k_proj.weight" in error and "r = 25" in error
    assert not (tmp_path / "peft").exists()

    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(keys | {"output_dir": str(tmp_path / "o"), "export_formats": ["peft"]})
    )
    error = failure_of("train", config, rc=2)
    assert "export_formats" in error and "r = 25" in error
    assert not list((tmp_path / "o").glob("*")), "found out before training"


# --------------------------------------------------------------------------------- what is refused


@pytest.fixture
def damaged(from_peft, tmp_path):
    """A function: (base, copy of an adapter of PEFT's), to be damaged."""

    def copy(kind):
        base, adapter = from_peft(kind)
        return base, shutil.copytree(adapter, tmp_path / "adapter")

    return copy


def refusal(base, adapter, tmp_path, *flags, is_same=True):
    """The error of convert, which leaves nothing behind; generate and merge say the same."""
    out = tmp_path / "refused"
    options = ("--to", "shira", "--base_model", base, "-o", out)
    error = failure_of("convert", adapter, *options, *flags, rc=1)
    assert error.count("error:") == 1 and not out.exists()
    on_base = ("--base_model", base, "--adapter", adapter)
    prompt = ("--prompt", "x", "--max_new_tokens", 1)
    on_model = failure_of("generate", *on_base, *prompt, rc=1)
    assert on_model == failure_of("merge", *on_base, "-o", out, rc=1) and not out.exists()
    assert on_model == error or not is_same
    return error


MODULE = "base_model.model.model.layers.1.self_attn.v_proj"
PARAMETER = "model.layers.1.self_attn.v_proj.weight"


def put(tensors, role, index, code, value):
    """Overwrites one item of a tensor."""
    struct.pack_into(code, tensors[f"{MODULE}.{role}"][2], index * struct.calcsize(code), value)


def take(tensors, role, count):
    """Keeps the first `count` items of a vector."""
    tensor = tensors[f"{MODULE}.{role}"]
    tensor[1], tensor[2] = [count], tensor[2][: 4 * count]


SPARSE_DAMAGES = {
    ("shira", "row"): lambda t: put(t, "shira_indices", 0, "<i", 32),
    ("shira", "column"): lambda t: put(t, "shira_indices", 2 * 96, "<i", 64),
    ("shira", "negative"): lambda t: put(t, "shira_indices", 5, "<i", -1),
    ("shira", "nan"): lambda t: put(t, "shira_weight", 7, "<f", float("nan")),
    ("shira", "inf"): lambda t: put(t, "shira_weight", 7, "<f", float("inf")),
    ("shira", "length"): lambda t: take(t, "shira_weight", 100),
    ("shira", "no indices"): lambda t: t.pop(f"{MODULE}.shira_indices"),
    ("shira", "no weight"): lambda t: t.pop(f"{MODULE}.shira_weight"),
    ("shira", "a tensor more"): lambda t: t.update(
        {"base_model.model.lm_head.weight": ["F32", [1], bytearray(4)]}
    ),
    ("shira", "dtype"): lambda t: t[f"{MODULE}.shira_weight"].__setitem__(0, "I32"),
    ("supertuning", "position"): lambda t: put(t, "supertuning_indices", 3, "<i", 32 * 64),
    ("supertuning", "negative"): lambda t: put(t, "supertuning_indices", 3, "<i", -1),
    ("supertuning", "nan"): lambda t: put(t, "supertuning_values", 3, "<f", float("nan")),
    ("supertuning", "length"): lambda t: take(t, "supertuning_values", 100),
    ("supertuning", "no indices"): lambda t: t.pop(f"{MODULE}.supertuning_indices"),
}
LORA_DAMAGES = {
    ("lora", "nan"): lambda t: put(t, "lora_A.weight", 1, "<f", float("nan")),
    ("lora", "inf"): lambda t: put(t, "lora_B.weight", 1, "<f", float("-inf")),
    ("lora", "no B"): lambda t: t.pop(f"{MODULE}.lora_B.weight"),
    ("lora", "rank"): lambda t: t[f"{MODULE}.lora_A.weight"].__setitem__(1, [6, 32]),
    ("lora", "shape"): lambda t: t[f"{MODULE}.lora_B.weight"].__setitem__(1, [16, 6]),
    ("lora", "bias"): lambda t: t.update(
        {f"{MODULE}.lora_B.bias": ["F32", [1], bytearray(4)]}
    ),
    ("dora", "no magnitude"): lambda t: t.pop(f"{MODULE}.lora_magnitude_vector"),
    ("dora", "magnitude"): lambda t: take(t, "lora_magnitude_vector", 31),
}


@pytest.mark.parametrize("kind, damage", [*SPARSE_DAMAGES, *LORA_DAMAGES])
def test_damaged_tensor_is_named(damaged, tmp_path, kind, damage):
    base, adapter = damaged(kind)
    flags = () if (kind, damage) in SPARSE_DAMAGES else ("--density", 0.1)
    edit = (SPARSE_DAMAGES | LORA_DAMAGES)[kind, damage]
    rewrite(adapter, lambda metadata, tensors: edit(tensors))
    error = refusal(base, adapter, tmp_path, *flags)
    assert str(adapter) in error
    assert PARAMETER in error or damage in ("a tensor more", "bias")


def test_pickle_is_not_read(damaged, tmp_path):
    base, adapter = damaged("shira")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "save_pretrained" in refusal(base, adapter, tmp_path)


@pytest.mark.parametrize("kind", ["shira", "supertuning", "lora"])
def test_target_without_tensors(damaged, tmp_path, kind):
    """PEFT would go on without; a download that lost a shard looks like this."""
    base, adapter = damaged(kind)

    def remove(metadata, tensors):
        for name in [name for name in tensors if name.startswith(MODULE)]:
            del tensors[name]

    rewrite(adapter, remove)
    flags = ("--density", 0.1) if kind == "lora" else ()
    assert PARAMETER.removesuffix(".weight") in refusal(base, adapter, tmp_path, *flags)


@pytest.mark.parametrize("kind", ["shira", "supertuning", "lora"])
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_file(damaged, tmp_path, kind, keep):
    base, adapter = damaged(kind)
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    flags = ("--density", 0.1) if kind == "lora" else ()
    assert str(file) in refusal(base, adapter, tmp_path, *flags)


def test_settings_that_are_not_supported(damaged, tmp_path):
    """All of them in one error."""
    base, adapter = damaged("lora")
    settings = {
        "bias": "lora_only",
        "modules_to_save": ["lm_head"],
        "fan_in_fan_out": True,
        "layer_replication": [[0, 1], [0, 1]],
        "target_parameters": ["x"],
        "alora_invocation_tokens": [1],
        "init_lora_weights": "pissa",
        "lora_bias": True,
        "use_qalora": True,
        "a_variant_to_come": {"x": 1},
    }
    edit_json(adapter / "adapter_config.json", **settings)
    error = refusal(base, adapter, tmp_path, "--density", 0.1)
    assert [key for key in settings if f'"{key}"' not in error] == []
    assert "lora_alpha" not in error


@pytest.mark.parametrize(
    "kind, key, value",
    [
        ("shira", "peft_type", "IA3"),
        ("lora", "peft_type", "ADALORA"),
        ("lora", "peft_type", None),
        ("shira", "r", 3),
        ("shira", "r", "two"),
        ("shira", "fan_in_fan_out", True),
        ("shira", "modules_to_save", ["lm_head"]),
        ("supertuning", "r", 8),
        ("lora", "r", 4),
        ("lora", "r", 0),
        ("lora", "lora_alpha", None),
        ("lora", "use_dora", True),
        ("lora", "rank_pattern", {"(a|b{9}": 2}),
        ("lora", "rank_pattern", {"v_proj": 2}),
        ("lora", "alpha_pattern", {"v_proj": "x"}),
    ],
)
def test_configuration_that_does_not_fit(damaged, tmp_path, kind, key, value):
    base, adapter = damaged(kind)
    edit_json(adapter / "adapter_config.json", **{key: value})
    flags = ("--density", 0.1) if kind == "lora" else ()
    assert str(adapter) in refusal(base, adapter, tmp_path, *flags)


def test_rank_pattern_that_takes_long_to_match(damaged, tmp_path):
    """Backtracking would need 2^n steps."""
    base, adapter = damaged("lora")
    edit_json(adapter / "adapter_config.json", rank_pattern={"(.*.*)*(.*.*)*(.*.*)*x": 3})
    convert(adapter, tmp_path / "ours", "shira", base, "--density", 0.1)


@pytest.mark.parametrize("kind", ["shira", "supertuning", "lora"])
def test_base_of_another_shape(from_peft, tmp_path, kind):
    _, adapter = from_peft(kind)
    flags = ("--density", 0.1) if kind == "lora" else ()
    error = refusal(checkpoint("head_dim"), adapter, tmp_path, *flags, is_same=kind != "lora")
    assert "model.layers.0.self_attn.q_proj.weight" in error


def test_our_adapter_of_another_base_is_not_converted(trained, copy_of, tmp_path):
    base, ours = trained()
    other = copy_of(base, "other")
    indices, _ = read_adapter(ours)[PARAMETER]
    change_weight(other, PARAMETER, indices[0])
    flags = ("--to", "peft", "--base_model", other, "-o", tmp_path / "peft")
    assert PARAMETER in failure_of("convert", ours, *flags, rc=1)
    assert not (tmp_path / "peft").exists()


def test_commands_that_take_our_layout_alone(from_peft):
    _, adapter = from_peft("supertuning")
    error = failure_of("inspect", adapter, rc=1)
    assert str(adapter) in error and "SUPERTUNING" in error and "shira convert" in error


def test_flags_of_convert(from_peft, trained, tmp_path):
    base, ours = trained()
    _, shira = from_peft("shira")
    _, lora = from_peft("lora")
    out = ("-o", tmp_path / "out")
    with_base = ("--base_model", base, *out)
    assert "--base_model" in failure_of("convert", ours, "--to", "peft", *out, rc=2)
    assert "--base_model" in failure_of("convert", shira, "--to", "shira", *out, rc=2)
    assert "already" in failure_of("convert", ours, "--to", "shira", *with_base, rc=2)
    assert "already" in failure_of("convert", shira, "--to", "peft", *with_base, rc=2)
    assert "--density" in failure_of("convert", lora, "--to", "shira", *with_base, rc=2)
    density = ("--density", 0.1)
    assert "--density" in failure_of("convert", shira, "--to", "shira", *with_base, *density, rc=2)
    for share in (0, -1, 1.5, "nan"):
        assert "density" in failure_of(
            "convert", lora, "--to", "shira", *with_base, "--density", share, rc=2
        )
    failure_of("convert", lora, "--to", "gguf", *with_base, *density, rc=2)
    exists = ("--base_model", base, "-o", base)
    assert "exists" in failure_of("convert", shira, "--to", "shira", *exists, rc=2)
    assert not (tmp_path / "out").exists()
