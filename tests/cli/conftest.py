"""Fixtures of the command-line tests: tiny checkpoints, what transformers computes for them, and `run_shira`.

Whatever costs an import of transformers is made once and kept under $SHIRA_BUILD_DIR/fixtures/<key>, where the key
stands for this file, the generator scripts and the packages' versions. Test processes may run side by side.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE_DIR = Path(os.environ.get("SHIRA_SOURCE_DIR", Path(__file__).parents[2]))
BUILD_DIR = Path(os.environ.get("SHIRA_BUILD_DIR", SOURCE_DIR / "build"))
SHIRA_BIN = Path(os.environ.get("SHIRA_BIN", BUILD_DIR / "bin" / "shira"))
SHARED_DIR = Path(os.environ.get("SHIRA_SHARED", SOURCE_DIR.parent / "shared"))
TIMEOUT = 120  # seconds for one command; sanitizer builds are slow

sys.path.insert(0, str(SOURCE_DIR / "scripts"))

VARIANTS = [
    "llama1",
    "llama2",
    "llama3",
    "tied",
    "untied",
    "attention_bias",
    "mlp_bias",
    "head_dim",
    "rms_norm_eps",
    "spelling_old",
    "spelling_new",
    "rope_default",
    "rope_linear",
    "rope_dynamic",
    "rope_yarn",
    "mistral",
    "qwen2",
    "qwen2_sliding",
    "qwen3",
]

# ---------------------------------------------------------------------------------------- running


@dataclasses.dataclass
class Result:
    rc: int
    stdout: str
    stderr: str

    @property
    def json(self):
        """The one JSON object on stdout."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict), self.stdout
        return value


def run_script(script, *args):
    """Runs a Python script that calls SHIRA_BIN."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=800,
        env=os.environ | {"SHIRA_BIN": str(SHIRA_BIN)},
    )


def run_shira(*args, check=True, stdin=None, timeout=TIMEOUT, env=None):
    """Runs the program; whatever it is given, it must end by itself with one of its exit codes."""
    if not SHIRA_BIN.is_file():
        pytest.fail(f"{SHIRA_BIN} is missing: build first, or set SHIRA_BIN", pytrace=False)
    process = subprocess.run(
        [str(SHIRA_BIN), *map(str, args)],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL if stdin is None else None,
    )
    result = Result(
        process.returncode, process.stdout.decode("utf-8"), process.stderr.decode("utf-8")
    )
    command = "shira " + " ".join(map(str, args))[:400]
    for trace in (
        "terminate called",
        "AddressSanitizer",
        "runtime error:",
        "Exception raised from",
    ):
        assert trace not in result.stderr, f"{command}\n{result.stderr}"
    assert result.rc in (0, 1, 2), f"{command}: exit code {result.rc}\n{result.stderr}"
    if check:
        assert result.rc == 0, f"{command}: exit code {result.rc}\n{result.stderr}{result.stdout}"
    return result


def run_json(*args, **options):
    return run_shira(*args, "--json", **options).json


def failure_of(*args, rc=(1, 2), **options):
    """The error message of a command that must fail, cleanly and with nothing on stdout."""
    result = run_shira(*args, check=False, **options)
    assert result.rc in (
        rc if isinstance(rc, tuple) else (rc,)
    ), f"exit code {result.rc}\n{result.stderr}"
    assert result.stdout == ""
    assert result.stderr.strip(), "failed without a message"
    return result.stderr


# ------------------------------------------------------------------------------------- made once


def cache_key():
    digest = hashlib.sha256()
    for file in (
        Path(__file__),
        *(
            SOURCE_DIR / "scripts" / f"{name}.py"
            for name in ("make_tiny_llama", "make_reference_state")
        ),
    ):
        digest.update(file.read_bytes())
    for package in ("torch", "transformers", "sentencepiece", "safetensors"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made_once(name, make):
    """Path of the file or directory `name`, which `make(path)` writes unless an earlier test did."""
    root = BUILD_DIR / "fixtures" / cache_key()
    path = root / name
    if path.exists():
        return path
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f".{name}.lock"):
        if not path.exists():
            temporary = root / f".{name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
            make(temporary)
            temporary.rename(path)
    return path


def checkpoint(variant, dtype="float32", shards=1, tokenizer="llama2", add_eos_token=False):
    """A tiny checkpoint of scripts/make_tiny_llama.py; not to be written to."""
    name = f"{variant}-{dtype}-{shards}-{tokenizer}" + ("-eos" if add_eos_token else "")

    def make(path):
        from make_tiny_llama import make_tiny_llama

        make_tiny_llama(path, variant, dtype, shards, tokenizer, add_eos_token)

    return made_once(name, make)


def reference_model(directory):
    """transformers' model in F32; slow to import, so ask for it inside `made_once` only."""
    import transformers
    from make_reference_state import load_model

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return load_model(directory)


