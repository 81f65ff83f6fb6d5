"""The `shira` layout: the page that documents it, its reader in Python, and the files kept of each version."""

import json
import re
import subprocess
import sys

import numpy
import pytest
import train_helpers
from conftest import SHIRA_BIN, SOURCE_DIR, checkpoint, failure_of, run_json, run_shira
from make_adapter_fixtures import FIXTURES, make_fixtures, write_checkpoint
from read_adapter import read_adapter
from train_helpers import merge, read_safetensors, read_weights, train, write_text

KEPT = SOURCE_DIR / "tests" / "fixtures"
PAGE = (SOURCE_DIR / "docs" / "adapter_format.md").read_text()


@pytest.fixture(params=FIXTURES)
def kept(request, tmp_path):
    """(adapter kept in the repository, directory of its base, the tuned tensors)"""
    base, tuned = FIXTURES[request.param]()
    write_checkpoint(tmp_path / "base", base)
    return KEPT / request.param, tmp_path / "base", tuned


# -------------------------------------------------------------------------------------- kept files


def test_kept_files_are_read(kept, tmp_path):
    adapter, base, tuned = kept
    merged = read_weights(merge(base, tmp_path / "merged", adapter))
    assert merged.keys() == tuned.keys()
    for name, (dtype, array) in tuned.items():
        assert merged[name].dtype == dtype and merged[name].shape == list(array.shape)
        assert merged[name].data == array.tobytes(), name
    assert run_json("inspect", adapter)["kind"] == "adapter"


