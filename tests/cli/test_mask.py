"""shira mask: counts, files, pictures; and that a run trains the very entries."""

import numpy
import pytest
import torch
from conftest import checkpoint, failure_of, run_json, run_shira
from PIL import Image
from safetensors.torch import load_file, save_file
from train_helpers import (
    read_adapter,
    read_safetensors,
    read_weights,
    train,
    write_config,
    write_text,
)

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def base():
    return checkpoint("llama2")


@pytest.fixture
def config(tmp_path, base):
    return write_config(
        tmp_path / "c.yaml", base_model=str(base), datasets=write_text(tmp_path), max_steps=1
    )


def read_masks(path):
    """{parameter: flat positions} of a file that `shira mask -o` wrote."""
    metadata, tensors = read_safetensors(path)
    assert metadata["format"] == "shira_masks"
    assert all(tensor.dtype == "I32" for tensor in tensors.values())
    return {name: numpy.frombuffer(tensor.data, "<i4") for name, tensor in tensors.items()}


def trained_positions(output_dir):
    return {name: indices for name, (indices, _) in read_adapter(output_dir).items()}


def expect_same(masks, others):
    assert masks.keys() == others.keys()
    for name, positions in masks.items():
        assert positions.tolist() == others[name].tolist(), name


# ---------------------------------------------------------------------------------------- numbers


