"""libshira_switch from Python's ctypes (examples/shira_switch.py) on numpy arrays: the bytes that `shira merge` writes,
the base's own after reverting, whole switches under readers, and files and bases that must be refused."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading

import numpy
import pytest
from conftest import BUILD_DIR, SOURCE_DIR, checkpoint
from test_adapters import DAMAGES, HEADER_DAMAGES, NAME, rewrite
from train_helpers import merge, read_adapter, read_weights, train_on_text

sys.path.insert(0, str(SOURCE_DIR / "examples"))
from shira_switch import Library, SwitchError
from shira_switch import read_weights as writable_weights

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("SHIRA_SANITIZE")),
    reason="Python is not built for sanitizers; capi.switch is the C program that is",
)

LIBRARY = BUILD_DIR / "lib" / "libshira_switch.so"
BAD_FILE, MISFIT, WRONG_STATE = 2, 3, 4


@pytest.fixture(scope="module")
def library():
    return Library(LIBRARY)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function: the directory of an adapter for a dtype and a mask, trained once."""
    made = {}

    def adapter(dtype="float32", mask="wm"):
        if (dtype, mask) not in made:
            directory = tmp_path_factory.mktemp(f"{dtype}-{mask}")
            made[dtype, mask] = train_on_text(directory, dtype, mask)
        return made[dtype, mask]

    return adapter


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the F32 adapter, to be damaged."""
    return shutil.copytree(
        trained(), tmp_path / "adapter", ignore=shutil.ignore_patterns("checkpoint-*")
    )


def weights_of(dtype="float32"):
    return writable_weights(checkpoint("llama2", dtype) / "model.safetensors")


def bytes_of(weights):
    return {name: array.tobytes() for name, (_, array) in weights.items()}


def file_bytes(directory):
    return {name: tensor.data for name, tensor in read_weights(directory).items()}


def differing(weights, expected):
    assert weights.keys() == expected.keys()
    return [name for name, (_, array) in weights.items() if array.tobytes() != expected[name]]


def error_of(status, function, *arguments, **options):
    """The message of a call that must be refused."""
    with pytest.raises(SwitchError) as error:
        function(*arguments, **options)
    assert error.value.status == status, error.value
    return str(error.value)


# --------------------------------------------------------------------------------------- exactness

COMBINATIONS = {
    "one": [("wm", 1.0)],
    "half": [("wm", 0.5)],
    "negative": [("rand", -1.0)],
    "nothing": [("wm", 0.0)],
    "two": [("wm", 1.0), ("rand", 0.25)],
    "three": [("wm", 0.3), ("rand", 0.7), ("struct", 1.0)],
}


def resolved(library, base, adapters, combination, **options):
    return base.resolve(
        *((library.adapter(adapters(mask)), scale) for mask, scale in COMBINATIONS[combination]),
        **options,
    )


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_merge_writes_and_back(library, trained, tmp_path, dtype, combination):
    """A float16 base takes the adapters of the float32 one, whose checksums it cannot confirm."""

    def adapters(mask):
        return trained("float32" if dtype == "float16" else dtype, mask)

    parts = [f"{adapters(mask)}@{scale}" for mask, scale in COMBINATIONS[combination]]
    merged = file_bytes(merge(checkpoint("llama2", dtype), tmp_path / "merged", *parts))
    weights = weights_of(dtype)
    before = bytes_of(weights)
    base = library.base(weights)
    patch = resolved(library, base, adapters, combination)
    assert patch.unchecked == (14 * len(parts) if dtype == "float16" else 0)
    base.apply(patch)
    assert differing(weights, merged) == []
    assert len(differing(weights, before)) == (0 if combination == "nothing" else 14)
    base.revert()
    assert differing(weights, before) == []


def test_deltas_are_added_as_peft_merges(library, copy):
    """round(fp32(W) + fp32(scale) * fp32(v)) on a BF16 base; nothing else is rounded."""
    rewrite(copy, lambda metadata, tensors: metadata.update(value_kind="deltas"))
    weights = weights_of("bfloat16")
    expected = bytes_of(weights)
    for name, (indices, values) in read_adapter(copy).items():
        bits = weights[name][1].ravel().copy()
        wide = (bits[indices].astype("<u4") << 16).view("<f4")
        total = (wide + numpy.float32(0.3) * values.array()).view("<u4")
        bits[indices] = (total + 0x7FFF + (total >> 16 & 1)) >> 16  # to nearest, ties to even
        expected[name] = bits.tobytes()
    base = library.base(weights)
    base.apply(base.resolve((library.adapter(copy), 0.3)))
    assert differing(weights, expected) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_thousand_switches_change_no_bit(library, trained, dtype):
    """Overlapping patches in random order, some of them resolved anew while another is applied."""

    def adapters(mask):
        return trained(dtype, mask)

    weights = weights_of(dtype)
    before = bytes_of(weights)
    base = library.base(weights)
    patches, expected = {}, {None: before}
    for combination in COMBINATIONS:
        patches[combination] = resolved(library, base, adapters, combination)
        base.switch_to(patches[combination])
        expected[combination] = bytes_of(weights)
        base.revert()
        assert differing(weights, before) == []
    chance = random.Random(dtype)
    for _ in range(1000):
        now = chance.choice([None, *COMBINATIONS])
        if chance.random() < 0.05 and now is not None:
            patches[now] = resolved(library, base, adapters, now)
        base.revert() if now is None else base.switch_to(patches[now])
        assert differing(weights, expected[now]) == [], now
    base.close()
    assert differing(weights, before) == [], "freeing a base reverts it"


# ----------------------------------------------------------------------------------------- threads


def test_readers_under_leases_see_whole_patches(library, trained):
    """Three threads that read all weights under leases, back to back; switches happen all the same."""
    weights = weights_of()

    def digest():
        return hashlib.sha256(b"".join(array.tobytes() for _, array in weights.values())).digest()

    base = library.base(weights)
    patches = [base.resolve(library.adapter(trained(mask=mask))) for mask in ("wm", "rand")]
    known = []
    for patch in patches:
        base.switch_to(patch)
        known.append(digest())
    is_over = threading.Event()
    seen = [[], [], []]

    def read(digests):
        while not is_over.is_set():
            with base.lease():
                digests.append(digest())

    readers = [threading.Thread(target=read, args=(digests,)) for digests in seen]
    for reader in readers:
        reader.start()
    for i in range(100):
        base.switch_to(patches[i % 2])
    is_over.set()
    for reader in readers:
        reader.join()
    assert all(seen), "a reader that never got a lease"
    assert {digest for digests in seen for digest in digests} <= set(known)


def test_switching_under_ones_own_lease_is_refused(library, trained):
    weights = weights_of()
    base = library.base(weights)
    patch = base.resolve(library.adapter(trained()))
    with base.lease():
        assert "holds a lease" in error_of(WRONG_STATE, base.switch_to, patch)
    base.switch_to(patch)
    assert "already applied" in error_of(WRONG_STATE, base.apply, patch)


# -------------------------------------------------------------------------------- what is refused


def test_another_base_is_refused_and_nothing_changes(library, trained):
    weights = weights_of()
    name = "model.layers.1.mlp.up_proj.weight"
    indices, values = read_adapter(trained())[name]
    weights[name][1].ravel()[indices[3]] += 1
    before = bytes_of(weights)
    base = library.base(weights)
    adapter = library.adapter(trained())
    error = error_of(MISFIT, base.resolve, adapter)
    assert name in error and "layers.0" not in error, "only the tensor that differs"
    assert differing(weights, before) == []
    base.apply(base.resolve(adapter, force=True))
    assert (weights[name][1].ravel()[indices] == values.array()).all()
    base.revert()
    assert differing(weights, before) == []


def test_all_that_does_not_fit_is_in_one_error(library, trained):
    weights = weights_of()
    del weights["model.layers.0.mlp.up_proj.weight"]
    dtype, array = weights["model.layers.1.mlp.up_proj.weight"]
    weights["model.layers.1.mlp.up_proj.weight"] = (dtype, array.reshape(array.shape[::-1]))
    base = library.base(weights)
    error = error_of(MISFIT, base.resolve, library.adapter(trained()), force=True)
    assert "model.layers.0.mlp.up_proj.weight: the model has no such parameter." in error
    assert "layers.1.mlp.up_proj.weight: the base has shape [64, 112], the adapter [112, 64]" in error


@pytest.mark.parametrize("keep", [0, 4, 8, 300, 0.5, -1])
def test_truncated_file(library, copy, keep):
    file = copy / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    assert str(file) in error_of(BAD_FILE, library.adapter, copy)


@pytest.mark.parametrize("damage", [*DAMAGES, *HEADER_DAMAGES])
def test_damaged_file(library, copy, damage):
    rewrite(copy, (DAMAGES | HEADER_DAMAGES)[damage])
    error = error_of(BAD_FILE, library.adapter, copy)
    assert str(copy) in error
    assert NAME in error or damage in ("a tensor more", "record of nothing") or damage in HEADER_DAMAGES


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_value_that_is_no_number(library, copy, value):
    def edit(metadata, tensors):
        tensors[NAME + ".values"][2][4:8] = numpy.float32(value).tobytes()

    rewrite(copy, edit)
    error = error_of(BAD_FILE, library.adapter, copy)
    assert str(copy) in error and f"tensor {NAME}: it has a value that is NaN or infinite" in error


def test_file_that_changes_after_loading_is_not_read_again(library, trained, copy):
    weights = weights_of()
    base = library.base(weights)
    expected = base.resolve(library.adapter(trained()))
    base.switch_to(expected)
    patched = bytes_of(weights)
    adapter = library.adapter(copy)
    file = copy / "adapter_model.safetensors"
    file.write_bytes(bytes(file.stat().st_size))
    base.switch_to(base.resolve(adapter))
    assert differing(weights, patched) == []


def test_file_without_a_checksum_is_counted(library, copy):
    def edit(metadata, tensors):
        record = json.loads(metadata["target." + NAME])
        del record["base_xxh3_64"]
        metadata["target." + NAME] = json.dumps(record)

    rewrite(copy, edit)
    base = library.base(weights_of())
    assert base.resolve(library.adapter(copy)).unchecked == 1


# --------------------------------------------------------------------------------- the library file


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_library_needs_no_libtorch_and_shows_its_functions_only(tmp_path):
    needed = re.findall(r"NEEDED.*\[(.*?)\.so", output_of("readelf", "-d", str(LIBRARY)))
    assert set(needed) <= {"libstdc++", "libm", "libgomp", "libgcc_s", "libc", "ld-linux-x86-64"}
    header = (SOURCE_DIR / "include" / "shira_switch.h").read_text()
    declared = re.findall(r"SHIRA_SWITCH_API [^;]*?(shira_switch_\w+)\(", header)
    shown = output_of("nm", "-D", "--defined-only", str(LIBRARY)).split()[2::3]
    assert len(declared) == 16 and sorted(shown) == sorted(declared)


def test_library_is_small(tmp_path):
    """docs/guide_switching.md says so; `cmake --install --strip` makes it."""
    stripped = tmp_path / "stripped.so"
    output_of("strip", "-o", str(stripped), str(LIBRARY))
    print(f"libshira_switch: {stripped.stat().st_size} bytes")
    assert stripped.stat().st_size < 600_000


def test_code_of_the_guide(tmp_path):
    guide = (SOURCE_DIR / "docs" / "guide_switching.md").read_text()
    (code,) = re.findall(r"^```c\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "guide.c").write_text(code)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    output_of("cc", *flags, "-I", str(SOURCE_DIR / "include"), str(tmp_path / "guide.c"))


def test_example_program(trained):
    """examples/shira_switch.py as a user runs it."""
    program = SOURCE_DIR / "examples" / "shira_switch.py"
    masks = [trained(mask=mask) for mask in ("wm", "rand")]
    output = output_of(sys.executable, program, LIBRARY, checkpoint("llama2"), *masks)
    assert re.search(rf"switched to {masks[1]}: \d+ weights in \d+ microseconds", output)
    assert output.endswith("every bit of the base is back: yes\n")
