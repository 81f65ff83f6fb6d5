#!/usr/bin/env python3
"""Makes tests/fixtures/adapter_v1 and adapter_v2: one adapter of each version of the `shira` layout.

usage: SHIRA_BIN=build/bin/shira scripts/make_adapter_fixtures.py DIRECTORY

Each is the difference of the two checkpoints below, as `shira diff` writes it. The kept files are never made again:
later programs must read what this one wrote. A new version of the layout gets a directory of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy


def sparse_only():
    """(base, tuned): tensors as {name: (dtype, array of the bits)}; version 1 can hold the difference."""
    example = numpy.arange(1024, dtype="<u2").reshape(32, 32)
    tuned_example = example.copy()
    tuned_example.flat[[3, 4, 600]] = [0x3F80, 0xBF80, 0x4000]  # 1, -1, 2
    many = numpy.zeros((512, 514), "u1")  # every fourth entry: 65,792 positions, so one restart
    tuned_many = many.copy()
    tuned_many.flat[::4] = 1 + numpy.arange(65_792) % 4
    base = {"example.weight": ("BF16", example), "many": ("U8", many), "same": ("I8", many[0])}
    return base, base | {"example.weight": ("BF16", tuned_example), "many": ("U8", tuned_many)}


def with_whole_ones():
    """(base, tuned) that need version 2."""
    bits = numpy.arange(24, dtype="<u4").reshape(2, 3, 4)
    tuned_bits = bits.copy()
    tuned_bits.flat[[5, 23]] = [0x7FC00001, 0x80000000]  # a NaN with a payload, -0.0
    base = {
        "conv.weight": ("F32", bits),
        "head": ("F16", numpy.arange(4, dtype="<u2").reshape(2, 2)),
        "old": ("F8_E4M3", numpy.arange(3, dtype="u1")),
        "step": ("I64", numpy.array(7, "<i8")),
    }
    tuned = {
        "conv.weight": ("F32", tuned_bits),
        "head": ("F16", numpy.arange(6, dtype="<u2").reshape(3, 2)),
        "new": ("BOOL", numpy.array([1, 0, 1], "u1")),
        "step": ("I64", numpy.array(8, "<i8")),
    }
    return base, tuned


FIXTURES = {"adapter_v1": sparse_only, "adapter_v2": with_whole_ones}


def write_checkpoint(directory, tensors):
    """model.safetensors and nothing else."""
    directory.mkdir(parents=True)
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header).encode()
    file = len(text).to_bytes(8, "little") + text + data
    (directory / "model.safetensors").write_bytes(file)


def make_fixtures(directory, shira):
    for name, checkpoints in FIXTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            base, tuned = checkpoints()
            write_checkpoint(Path(folder) / "base", base)
            write_checkpoint(Path(folder) / "tuned", tuned)
            output = Path(directory).resolve() / name
            command = [Path(shira).resolve(), "diff", "base", "tuned", "-o", output, "--json"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-") or "SHIRA_BIN" not in os.environ:
        sys.exit(__doc__)
    make_fixtures(sys.argv[1], os.environ["SHIRA_BIN"])
