#!/usr/bin/env python3
"""Reads an adapter of the `shira` layout with numpy alone: docs/adapter_format.md as a program.

usage: scripts/read_adapter.py ADAPTER_DIRECTORY
"""

import json
import sys
from pathlib import Path

import numpy

BITS = {"BF16": "<u2", "BOOL": "?"}  # numpy has no such floats, nor any F8


def read_adapter(directory):
    """{metadata, sparse: {parameter: {shape, nnz, positions, values, ...}}, whole, removed, added}"""
    data = (Path(directory) / "adapter_model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    metadata = header.pop("__metadata__")
    assert metadata["format"] == "shira" and metadata["format_version"] in ("1", "2"), metadata
    tensors = {}
    for name, entry in header.items():
        first, last = (begin + offset for offset in entry["data_offsets"])
        dtype = "U8" if entry["dtype"].startswith("F8") else entry["dtype"]
        kind = BITS.get(dtype) or f"<{dtype[0].lower()}{int(dtype[1:]) // 8}"
        tensors[name] = numpy.frombuffer(data[first:last], kind).reshape(entry["shape"])
    adapter = {"metadata": metadata, "sparse": {}}
    for key in metadata:
        if key.startswith("target."):
            target = json.loads(metadata[key])
            gaps, target["values"] = (tensors[key[7:] + suffix] for suffix in (".gaps", ".values"))
            target["positions"] = numpy.cumsum(gaps, dtype="i8")[gaps != 255]
            adapter["sparse"][key[7:]] = target
    adapter["whole"] = {name[:-6]: tensors[name] for name in tensors if name.endswith(".whole")}
    return adapter | {key: json.loads(metadata.get(key, "[]")) for key in ("removed", "added")}


if __name__ == "__main__":
    for part, content in read_adapter(sys.argv[1]).items():
        print(part, content)
