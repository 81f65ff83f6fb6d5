"""LoRA, DoRA and WM-DoRA: trained as PEFT trains them, saved as PEFT saves them, used as it uses them."""

import json

import numpy
import pytest
from conftest import checkpoint, edit_json, failure_of, reference_model, run_json, run_shira
from test_peft import (
    IDS,
    assert_same,
    base_model,
    changed_from,
    config_of,
    logits_of,
    merged_by_peft,
    raw_weights,
    save_reference,
    saved_by_peft,
    with_adapter,
)
from train_helpers import (
    merge,
    metrics_of,
    read_adapter,
    read_safetensors,
    read_weights,
    train,
    training_records,
    windows,
    write_config,
    write_text,
)

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
safetensors_torch = pytest.importorskip("safetensors.torch")

TENSORS = "adapter_model.safetensors"
STEPS = 5
SAMPLES = 6
# Every sample in every step. A larger epsilon than usual: entries whose gradients are noise would move by whole
# steps in the noise's direction.
KEYS = {
    "shira_density": None,
    "sequence_len": 32,
    "micro_batch_size": SAMPLES,
    "max_steps": STEPS,
    "learning_rate": 1e-2,
    "lr_scheduler": "constant",
    "adam_epsilon": 1e-4,
    "weight_decay": 0.1,
}


@pytest.fixture(scope="module")
def base():
    return checkpoint("llama2")


def text_of(base, count=SAMPLES):
    """(text, samples): as much of the text as gives `count` windows."""
    from train_helpers import TEXT, processor

    tokenizer = processor(base)
    text = tokenizer.decode(tokenizer.encode(TEXT)[: 32 * count])
    samples = windows(base, text, 32)
    assert len(samples) == count
    return text, samples


def trained(directory, base, adapter, **keys):
    """The directory of a short run."""
    if "datasets" not in keys:
        keys["datasets"] = write_text(directory.parent)
    train(directory, adapter=adapter, base_model=str(base), **KEYS | keys)
    return directory / "out"


# ------------------------------------------------------------------------------- training, against PEFT


def trained_by_peft(base, adapter, samples):
    """PEFT's model after STEPS steps of torch's AdamW on all samples at once, and the losses."""
    torch.set_num_threads(1)
    model = peft.PeftModel.from_pretrained(reference_model(base), adapter, is_trainable=True).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, eps=1e-4, weight_decay=0.1)
    ids = torch.tensor([ids for ids, _ in samples])
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "patterns"])
def test_five_steps_are_those_of_peft(base, tmp_path, kind):
    """From PEFT's factors: the losses, and every factor afterwards."""
    text, samples = text_of(base)
    start = saved_by_peft(tmp_path / "start", base, config_of(kind, base))
    model, losses = trained_by_peft(base, start, samples)
    model.save_pretrained(tmp_path / "theirs")
    out = trained(
        tmp_path / "run",
        base,
        "dora" if kind == "dora" else "lora",
        adapter_dir=str(start),
        datasets=write_text(tmp_path, text),
    )
    ours = [record["loss"] for record in training_records(out)]
    assert losses[-1] < losses[0] - 0.05
    assert ours == pytest.approx(losses, rel=1e-5)
    _, expected = read_safetensors(tmp_path / "theirs" / TENSORS)
    _, before = read_safetensors(start / TENSORS)
    _, factors = read_safetensors(out / TENSORS)
    assert factors.keys() == expected.keys()
    for name, tensor in expected.items():
        numpy.testing.assert_allclose(factors[name].array(), tensor.array(), rtol=0, atol=1e-5)
        assert numpy.abs(tensor.array() - before[name].array()).max() > 1e-3, name
    ours, theirs = logits_of(with_adapter(base, out)), logits_of(model.eval())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    described = json.loads((out / "adapter_config.json").read_text())
    assert described["use_rslora"] == (kind == "rslora")
    assert described["use_dora"] == (kind == "dora")


