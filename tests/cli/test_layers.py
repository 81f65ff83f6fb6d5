"""scripts/check_layers.py: a clean tree passes, each kind of violation is named with its line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE_DIR = Path(os.environ.get("SHIRA_SOURCE_DIR", Path(__file__).parents[2]))

CLEAN = {
    "include/shira/shira.h": "#include <shira/tasks/job.h>\n",
    "include/shira/base/error.h": "#include <stdint.h>\n#include <string>\n",
    "include/shira/io/file.h": "#include <shira/base/error.h>\n#include <vector>\n",
    "include/shira/sparse/mask.h": "#include <shira/io/file.h>\n#include <torch/types.h>\n",
    "include/shira/tasks/job.h": "#include <shira/sparse/mask.h>\n",
    "src/io/json.h": "#include <nlohmann/json.hpp>\n",
    "src/io/file.cpp": '#include "json.h"\n#include "io/json.h"\n#include <shira/io/file.h>\n',
    "src/sparse/mask.cpp": '#include "io/json.h"\n#include <shira/sparse/mask.h>\n',
    "tools/main.cpp": "#include <shira/shira.h>\n#include <CLI/CLI.hpp>\n",
}


def check(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return subprocess.run(
        [sys.executable, SOURCE_DIR / "scripts/check_layers.py", root], capture_output=True, text=True
    )


def test_clean_tree_passes(tmp_path):
    result = check(tmp_path, CLEAN)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "file, text, expected",
    [
        ("src/io/bad.cpp", "// x\n#include <shira/sparse/mask.h>\n", "src/io/bad.cpp:2: layer io"),
        ("src/config/bad.cpp", "#include <shira/io/file.h>\n", "src/config/bad.cpp:1: layer config"),
        ("src/config/bad.cpp", '#include "io/json.h"\n', "src/config/bad.cpp:1: layer config"),
        ("src/config/bad.cpp", '#include "../io/json.h"\n', "src/config/bad.cpp:1: layer config"),
        ("src/kernels/bad.cpp", "#  include <ATen/Parallel.h>\n", "below LibTorch"),
        ("include/shira/io/bad.h", "#include <c10/util/Half.h>\n", "include/shira/io/bad.h:1: layer io"),
        ("include/shira/io/bad.h", "#include <yaml-cpp/yaml.h>\n", "only the standard library"),
        ("include/shira/io/bad.h", '#include "json.h"\n', "only the standard library"),
        ("src/nn/bad.cpp", "#include <shira/shira.h>\n", "the header for applications"),
        ("src/other/bad.cpp", "#include <vector>\n", "unknown layer other"),
    ],
)
def test_violation_is_named(tmp_path, file, text, expected):
    result = check(tmp_path, CLEAN | {file: text})
    assert result.returncode == 1
    assert expected in result.stdout
    assert len(result.stdout.splitlines()) == 1
