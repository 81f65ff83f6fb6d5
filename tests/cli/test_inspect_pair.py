"""shira inspect A B: hand-made and trained adapters against numpy, the picture by its pixels, and refusals."""

import json

import numpy
import pytest
from conftest import checkpoint, failure_of, run_json, run_shira
from PIL import Image
from safetensors.numpy import load_file, save_file
from train_helpers import read_adapter, read_weights, train, write_text

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
WHITE, DARK, FRAME = (255, 255, 255), (8, 24, 58), (120, 124, 132)


# ----------------------------------------------------------------------------------------- by hand


def write_adapter(directory, tensors, whole=None, removed=()):
    """An adapter as docs/adapter_format.md has it: {name: dense}, where what is not zero is an entry."""
    metadata = {
        "format": "shira",
        "format_version": "2" if whole or removed else "1",
        "value_kind": "deltas",
        "base_dtype": "F32",
        "base_model": "by hand",
        "mask_type": "rand",
    }
    arrays = {name + ".whole": array for name, array in (whole or {}).items()}
    if removed:
        metadata["removed"] = json.dumps(removed)
    for name, dense in tensors.items():
        dense = numpy.array(dense, "f4")
        indices = dense.flatten().nonzero()[0]
        gaps = numpy.diff(indices, prepend=0)
        coded = [byte for gap in gaps for byte in [255] * (gap // 255) + [gap % 255]]
        arrays[name + ".values"] = dense.flatten()[indices]
        arrays[name + ".gaps"] = numpy.array(coded, "u1")
        arrays[name + ".restarts"] = numpy.zeros(0, "i8")
        metadata["target." + name] = json.dumps({"shape": dense.shape, "nnz": len(indices)})
    directory.mkdir()
    save_file(arrays, directory / "adapter_model.safetensors", metadata=metadata)
    (directory / "adapter_config.json").write_text(
        json.dumps({"peft_type": "SHIRA", "layout": "shira", "format_version": "1"})
    )
    return directory


@pytest.fixture
def by_hand(tmp_path):
    """(A, B): in x, A^T B = [1 0 0; 2 0 0]^T [3 0 0; 0 0 4] = [3 0 8; 0 0 0; 0 0 0]; y and z are of one alone."""
    a = write_adapter(tmp_path / "a", {"x": [[1, 0, 0], [2, 0, 0]], "y": [[6, 0]]})
    b = write_adapter(tmp_path / "b", {"x": [[3, 0, 0], [0, 0, 4]], "z": [0, 2]})
    return a, b


def test_numbers_of_hand_made_adapters(by_hand):
    result = run_json("inspect", *by_hand)
    (x,) = result["tensors"]
    norm = numpy.sqrt(9 + 64)  # of one row: spectral and Frobenius
    assert x == {
        "name": "x",
        "shape": [2, 3],
        "nnz_a": 2,
        "nnz_b": 2,
        "shared": 1,
        "shared_of_a": 0.5,
        "shared_of_b": 0.5,
        "jaccard": pytest.approx(1 / 3),
        "awom_spectral": pytest.approx(norm, rel=1e-12),
        "awom_spectral_error": 0.0,
        "awom_frobenius": pytest.approx(norm, rel=1e-12),
        "awor": pytest.approx(1 - 2 / 9),
        "distance_base_a": pytest.approx(numpy.sqrt(5)),
        "distance_base_b": 5.0,
        "distance_a_b": pytest.approx(numpy.sqrt(4 + 4 + 16)),
    }
    assert result["only_in_a"] == ["y"] and result["only_in_b"] == ["z"]
    total = result["total"]
    assert total["awom_spectral"] == x["awom_spectral"] and total["shared"] == 1
    assert total["distance_base_a"] == pytest.approx(numpy.sqrt(5 + 36))
    assert total["distance_base_b"] == pytest.approx(numpy.sqrt(25 + 4))
    assert total["distance_a_b"] == pytest.approx(numpy.sqrt(24 + 36 + 4))
    assert (result["a"]["value_kind"], result["a"]["nnz"]) == ("deltas", 3)


def test_what_an_adapter_holds_whole_or_removes_is_named(by_hand, tmp_path):
    whole = {"y": numpy.ones((1, 2), "f4")}
    c = write_adapter(tmp_path / "c", {"x": [[1, 0, 0], [0, 0, 0]]}, whole=whole, removed=["w"])
    result = run_json("inspect", by_hand[0], c)
    assert [tensor["name"] for tensor in result["tensors"]] == ["x"]
    assert result["only_in_a"] == ["y"] and result["not_compared"] == ["w", "y"]
    text = run_shira("inspect", by_hand[0], c).stdout
    assert text.splitlines()[-1].startswith("not compared") and text.endswith(": w y\n")


def test_text_has_a_line_a_tensor_and_all(by_hand):
    lines = run_shira("inspect", *by_hand).stdout.splitlines()
    assert lines[0].startswith("A: ") and lines[1].startswith("B: ") and "3 entries" in lines[1]
    assert "AWOM (spectral)" in lines[2] and "AWOM (Frobenius)" in lines[2]
    assert lines[3].split()[:4] == ["x", "2", "x", "3"] and "8.544" in lines[3]
    assert lines[4].split()[:4] == ["all", "2", "2", "1"]
    assert lines[5:] == ["only in A: y", "only in B: z"]


def test_a_picture_shows_the_product(by_hand, tmp_path):
    run_shira("inspect", *by_hand, "--draw", "x", "--picture", tmp_path / "x.png")
    pixels = numpy.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    left = top = 46
    cell = 171  # of three in 512 pixels, rounded up
    centres = [[tuple(pixels[top + cell * i + 85, left + cell * j + 85]) for j in range(3)] for i in range(3)]
    assert centres[0][2] == DARK  # 8, the largest
    assert centres[0][0] not in (DARK, WHITE)  # 3
    flat = [colour for row in centres for colour in row]
    assert flat.count(WHITE) == 7
    bar = pixels[top : top + 3 * cell, left + 3 * cell + 12 + 10]
    # the colour of 3 stands where the bar has sqrt(3 / 8)
    place = int((1 - numpy.sqrt(3 / 8)) * 3 * cell)
    assert numpy.abs(bar[place].astype(int) - centres[0][0]).max() <= 2
    assert (pixels[: top - 4] < 80).all(axis=-1).sum() > 100, "a title"


# ----------------------------------------------------------------------------------------- trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Adapters of the tiny base: wm, its second band, rand, rand of the attention alone, and wm in BF16."""
    keys = {
        "wm": {},
        "band": {"shira_wm_band": 1},
        "rand": {"shira_mask": "rand"},
        "attention": {"shira_mask": "rand", "target_modules": ["q_proj", "v_proj"]},
        "bf16": {"base_dtype": "bfloat16"},
    }
    made = {}
    for name, extra in keys.items():
        directory = tmp_path_factory.mktemp(name)
        train(
            directory,
            base_model=str(checkpoint("llama2")),
            datasets=write_text(directory),
            **({"shira_mask": "wm", "learning_rate": 2e-2} | extra),
        )
        made[name] = directory / "out"
    return made


def to_bf16(values):
    """float32 rounded to BF16, as float32."""
    import torch

    return torch.tensor(values).to(torch.bfloat16).float().numpy()


def dense_deltas(adapter, base):
    """{name: (delta, mask)} as float64 matrices."""
    weights, deltas = read_weights(base), {}
    for name, (indices, values) in read_adapter(adapter).items():
        before = weights[name].array()
        before = (to_bf16(before) if values.dtype == "BF16" else before).astype("f8")
        delta, mask = numpy.zeros(len(before)), numpy.zeros(len(before), bool)
        delta[indices] = values.array().astype("f8") - before[indices]
        mask[indices] = True
        deltas[name] = delta.reshape(weights[name].shape), mask, before
    return deltas


@pytest.mark.parametrize(
    "pair", [("wm", "band"), ("wm", "rand"), ("wm", "wm"), ("bf16", "rand"), ("attention", "rand")]
)
def test_numbers_of_trained_adapters_are_those_of_numpy(trained, pair):
    base = checkpoint("llama2")
    adapters = [trained[name] for name in pair]
    result = run_json("inspect", *adapters, "--base_model", base)
    first, second = (dense_deltas(adapter, base) for adapter in adapters)
    assert [tensor["name"] for tensor in result["tensors"]] == sorted(first.keys() & second.keys())
    squares, largest = 0.0, 0.0
    for tensor in result["tensors"]:
        (a, mask_a, before), (b, mask_b, _) = first[tensor["name"]], second[tensor["name"]]
        product = a.T @ b
        structure = (a != 0).T.astype("f4") @ (b != 0).astype("f4") > 0
        expected = {
            "awom_spectral": numpy.linalg.norm(product, 2),
            "awom_frobenius": numpy.linalg.norm(product),
            "awor": 1 - structure.sum() / structure.size,
            "distance_base_a": numpy.linalg.norm(a),
            "distance_base_b": numpy.linalg.norm(b),
            "distance_a_b": numpy.linalg.norm(a - b),
            "shared": (mask_a & mask_b).sum(),
            "jaccard": (mask_a & mask_b).sum() / (mask_a | mask_b).sum(),
            "relative_change_a": numpy.linalg.norm(a) / numpy.linalg.norm(before[mask_a]),
        }
        assert {key: tensor[key] for key in expected} == pytest.approx(expected, rel=1e-7, abs=1e-12)
        squares += numpy.linalg.norm(product) ** 2
        largest = max(largest, numpy.linalg.norm(product, 2))
    total = result["total"]
    assert total["awom_frobenius"] == pytest.approx(numpy.sqrt(squares))
    assert total["awom_spectral"] == pytest.approx(largest)
    for side, deltas in (("a", first), ("b", second)):
        expected = numpy.sqrt(sum((delta**2).sum() for delta, _, _ in deltas.values()))
        assert total[f"distance_base_{side}"] == pytest.approx(expected)
    if pair == ("wm", "band"):
        assert total["shared"] == 0
    if pair == ("wm", "wm"):
        assert total["jaccard"] == 1 and total["distance_a_b"] == 0


def test_without_a_base_weights_have_their_overlap_alone(trained):
    result = run_shira("inspect", trained["wm"], trained["rand"], "--json")
    assert "--base_model" in result.stderr and "AWOM" in result.stderr
    with_base = run_json("inspect", trained["wm"], trained["rand"], "--base_model", checkpoint("llama2"))
    for tensor, other in zip(result.json["tensors"], with_base["tensors"]):
        assert "awom_spectral" not in tensor and "distance_a_b" not in tensor
        assert tensor.items() <= other.items()
    assert "AWOM" not in run_shira("inspect", trained["wm"], trained["rand"]).stdout


# ---------------------------------------------------------------------------------------- refusals


def test_bad_usage_is_refused(by_hand, trained, tmp_path):
    picture = ("--picture", tmp_path / "p.png")
    assert "--picture" in failure_of("inspect", *by_hand, "--draw", "x", rc=2)
    assert "--draw" in failure_of("inspect", *by_hand, *picture, rc=2)
    assert "other" in failure_of("inspect", by_hand[0], "--base_model", checkpoint("llama2"), rc=2)
    message = failure_of("inspect", *by_hand, "--draw", "y", *picture, rc=2)
    assert "'y'" in message and "x is" in message
    weights = (trained["wm"], trained["rand"])
    assert "--base_model" in failure_of("inspect", *weights, "--draw", Q_PROJ, *picture, rc=2)
    assert not (tmp_path / "p.png").exists()


def test_what_cannot_be_compared_is_refused(by_hand, trained, tmp_path, copy_of):
    a, b = by_hand
    assert "adapter_config.json" in failure_of("inspect", a, checkpoint("llama2"), rc=1)
    assert "no tensor is sparse in both" in failure_of("inspect", a, trained["wm"], rc=1)
    turned = write_adapter(tmp_path / "turned", {"x": [[1, 0], [2, 0], [0, 3]]})
    message = failure_of("inspect", a, turned, rc=1)
    assert "x: " in message and "[2, 3]" in message and "[3, 2]" in message
    nan = write_adapter(tmp_path / "nan", {"x": [[1, 0, 0], [float("nan"), 0, 0]]})
    assert "x: " in failure_of("inspect", a, nan, rc=1)
    message = failure_of("inspect", a, b, "--base_model", checkpoint("llama2"), rc=1)
    assert str(a) in message and "x: the base has no such parameter" in message


def test_another_base_is_refused_unless_forced(trained, copy_of):
    other = copy_of(checkpoint("llama2"))
    weights = load_file(other / "model.safetensors")
    weights[Q_PROJ] = weights[Q_PROJ] + numpy.float32(0.5)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    pair = ("inspect", trained["wm"], trained["rand"], "--base_model", other)
    message = failure_of(*pair, rc=1)
    assert Q_PROJ in message and str(trained["wm"]) in message and "--force" in message
    assert message.count(".weight") == 1, "the others fit"
    assert run_json(*pair, "--force")["total"]["awom_spectral"] > 0


def test_a_narrower_base_is_warned_about(trained):
    base = checkpoint("llama2", "bfloat16")
    result = run_shira("inspect", trained["wm"], trained["rand"], "--base_model", base)
    assert "checksums cannot be compared" in result.stderr