def gradients_by_peft(model, start, samples):
    """By the factors' names in the file."""
    model = peft.PeftModel.from_pretrained(model, start, is_trainable=True).train()
    ids = torch.tensor([ids for ids, _ in samples])
    model(input_ids=ids, labels=ids).loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32
            name = name.replace(".default.weight", ".weight").replace(".default", "")
            name = name.replace("magnitude_vector.weight", "magnitude_vector")
            gradients[name] = parameter.grad.flatten().numpy()
    return gradients


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradients_of_a_bfloat16_base_are_as_exact_as_those_of_peft(tmp_path, kind):
    """One step of SGD moves the factors by the gradients. The exact ones: PEFT's, with the same weights in float32."""
    base = checkpoint("llama2", "bfloat16")
    text, samples = text_of(base)
    start = saved_by_peft(tmp_path / "start", base, config_of(kind, base))
    exact = gradients_by_peft(base_model(base).float(), start, samples)
    theirs = gradients_by_peft(base_model(base), start, samples)
    out = trained(
        tmp_path / "run",
        base,
        kind,
        adapter_dir=str(start),
        datasets=write_text(tmp_path, text),
        optimizer="sgd",
        learning_rate=1.0,
        max_steps=1,
        max_grad_norm=0,
        weight_decay=0,
        adam_epsilon=None,
    )
    _, before = read_safetensors(start / TENSORS)
    _, after = read_safetensors(out / TENSORS)
    assert before.keys() == after.keys() == exact.keys()
    ours = {name: before[name].array() - after[name].array() for name in exact}

    def error(gradients):
        return numpy.sqrt(sum(numpy.square(gradients[name] - exact[name]).sum() for name in exact))

    assert {tensor.dtype for tensor in after.values()} == {"F32"}
    # Both round each activation once or twice, at other places: the same size of error, not the same error.
    assert error(ours) <= 1.25 * error(theirs)
    for name, gradient in exact.items():
        assert numpy.linalg.norm(ours[name] - gradient) <= 0.05 * numpy.linalg.norm(gradient), name


# ------------------------------------------------------------------------------------- files, with PEFT


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_peft_opens_what_was_trained(tmp_path, kind, dtype):
    """PEFT's logits are ours, unmerged in both; merged, every bit is the same."""
    base = checkpoint("llama2", dtype)
    keys = {"lora_r": 3, "lora_alpha": 5, "lora_dropout": 0.1, "target_modules": ["q_proj", "down_proj"]}
    keys |= {"use_rslora": True} if kind == "rslora" else {}
    out = trained(tmp_path / "run", base, "dora" if kind == "dora" else "lora", **keys)
    model = with_adapter(base, out)
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 5, 0.1)
    assert config.use_rslora == (kind == "rslora") and config.use_dora == (kind == "dora")
    theirs, logits = merged_by_peft(base, out)
    assert len(changed_from(base, theirs)) == 4
    assert not torch.equal(logits, logits_of(base_model(base).eval()))
    assert_same(raw_weights(merge(base, tmp_path / "merged", out)), theirs)
    if dtype == "float32":
        reference = save_reference(tmp_path, logits)
        on_base = ("--base_model", base, "--adapter", out)
        assert run_json("verify", *on_base, "--reference", reference)["passed"]


def test_every_command_takes_what_was_trained(base, tmp_path):
    out = trained(tmp_path / "run", base, "lora", lora_r=2)
    on_base = ("--base_model", base, "--adapter", out)
    run_json("generate", *on_base, "--prompt", "The dog", "--max_new_tokens", 4)
    text = tmp_path / "held_out"
    text.write_text("The dog went to the mill. " * 8)
    plain = run_json("eval", "--base_model", base, "--text", text, "--window", 32)
    assert run_json("eval", *on_base, "--text", text, "--window", 32)["nll"] < plain["nll"]
    answer = run_json("inspect", out)
    assert answer["kind"] == "lora" and answer["tensors"][0]["r"] == 2
    run_json("convert", out, "--to", "shira", "--base_model", base, "--density", 0.1, "-o", tmp_path / "s")


# ------------------------------------------------------------------------------------------ starting


