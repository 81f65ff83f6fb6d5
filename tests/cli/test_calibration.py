"""The masks `grad` and `snip` against gradients from PyTorch."""

import numpy
import pytest
from conftest import checkpoint, failure_of, reference_json, run_json
from train_helpers import RECORDS, instructions, read_safetensors, read_weights, write_config, write_records

DENSITY = 0.05


@pytest.fixture(scope="module")
def base():
    return checkpoint("llama2")


def gradient_sums(model, samples):
    """{linear weight: sum over the samples of abs(gradient of the sample's mean loss), flat}"""
    import torch

    weights = {n: p for n, p in model.named_parameters() if n.endswith("_proj.weight")}
    model.requires_grad_(False)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    for ids, labels in samples:
        logits = model(torch.tensor([ids])).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]))
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            sums[name] += gradient.abs()
    return {name: total.flatten().tolist() for name, total in sums.items()}


@pytest.fixture(scope="module")
def reference(base):
    """Scores when every sample is a batch of its own: their order does not matter then."""
    samples = instructions(base, RECORDS, 256)
    return reference_json("gradient-sums", base, gradient_sums, samples=samples)


def config_of(base, directory, mask, **keys):
    directory.mkdir(exist_ok=True)
    defaults = {
        "base_model": str(base),
        "datasets": write_records(directory, RECORDS),
        "sequence_len": 256,
        "micro_batch_size": 1,
        "shira_mask": mask,
        "shira_density": DENSITY,
        "shira_calibration_batches": len(instructions(base, RECORDS, 256)),
    }
    return write_config(directory / "c.yaml", **defaults | keys)


def masks_of(config, *flags):
    path = config.parent / "masks.safetensors"
    run_json("mask", config, "-o", path, *flags)
    return {name: tensor.array() for name, tensor in read_safetensors(path)[1].items()}


def assert_largest(indices, scores):
    """Up to rounding: no entry that was left out has a score above one that was taken."""
    taken = numpy.zeros(len(scores), bool)
    taken[indices] = True
    assert taken.sum() == round(DENSITY * len(scores))
    assert scores[~taken].max() <= scores[taken].min() * (1 + 1e-4)


@pytest.mark.parametrize("mask", ["grad", "snip"])
def test_masks_have_the_largest_scores(base, reference, tmp_path, mask):
    weights = read_weights(base)
    masks = masks_of(config_of(base, tmp_path, mask))
    assert set(masks) == set(reference)
    for name, indices in masks.items():
        scores = numpy.array(reference[name])
        if mask == "snip":
            scores = scores * numpy.abs(weights[name].array())
        assert_largest(indices, scores)


def test_grad_and_snip_and_wm_differ(base, tmp_path):
    masks = [masks_of(config_of(base, tmp_path / mask, mask)) for mask in ("grad", "snip")]
    wm = config_of(base, tmp_path / "wm", "wm", shira_calibration_batches=None)
    masks.append(masks_of(wm))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert len({tuple(mask[name]) for mask in masks}) == 3


def test_layer_by_layer_gives_the_same_masks(base, tmp_path):
    config = config_of(base, tmp_path, "snip")
    at_once = masks_of(config)
    in_passes = masks_of(config, "--set", "shira_calibration_memory=1e-6")
    assert all((at_once[name] == in_passes[name]).all() for name in at_once)


def test_bfloat16_calibrates_in_float32(base, reference, tmp_path):
    """Its masks are near those of float32, and training goes on with them."""
    config = config_of(base, tmp_path, "grad", base_dtype="bfloat16")
    masks = masks_of(config)
    for name, indices in masks.items():
        best = numpy.argsort(reference[name])[::-1][: len(indices)]
        assert len(set(best) & set(indices)) > 0.8 * len(indices)
    assert run_json("train", config)["step"] == 4


def test_a_float16_base_whose_gradients_overflow_is_told_what_to_do(base, tmp_path, copy_of):
    config = config_of(base, tmp_path, "grad", base_dtype="float16")
    error = failure_of("train", config)
    assert "float32 or bfloat16" in error


def test_tied_head_is_refused(tmp_path):
    config = config_of(checkpoint("tied"), tmp_path, "grad", target_modules=["lm_head"])
    assert "tied" in failure_of("mask", config)
