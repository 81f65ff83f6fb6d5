"""cmake/FindLibTorch.cmake against made-up LibTorch directories, a CUDA build without a CUDA toolkit among them."""

import os
import subprocess
from pathlib import Path

import pytest

SOURCE_DIR = Path(os.environ.get("SHIRA_SOURCE_DIR", Path(__file__).parents[2]))

PROJECT = f"""
cmake_minimum_required(VERSION 3.24)
project(probe LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH "{SOURCE_DIR}/cmake")
find_package(LibTorch REQUIRED)
message(STATUS "prefix=${{LibTorch_PREFIX}} cuda=${{LibTorch_CUDA}}")
add_executable(probe main.cpp)
target_link_libraries(probe PRIVATE LibTorch::LibTorch)
"""


def make_library(directory, name, code="", *needed):
    source = directory / f"{name}.cpp"
    source.write_text(code)
    options = ["-shared", "-fPIC", f"-Wl,-soname,lib{name}.so"]
    subprocess.run(
        ["c++", *options, source, *needed, "-o", directory / f"lib{name}.so"], check=True
    )
    return directory / f"lib{name}.so"


@pytest.fixture
def libtorch(tmp_path):
    """A directory that looks like a CPU wheel's; its own package config must not be run."""
    root = tmp_path / "torch"
    for directory in ("ATen", "torch/headeronly", "torch/csrc/api/include"):
        (root / "include" / directory).mkdir(parents=True)
    (root / "share/cmake/Torch").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "include/ATen/ATen.h").write_text("")
    set_version(root, 2, 13, 0)
    (root / "share/cmake/Torch/TorchConfig.cmake").write_text("message(FATAL_ERROR wheel's config)")
    for name in ("torch", "torch_cpu", "c10"):
        (root / "lib" / f"lib{name}.so").write_text("")
    return root


def set_version(root, *version):
    lines = [f"#define TORCH_VERSION_{n} {v}\n" for n, v in zip(("MAJOR", "MINOR", "PATCH"), version)]
    (root / "include/torch/headeronly/version.h").write_text("".join(lines))


def configure(tmp_path, *options):
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    (project / "CMakeLists.txt").write_text(PROJECT)
    (project / "main.cpp").write_text("int main() {}\n")
    command = ["cmake", "-G", "Ninja", "-S", project, "-B", project / "build", *options]
    places = ("LibTorch_ROOT", "Torch_ROOT", "Torch_DIR", "CMAKE_PREFIX_PATH")
    environment = {name: value for name, value in os.environ.items() if name not in places}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    "option",
    [
        "-DTorch_DIR={}/share/cmake/Torch",
        "-DTorch_DIR={}",
        "-DCMAKE_PREFIX_PATH=/usr;{}",
        "-DCMAKE_PREFIX_PATH={}/share/cmake",
    ],
)
def test_places(tmp_path, libtorch, option):
    result = configure(tmp_path, option.format(libtorch))
    assert result.returncode == 0, result.stderr
    assert f"prefix={libtorch} cuda=FALSE" in result.stdout


def test_cuda_build_links_without_a_toolkit(tmp_path, libtorch):
    cudart = make_library(tmp_path, "cudart", "int cuda_call() { return 0; }")
    make_library(
        libtorch / "lib", "torch_cuda", "int cuda_call(); int x() { return cuda_call(); }", cudart
    )
    for name in ("torch", "torch_cpu", "c10", "c10_cuda"):
        make_library(libtorch / "lib", name)
    cudart.unlink()

    result = configure(tmp_path, f"-DTorch_DIR={libtorch}", "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed")
    assert result.returncode == 0, result.stderr
    assert "cuda=TRUE" in result.stdout
    build = tmp_path / "project/build"
    subprocess.run(["cmake", "--build", build], check=True)
    needed = subprocess.run(["readelf", "-d", build / "probe"], capture_output=True, text=True).stdout
    assert "libtorch_cuda.so" in needed  # registers its kernels when loaded
    # std::filesystem is the system's, not the one that libtorch_cpu.so exports
    assert needed.index("libstdc++.so") < needed.index("libtorch")


def test_old_version_is_refused(tmp_path, libtorch):
    set_version(libtorch, 2, 1, 2)
    result = configure(tmp_path, f"-DTorch_DIR={libtorch}")
    assert result.returncode != 0
    assert "LibTorch 2.1.2" in result.stderr and "is too old" in result.stderr


def test_wrong_place_is_named(tmp_path):
    result = configure(tmp_path, "-DTorch_DIR=/nonsense")
    assert result.returncode != 0
    assert "Torch_DIR is /nonsense, which holds no LibTorch" in result.stderr