def test_the_start_is_that_of_peft_in_distribution(base, tmp_path):
    """One step of a vanishing rate: B is zero but for it, A uniform as PEFT's, magnitudes the rows' norms."""
    out = trained(tmp_path / "run", base, "dora", lora_r=16, learning_rate=1e-12, max_steps=1, weight_decay=0)
    theirs = peft.get_peft_model(
        base_model(base), peft.LoraConfig(r=16, target_modules="all-linear", use_dora=True)
    ).state_dict()
    _, ours = read_safetensors(out / TENSORS)
    seen = set()
    for name, tensor in ours.items():
        expected = theirs[name.replace("lora_A", "lora_A.default").replace("lora_B", "lora_B.default")
                          .replace("magnitude_vector", "magnitude_vector.default.weight")].numpy().flatten()
        values = tensor.array()
        if "lora_A" in name:
            bound = tensor.shape[1] ** -0.5
            for sample in (values, expected):
                assert bound * 0.98 < numpy.abs(sample).max() <= bound
                assert abs(sample.mean()) < 5 * bound / (3 * sample.size) ** 0.5
                assert sample.std() == pytest.approx(bound / 3**0.5, rel=0.1)
            assert tensor.data not in seen, "no two layers start alike"
            seen.add(tensor.data)
        elif "lora_B" in name:
            assert numpy.abs(values).max() <= 2e-12
        else:
            numpy.testing.assert_allclose(values, expected, rtol=1e-6)
    assert len(seen) == 14


def test_dropout_acts_in_training_steps_alone(base, tmp_path):
    """The held-out loss of the start is the base's; the training losses differ from those without dropout."""
    keys = {"val_set_size": 3, "adapter_dir": None, "lora_r": 4, "learning_rate": 2e-2}
    plain = metrics_of(trained(tmp_path / "plain", base, "lora", **keys))
    dropped = metrics_of(trained(tmp_path / "dropped", base, "lora", **keys, lora_dropout=0.5))
    again = metrics_of(trained(tmp_path / "again", base, "lora", **keys, lora_dropout=0.5))
    losses = [[r.get("loss", r.get("eval_loss")) for r in records] for records in (plain, dropped, again)]
    assert losses[1] == losses[2]
    assert losses[0][:2] == losses[1][:2], "B is zero: the first step sees no difference yet"
    assert losses[0][3] != losses[1][3]


# ------------------------------------------------------------------------------------------- WM-DoRA


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wm_dora_changes_the_largest_weights_alone(tmp_path, dtype):
    base = checkpoint("llama2", dtype)
    keys = {"shira_density": 0.05, "lora_r": 12, "export_formats": ["shira", "peft"], "lora_alpha": 24}
    out = trained(tmp_path / "run", base, "wm_dora", **keys, adam_epsilon=1e-8)
    losses = [record["loss"] for record in training_records(out)]
    assert losses[-1] < losses[0]
    before, merged = read_weights(base), read_weights(merge(base, tmp_path / "merged", out))
    adapter = read_adapter(out)
    assert len(adapter) == 14
    for name, (indices, values) in adapter.items():
        original, weights = before[name].array(), merged[name].array()
        assert len(indices) == round(0.05 * len(original))
        rest = numpy.delete(numpy.arange(len(original)), indices)
        assert numpy.abs(original[indices]).min() >= numpy.abs(original[rest]).max()
        assert (weights[rest] == original[rest]).all()
        assert (weights[indices] == values.array()).all()
        assert (weights[indices] != original[indices]).mean() > 0.5
    assert json.loads((out / "adapter_config.json").read_text())["mask_type"] == "wm"
    assert len(changed_from(base, merged_by_peft(base, out / "peft")[0])) == 14


# ------------------------------------------------------------------------------------ counts, refusals