def reference_state(directory, **options):
    """The reference state of a checkpoint, made by scripts/make_reference_state.py."""

    def make(path):
        from make_reference_state import make_reference_state

        make_reference_state(directory, path, model=reference_model(directory), **options)

    return made_once(name_of(directory, options) + ".safetensors", make)


def reference_json(what, directory, compute, **options):
    """compute(model, **options), a JSON value that is computed once."""

    def make(path):
        path.write_text(json.dumps(compute(reference_model(directory), **options)))

    return json.loads(made_once(f"{what}-{name_of(directory, options)}.json", make).read_text())


def name_of(directory, options):
    digest = hashlib.sha256(
        f"{directory.resolve()} {sorted(options.items())}".encode()
    ).hexdigest()[:12]
    return f"{directory.name}-{digest}"


# --------------------------------------------------------------------------------------- fixtures


def shared_file(relative):
    """A file of the shared test data; the test is skipped where a checkout has none."""
    path = SHARED_DIR / relative
    if not path.exists():
        pytest.skip(f"needs {relative} of the shared data (SHIRA_SHARED, or ../shared)")
    return path


@pytest.fixture(scope="session")
def stories260k():
    return shared_file("data/llama/stories260K-hf")


@pytest.fixture
def copy_of(tmp_path):
    """A function that copies a checkpoint to where a test may damage it."""

    def copy(directory, name="copy"):
        target = tmp_path / name
        shutil.copytree(directory, target)
        return target

    return copy


def edit_json(path, **changes):
    """Rewrites keys of a JSON file; None removes one."""
    value = json.loads(path.read_text())
    for key, new in changes.items():
        if new is None:
            value.pop(key, None)
        else:
            value[key] = new
    path.write_text(json.dumps(value))


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory):
    """(variant, dtype) -> a tiny random diffusers pipeline, made once."""
    from make_tiny_pipeline import make_pipeline

    root = tmp_path_factory.mktemp("pipelines")

    @functools.cache
    def get(variant, dtype="float32"):
        directory = root / f"{variant}_{dtype}"
        make_pipeline(directory, variant, dtype)
        return directory

    return get


def weights_in(directory):
    """A pipeline's tensors, by component and name."""
    from safetensors.torch import load_file

    files = sorted(directory.glob("*/*.safetensors"))
    return {f"{file.parent.name}.{name}": t for file in files for name, t in load_file(file).items()}


def merged(base, out, *adapters):
    """The tensors of a pipeline that `shira merge` writes into `out`."""
    flags = [flag for adapter in adapters for flag in ("--adapter", adapter)]
    run_shira("merge", "--base_model", base, *flags, "-o", out)
    return weights_in(out)


def write_altered(source, target, /, **changes):
    """Writes a safetensors file with some tensors changed (None: left out), by value or by function. The path."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(source)
    for name, change in changes.items():
        value = change(tensors[name].copy()) if callable(change) else change
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, target)
    return target
