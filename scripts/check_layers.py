#!/usr/bin/env python3
"""Checks who includes whom: the layers of the design, as #include lines.

- A file includes its own folder and lower lines of LINES only; folders on one line are strangers.
- Folders below LibTorch include none of its headers.
- Public headers include the standard library, LibTorch and other public headers only.

usage: check_layers.py [ROOT]; prints file:line: reason and exits with 1 when something is wrong.
"""

import re
import sys
from pathlib import Path

LINES = [
    ["base"],
    ["config", "io", "kernels"],
    ["sparse", "capi", "text"],
    ["nn"],
    ["methods", "models", "data"],
    ["train"],
    ["tasks"],
    ["tools"],
]
LEVEL = {folder: level for level, line in enumerate(LINES) for folder in line}
WITHOUT_TORCH = {"base", "config", "io", "kernels", "capi", "text"}
TORCH_HEADER = re.compile(r"(torch|ATen|c10|caffe2)/")
# <vector>, and the C headers of the standard under their old names
STANDARD_HEADER = re.compile(r"[a-z0-9_]+|(assert|errno|float|limits|math|stddef|stdint|string)\.h")
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def own_folder(path):
    """The layer of a file given relative to the root; None for the umbrella header."""
    parts = path.parts
    if parts[0] == "tools":
        return "tools"
    inside = parts[2:] if parts[0] == "include" else parts[1:]
    return inside[0] if len(inside) > 1 else None


def included_folder(root, path, header):
    """The layer a header of this project lies in; None for headers of others."""
    parts = Path(header).parts
    if parts[0] == "shira":
        return parts[1] if len(parts) > 2 else "umbrella"
    if (root / path.parent / header).exists():
        return own_folder((root / path.parent / header).resolve().relative_to(root))
    return parts[0] if (root / "src" / header).exists() else None


def complaint(root, path, quote, header):
    """What is wrong with `path` including `header`, or None."""
    folder = own_folder(path)
    public = path.parts[0] == "include"
    target = included_folder(root, path, header)
    if public and not (
        header.startswith("shira/")
        or (quote == "<" and STANDARD_HEADER.fullmatch(header))
        or TORCH_HEADER.match(header)
    ):
        return f"a public header includes {header}: only the standard library, LibTorch and <shira/...>"
    if folder is None or folder == "tools":
        return None
    if folder not in LEVEL:
        return f"unknown layer {folder}: add it to scripts/check_layers.py and to the design"
    if folder in WITHOUT_TORCH and TORCH_HEADER.match(header):
        return f"layer {folder} is below LibTorch but includes {header}"
    if target == "umbrella":
        return f"layer {folder} includes {header}, the header for applications"
    if target is not None and target != folder and LEVEL.get(target, 99) >= LEVEL[folder]:
        return f"layer {folder} includes {header}, which is not below it"
    return None


def check(root):
    complaints = []
    files = [f for top in ("include", "src", "tools") for f in sorted((root / top).rglob("*"))]
    for file in files:
        if file.suffix not in (".h", ".cpp"):
            continue
        path = file.relative_to(root)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            reason = match and complaint(root, path, *match.groups())
            if reason:
                complaints.append(f"{path}:{number}: {reason}")
    return complaints


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    complaints = check(root)
    print("\n".join(complaints) if complaints else "layers: clean")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