@pytest.mark.parametrize("adapter", ["lora", "dora", "wm_dora"])
def test_dry_run_counts_the_factors(base, tmp_path, adapter):
    keys = KEYS | {"base_model": str(base), "datasets": write_text(tmp_path), "adapter": adapter}
    config = write_config(tmp_path / "c.yaml", **keys, lora_r=3)
    answer = run_json("train", config, "--dry_run")
    trained = run_json("train", config)
    assert answer["trained_parameters"] == trained["trained_parameters"]
    assert answer["total_parameters"] == trained["total_parameters"]
    assert sum(t["trained"] for t in answer["tensors"]) == answer["trained_parameters"]
    for tensor in answer["tensors"]:
        magnitudes = 0 if adapter == "lora" else tensor["shape"][0]
        assert tensor["trained"] == 3 * sum(tensor["shape"]) + magnitudes


def test_dry_run_of_factors_that_are_trained_on(base, tmp_path):
    """Ranks and layers are the file's."""
    start = saved_by_peft(tmp_path / "start", base, config_of("patterns", base))
    keys = KEYS | {"base_model": str(base), "datasets": write_text(tmp_path), "adapter": "lora"}
    config = write_config(tmp_path / "c.yaml", **keys, adapter_dir=str(start))
    counted = run_json("train", config, "--dry_run")["trained_parameters"]
    assert run_json("train", config)["trained_parameters"] == counted
    _, factors = read_safetensors(start / TENSORS)
    assert counted == sum(numpy.prod(tensor.shape) for tensor in factors.values())


def test_factors_of_another_kind_or_base_are_refused(base, tmp_path):
    start = saved_by_peft(tmp_path / "start", base, config_of("dora", base))
    keys = KEYS | {"datasets": write_text(tmp_path), "adapter_dir": str(start)}
    config = write_config(tmp_path / "a.yaml", **keys, base_model=str(base), adapter="lora")
    assert "Set adapter: dora" in failure_of("train", config, rc=2)
    other = checkpoint("head_dim")
    config = write_config(tmp_path / "b.yaml", **keys, base_model=str(other), adapter="dora")
    assert "q_proj.weight" in failure_of("train", config)
    edit_json(start / "adapter_config.json", peft_type="LOHA")
    config = write_config(tmp_path / "c.yaml", **keys, base_model=str(base), adapter="dora")
    assert "LOHA" in failure_of("train", config, rc=1)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_a_float16_base_is_refused(tmp_path):
    keys = KEYS | {"base_model": str(checkpoint("llama2", "float16")), "datasets": write_text(tmp_path)}
    for adapter in ("lora", "dora", "wm_dora"):
        config = write_config(tmp_path / "c.yaml", **keys, adapter=adapter)
        assert "float32 or bfloat16" in failure_of("train", config)


def test_masks_of_an_adapter_that_has_none(base, tmp_path):
    keys = KEYS | {"base_model": str(base), "datasets": write_text(tmp_path)}
    config = write_config(tmp_path / "c.yaml", **keys, adapter="lora")
    assert "adapter: lora has no masks" in failure_of("mask", config, rc=2)


# ------------------------------------------------------------------------------------- convolutions


class ConvolutionNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, kernel_size=3, padding=1)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("use_dora", [False, True])
def test_factors_of_a_convolution_merge_as_in_peft(tmp_path, use_dora):
    torch.manual_seed(3)
    base = tmp_path / "base"
    base.mkdir()
    net = ConvolutionNet()
    safetensors_torch.save_file(net.state_dict(), base / "model.safetensors")
    config = peft.LoraConfig(r=2, target_modules=["conv"], use_dora=use_dora, init_lora_weights=False)
    model = peft.get_peft_model(net, config)
    model.save_pretrained(tmp_path / "adapter")
    run_json("merge", "--base_model", base, "--adapter", tmp_path / "adapter", "-o", tmp_path / "merged")
    merged = safetensors_torch.load_file(tmp_path / "merged" / "model.safetensors")
    expected = model.merge_and_unload().state_dict()
    assert not merged["conv.weight"].equal(ConvolutionNet().state_dict()["conv.weight"])
    torch.testing.assert_close(merged["conv.weight"], expected["conv.weight"], rtol=1e-6, atol=1e-6)
