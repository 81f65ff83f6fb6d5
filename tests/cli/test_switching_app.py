"""examples/switching_app, built against the installed package (install.switching_app in tests/CMakeLists.txt): each
prompt is answered by the adapter that it names, with the text of `shira generate`."""

import re
import shutil
import subprocess

import pytest
from conftest import BUILD_DIR, SOURCE_DIR, TIMEOUT, run_json
from train_helpers import train, write_text

APP = BUILD_DIR / "consumers" / "switching_app" / "switching_app"
BASE = SOURCE_DIR / "assets" / "tiny-llama"
PROMPT = "Once upon a"


def run_app(*args, prompts="", rc=0):
    """(lines of standard output, standard error)"""
    if not APP.is_file():
        pytest.fail(f"{APP} is missing: ctest -R switching_app builds it", pytrace=False)
    result = subprocess.run(
        [APP, *map(str, args)], input=prompts, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert result.returncode == rc, result.stderr
    return result.stdout.splitlines(), result.stderr


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two that change the text: shouting, and counting."""
    made = {}
    for name, text in {"upper": "ONCE UPON A TIME. ", "count": "one two three four five. "}.items():
        directory = tmp_path_factory.mktemp(name)
        train(
            directory,
            base_model=str(BASE),
            datasets=write_text(directory, text * 40),
            shira_density=0.02,
            learning_rate=2e-2,
            max_steps=8,
        )
        made[name] = directory / "out"
    return made


def named(adapters):
    return [f"{name}={directory}" for name, directory in adapters.items()]


def expected_line(prompt, *adapter):
    """What `shira generate` says with the application's settings."""
    flags = ["--adapter", *adapter] if adapter else []
    answer = run_json(
        "generate",
        *("--base_model", BASE, "--prompt", prompt, *flags),
        *("--max_new_tokens", 60, "--temperature", 0.6, "--seed", 1, "--stop", "\n"),
    )
    return prompt + answer["text"]


def test_each_prompt_is_answered_by_its_adapter(adapters):
    base, upper, count = expected_line(PROMPT), *(
        expected_line(PROMPT, adapters[name]) for name in ("upper", "count")
    )
    assert len({base, upper, count}) == 3
    names = ["upper", "count", "upper", "base", "count"]
    prompts = "".join(f"{name}: {PROMPT}\n" for name in names) + f"{PROMPT}\r\ncount:{PROMPT}"
    lines, stderr = run_app(BASE, *named(adapters), prompts=prompts)
    assert lines == [upper, count, upper, base, count, base, count]
    switches = re.findall(r"\[(\w+) -> (\w+) in [\d.e-]+ ms\]", stderr)
    assert switches == [
        ("base", "upper"),
        ("upper", "count"),
        ("count", "upper"),
        ("upper", "base"),
        ("base", "count"),
        ("count", "base"),
        ("base", "count"),
    ]


def test_no_switch_where_the_adapter_stays(adapters):
    lines, stderr = run_app(BASE, *named(adapters), prompts=f"upper: {PROMPT}\n" * 3)
    assert lines == [expected_line(PROMPT, adapters["upper"])] * 3
    assert stderr.count("->") == 1


def test_unknown_name_is_an_error_and_the_next_prompt_is_served(adapters):
    prompts = f"upper: {PROMPT}\nshout: {PROMPT}\nupper: {PROMPT}\n"
    lines, stderr = run_app(BASE, *named(adapters), prompts=prompts)
    assert lines == [expected_line(PROMPT, adapters["upper"])] * 2
    assert "error: no adapter is called shout; expected one of: base, count, upper" in stderr
    assert stderr.count("->") == 1, "the weights stayed as they were"


def test_colon_in_a_prompt_is_no_prefix(adapters):
    prompt = "Tom said: hello"
    assert run_app(BASE, *named(adapters), prompts=prompt)[0] == [expected_line(prompt)]


def test_no_prompts(adapters):
    assert run_app(BASE, *named(adapters))[0] == []


def test_adapter_that_does_not_load_is_an_error_at_the_start(adapters, tmp_path):
    damaged = shutil.copytree(adapters["upper"], tmp_path / "damaged")
    file = damaged / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    for argument, text in {
        f"x={damaged}": "adapter_model.safetensors",
        f"x={tmp_path / 'nowhere'}": "nowhere",
        str(damaged): "expected NAME=ADAPTER_DIR",
        f"two words={damaged}": "letters, digits",
        f"base={adapters['upper']}": "two adapters are called base",
        f"count={adapters['count']}": "two adapters are called count",
    }.items():
        lines, stderr = run_app(BASE, *named(adapters), argument, prompts=PROMPT, rc=1)
        assert lines == [] and text in stderr.splitlines()[-1], stderr


def test_usage():
    assert "usage: switching_app BASE_DIR NAME=ADAPTER_DIR" in run_app(rc=2)[1]