def test_numbers_are_those_of_the_masks_in_the_file(config, base, tmp_path):
    result = run_json("mask", config, "-o", tmp_path / "masks")
    masks = read_masks(tmp_path / "masks")
    weights = read_weights(base)
    assert [tensor["name"] for tensor in result["tensors"]] == sorted(masks)
    assert len(masks) == 2 * 7  # all linear layers of two blocks, without the head
    for tensor in result["tensors"]:
        rows, columns = tensor["shape"]
        positions = masks[tensor["name"]]
        assert weights[tensor["name"]].shape == tensor["shape"]
        assert tensor["nnz"] == len(positions) == round(0.05 * rows * columns)
        assert tensor["density"] == pytest.approx(tensor["nnz"] / (rows * columns))
        assert tensor["rows"] == len(set(positions // columns))
        assert tensor["columns"] == len(set(positions % columns))
        rank = torch.zeros(rows * columns, dtype=torch.float64)
        rank[torch.tensor(positions)] = torch.rand(len(positions), dtype=torch.float64)
        # values at random have the structural rank
        assert tensor["structural_rank"] == torch.linalg.matrix_rank(rank.view(rows, columns))
    nnz = sum(map(len, masks.values()))
    targets = sum(tensor["shape"][0] * tensor["shape"][1] for tensor in result["tensors"])
    total = sum(len(tensor.array()) for tensor in weights.values())
    assert result["mask_type"] == "wm"
    assert (result["nnz"], result["target_parameters"]) == (nnz, targets)
    assert result["total_parameters"] == total
    assert result["share_of_targets"] == pytest.approx(nnz / targets)
    assert result["share_of_model"] == pytest.approx(nnz / total)


def test_the_table_has_a_line_a_tensor_and_the_totals(config):
    result = run_json("mask", config)
    lines = run_shira("mask", config).stdout.splitlines()
    assert len(lines) == 1 + len(result["tensors"]) + 1
    first = result["tensors"][0]
    assert lines[1].split()[:2] == [first["name"], str(first["shape"][0])]
    assert f" {first['structural_rank']} " in lines[1]
    assert lines[-1].startswith(f"trained: {result['nnz']} entries, ")


def test_struct_masks_show_the_budget_and_warn_once_where_they_exceed_it(config):
    overrides = ("--set", "shira_mask=struct", "--set", "target_modules=[q_proj]")
    # 64 x 64 at 5 %: a budget of 205, (205 - 64) / 64 = 2.2 rows, the diagonal crosses both
    close = run_shira("mask", config, *overrides, "--json")
    assert close.json["budget"] == 2 * 205
    assert close.json["nnz"] == 2 * (64 + 2 * 64 - 2)
    assert "warning" not in close.stderr
    # at 1 %: a budget of 41, yet one row and the diagonal
    far = run_shira("mask", config, *overrides, "--set", "shira_density=0.01", "--json")
    assert far.json["budget"] == 2 * 41
    assert far.json["nnz"] == 2 * (64 + 64 - 1)
    assert far.stderr.count("warning") == 1
    assert {tensor["structural_rank"] for tensor in far.json["tensors"]} == {64}
    assert "budget:  82 entries" in run_shira("mask", config, *overrides, "--set", "shira_density=0.01").stdout


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("mask", ["rand", "wm", "struct", "grad"])
def test_a_run_trains_the_masks_that_are_shown_and_those_of_the_file(config, tmp_path, base, mask):
    run_shira("mask", config, "--set", f"shira_mask={mask}", "-o", tmp_path / "m.safetensors")
    masks = read_masks(tmp_path / "m.safetensors")
    keys = {"base_model": str(base), "datasets": write_text(tmp_path), "max_steps": 1}
    train(tmp_path / "named", shira_mask=mask, **keys)
    expect_same(masks, trained_positions(tmp_path / "named" / "out"))
    keys["shira_density"] = None
    train(tmp_path / "filed", shira_mask=str(tmp_path / "m.safetensors"), **keys)
    expect_same(masks, trained_positions(tmp_path / "filed" / "out"))


def test_the_file_is_the_same_for_another_number_of_threads(config, tmp_path):
    for threads in (1, 3):
        run_shira("mask", config, "--set", f"num_threads={threads}", "-o", tmp_path / f"{threads}")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()


def test_magnitudes_are_ranked_in_the_dtype_of_the_run(tmp_path, base, copy_of):
    other = copy_of(base)
    weights = load_file(other / "model.safetensors")
    torch.manual_seed(1)
    for weight in weights.values():
        weight += 0.01 * torch.randn(weight.shape)  # many are equal in bfloat16 only
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    keys = {"base_model": str(other), "datasets": write_text(tmp_path), "max_steps": 1}
    config = write_config(tmp_path / "c.yaml", **keys)
    masks = {}
    for dtype in ("float32", "bfloat16"):
        run_shira("mask", config, "--set", f"base_dtype={dtype}", "-o", tmp_path / dtype)
        masks[dtype] = read_masks(tmp_path / dtype)
        train(tmp_path / f"run-{dtype}", base_dtype=dtype, **keys)
        expect_same(masks[dtype], trained_positions(tmp_path / f"run-{dtype}" / "out"))
    assert any((masks["float32"][n] != masks["bfloat16"][n]).any() for n in masks["float32"])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_dense_masks_of_another_program_are_trained(tmp_path, base, dtype):
    weights = load_file(base / "model.safetensors")
    names = [name for name in weights if name.endswith(("q_proj.weight", "up_proj.weight"))]
    masks = {name: weights[name].abs() > weights[name].abs().quantile(0.97) for name in names}
    path = tmp_path / "theirs.safetensors"
    save_file({name: mask.to(dtype) for name, mask in masks.items()}, path)
    train(
        tmp_path / "run",
        base_model=str(base),
        datasets=write_text(tmp_path),
        max_steps=1,
        target_modules=["q_proj", "up_proj"],
        shira_mask=str(path),
        shira_density=None,
    )
    expected = {name: mask.flatten().nonzero().flatten().numpy() for name, mask in masks.items()}
    expect_same(expected, trained_positions(tmp_path / "run" / "out"))


def test_a_file_that_lacks_a_target_or_fits_another_model_is_refused(config, tmp_path, base):
    weights = load_file(base / "model.safetensors")
    path = tmp_path / "theirs.safetensors"
    flags = ("--set", f"shira_mask={path}", "--set", "target_modules=[q_proj]")
    config.write_text(config.read_text().replace('"shira_density": 0.05,', ""))
    save_file({Q_PROJ: torch.ones_like(weights[Q_PROJ]).bool()}, path)
    assert Q_PROJ.replace("0", "1") in failure_of("mask", config, *flags)
    save_file({Q_PROJ: torch.ones(3, 5).bool()}, path)
    message = failure_of("mask", config, *flags)
    assert Q_PROJ in message and "[3, 5]" in message and "[64, 64]" in message
    path.write_bytes(b"no safetensors")
    assert str(path) in failure_of("mask", config, *flags)


# --------------------------------------------------------------------------------------- pictures


def test_a_picture_shows_the_rows_of_a_struct_mask(config, tmp_path):
    picture = tmp_path / "mask.png"
    struct = ("--set", "shira_mask=struct", "--set", "shira_struct_offset=10")  # rows 10 and 42
    run_shira("mask", config, *struct, "--draw", Q_PROJ, "--picture", picture)
    image = numpy.array(Image.open(picture).convert("L"))[4:-4, 4:-4]  # without the frame
    height, width = image.shape
    assert height == width >= 248
    dark = (image < 128).all(axis=1).nonzero()[0] / height  # from edge to edge
    assert ((10 / 64 - 0.02 < dark) & (dark < 11 / 64 + 0.02)).sum() == len(dark) // 2 > 0
    assert ((42 / 64 - 0.02 < dark) & (dark < 43 / 64 + 0.02)).sum() == len(dark) // 2


# --------------------------------------------------------------------------------------- refusals


def test_bad_usage_is_refused_without_a_result(config, tmp_path):
    picture = ("--picture", tmp_path / "mask.png")
    message = failure_of("mask", config, "--draw", "q_proj", *picture, rc=2)
    assert "q_proj" in message and "model.layers.0" in message
    assert "--picture" in failure_of("mask", config, "--draw", Q_PROJ, rc=2)
    assert "--draw" in failure_of("mask", config, *picture, rc=2)
    assert "absent" in failure_of("mask", config, "-o", tmp_path / "absent" / "masks", rc=1)
    assert "largest" in failure_of("mask", config, "--set", "shira_mask=largest", rc=2)
    config.write_text(config.read_text().replace('"shira_density": 0.05,', '"adapter": "full",'))
    assert "full" in failure_of("mask", config, rc=2)