def test_kept_files_know_their_base(kept, tmp_path):
    adapter, base, _ = kept
    content = bytearray((base / "model.safetensors").read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    content[begin:] = bytes(byte ^ 1 for byte in content[begin:])
    (base / "model.safetensors").write_bytes(content)
    flags = ("--base_model", base, "--adapter", adapter, "-o", tmp_path / "merged")
    assert "differ" in failure_of("merge", *flags, rc=1)
    assert not (tmp_path / "merged").exists()


def test_the_reader_reads_kept_files(kept):
    """Base and adapter make the tuned tensors, in numpy alone."""
    adapter, base, tuned = kept
    read = read_adapter(adapter)
    tensors = read_weights(base)
    result = {name: tensors[name].data for name in tensors if name not in read["removed"]}
    assert read["added"] == sorted(tuned.keys() - tensors.keys())
    for name, target in read["sparse"].items():
        values = target["values"]
        bits = numpy.frombuffer(result[name], f"u{values.itemsize}").copy()
        bits[target["positions"]] = values.view(bits.dtype)
        assert target["shape"] == tensors[name].shape
        result[name] = bits.tobytes()
    for name, array in read["whole"].items():
        assert array.shape == tuned[name][1].shape
        result[name] = array.tobytes()
    assert result == {name: array.tobytes() for name, (_, array) in tuned.items()}


def test_files_are_written_as_they_were(tmp_path):
    """Byte for byte; when a new version of the layout comes, this becomes a test of the newest files alone."""
    make_fixtures(tmp_path, SHIRA_BIN)
    for name in FIXTURES:
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            assert (tmp_path / name / file).read_bytes() == (KEPT / name / file).read_bytes()


def test_versions_of_the_kept_files():
    for version in ("1", "2"):
        metadata, _ = read_safetensors(KEPT / f"adapter_v{version}" / "adapter_model.safetensors")
        assert metadata["format_version"] == version
    assert len(read_adapter(KEPT / "adapter_v1")["sparse"]["many"]["positions"]) > 65_536


# ---------------------------------------------------------------------------------------- the page


def test_the_page_shows_the_bytes_of_the_kept_file():
    header, listing = re.search(r"```json\n(.*?)```\n\n```\n(.*?)```", PAGE, re.S).groups()
    file = (KEPT / "adapter_v2" / "adapter_model.safetensors").read_bytes()
    assert len(file) == 737 and file[:8] == bytes.fromhex("b802000000000000")
    text = re.sub(r"\n *", "", header).encode()
    assert file[8:704] == text + b" " * 23
    at = 704
    for line in listing.splitlines():
        offset, codes = re.match(r"(\d+)  ((?:[0-9a-f]{2} {1,2})+)", line).groups()
        assert int(offset) == at
        data = bytes.fromhex(codes)
        assert file[at : at + len(data)] == data, line
        at += len(data)
    assert at == len(file)


def test_the_page_shows_how_positions_are_coded():
    codes = re.search(r"^((?:[0-9a-f]{2} +)+) +3, \+ 1", PAGE, re.M).group(1)
    tensors = read_safetensors(KEPT / "adapter_v1" / "adapter_model.safetensors")[1]
    assert tensors["example.weight.gaps"].data == bytes.fromhex(codes)
    assert read_adapter(KEPT / "adapter_v1")["sparse"]["example.weight"]["positions"].tolist() == [
        3,
        4,
        600,
    ]


# -------------------------------------------------------------------------------------- the reader


def test_the_reader_agrees_on_a_trained_adapter(tmp_path):
    base = checkpoint("llama2", "bfloat16")
    train(tmp_path, base_model=str(base), datasets=write_text(tmp_path), shira_density=0.01)
    read = read_adapter(tmp_path / "out")
    expected = train_helpers.read_adapter(tmp_path / "out")
    assert read["sparse"].keys() == expected.keys()
    for name, (positions, values) in expected.items():
        assert read["sparse"][name]["positions"].tolist() == positions.tolist()
        assert read["sparse"][name]["values"].tobytes() == values.data
    assert not read["whole"] and not read["removed"] and not read["added"]


def test_the_reader_needs_numpy_alone_and_is_short():
    script = SOURCE_DIR / "scripts" / "read_adapter.py"
    assert len(script.read_text().splitlines()) <= 42
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import read_adapter; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(modules.stdout.split())
    assert "numpy" in loaded and not loaded & {"torch", "safetensors", "shira", "xxhash"}
    output = subprocess.run(
        [sys.executable, script, KEPT / "adapter_v2"], capture_output=True, check=True, text=True
    )
    assert "removed ['old']" in output.stdout


# ------------------------------------------------------------------------------------ hostile files


def rewritten(tmp_path, change):
    """adapter_v2 with another header: change(header)."""
    file = (KEPT / "adapter_v2" / "adapter_model.safetensors").read_bytes()
    header = json.loads(file[8:704])
    change(header)
    text = json.dumps(header).encode()
    directory = tmp_path / "changed"
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + file[704:]
    )
    config = (KEPT / "adapter_v2" / "adapter_config.json").read_text()
    (directory / "adapter_config.json").write_text(config)
    return directory


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"format_version": "3"}, ["format version 3", "reads 1 and 2"]),
        ({"format_version": "1"}, ["tensors"]),
        ({"added": '["absent"]'}, ["absent", "without being held whole"]),
        ({"added": '["new","new"]'}, ["new", "twice"]),
        ({"removed": '["new"]'}, ["new", "twice"]),
        ({"removed": '{"a":1}'}, ["removed", "list"]),
        ({"removed": "["}, ["damaged"]),
        ({"mask_type": "fused"}, ["conv.weight", "NaN"]),
        ({"target.conv.weight": '{"nnz":2,"shape":[2,3,3]}'}, ["conv.weight", "23", "18"]),
        ({"target.conv.weight": '{"nnz":3,"shape":[2,3,4]}'}, ["conv.weight", "nnz = 3"]),
        ({"target.step": '{"nnz":1,"shape":[1]}'}, ["step"]),
    ],
)
def test_damaged_records_are_refused(tmp_path, changes, words):
    adapter = rewritten(tmp_path, lambda header: header["__metadata__"].update(changes))
    error = failure_of("inspect", adapter, rc=1)
    assert error.count("error:") == 1 and str(adapter) in error
    assert [word for word in words if word not in error] == [], error


def test_the_untouched_copy_is_read(tmp_path):
    run_shira("inspect", rewritten(tmp_path, lambda header: None))
