"""Every configuration that ships is valid, for the program and for the JSON schema it prints."""

import functools
import re

import jsonschema
import pytest
import yaml
from conftest import SOURCE_DIR, failure_of, run_shira

SHIPPED = sorted((SOURCE_DIR / "configs").glob("*.yaml"))
MINIMAL = {"base_model": "base", "datasets": [{"path": "a.txt"}], "output_dir": "out"}


@functools.cache
def schema():
    return run_shira("config", "schema").json


def is_in_schema(config):
    return jsonschema.Draft202012Validator(schema()).is_valid(config)


def test_shipped_configurations_are_valid():
    assert SHIPPED
    result = run_shira("config", "validate", *SHIPPED)
    assert result.stdout.count(": valid") == len(SHIPPED)


def test_the_readme_configuration_is_valid(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", (SOURCE_DIR / "README.md").read_text(), re.S).group(1)
    (tmp_path / "my.yaml").write_text(text)
    run_shira("config", "validate", tmp_path / "my.yaml")


# ----------------------------------------------------------------------------------------- schema


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_configurations_fit_the_schema(file):
    jsonschema.validate(yaml.safe_load(file.read_text()), schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_resolved_configurations_fit_the_schema(file):
    """They hold nulls where nothing was given, and numbers that YAML 1.1 readers take for numbers."""
    jsonschema.validate(yaml.safe_load(run_shira("config", "show", file).stdout), schema())


GOOD = [
    {},
    {"bf16": True},
    {"shira_mask": "masks/a"},
    {"shira_mask": "grad", "shira_calibration_memory": 0.5},
    {"adapter": "lora", "lora_r": 4, "lora_alpha": 0.5, "lora_dropout": 0.1, "use_rslora": True},
    {"adapter": "wm_dora", "lora_r": 64, "shira_density": 0.01},
    {"target_modules": ["q_proj", "v_proj"]},
    {"max_steps": None, "resume_from_checkpoint": None, "sample_prompts": None},
    {"val_set_size": 0.05},
    {"val_set_size": 200},
    {"datasets": [{"path": "a", "type": "sharegpt", "weight": 0.5}]},
]
BAD = [
    {"learnig_rate": 1e-3},
    {"learning_rate": 0},
    {"learning_rate": "fast"},
    {"max_steps": 1.5},
    {"adam_beta1": 1},
    {"shira_density": 1.01},
    {"adapter": "lora", "lora_r": 0},
    {"adapter": "dora", "lora_dropout": 1},
    {"shira_mask": "magnitude"},
    {"target_modules": "q_proj"},
    {"target_modules": []},
    {"val_set_size": 1.5},
    {"device": "tpu"},
    {"datasets": []},
    {"datasets": [{"type": "text"}]},
    {"datasets": [{"path": "a", "type": "csv"}]},
    {"datasets": [{"path": "a", "name": "b"}]},
    {"base_model": None},
]


def validated(directory, changes):
    """Whether `config validate` accepts MINIMAL with each of the changes."""
    files = [directory / f"{i}.yaml" for i in range(len(changes))]
    for file, change in zip(files, changes, strict=True):
        file.write_text(yaml.safe_dump(MINIMAL | change))
    result = run_shira("config", "validate", *files, check=False)
    valid = [f"{file}: valid\n" in result.stdout for file in files]
    assert all((f"{file}:" in result.stderr) != good for file, good in zip(files, valid))
    return valid


def test_schema_and_program_agree(tmp_path):
    assert [is_in_schema(MINIMAL | change) for change in GOOD] == [True] * len(GOOD)
    assert [is_in_schema(MINIMAL | change) for change in BAD] == [False] * len(BAD)
    assert validated(tmp_path, GOOD + BAD) == [True] * len(GOOD) + [False] * len(BAD)


def test_the_schema_wants_data_of_one_family():
    without_data = {"base_model": "base", "output_dir": "out"}
    assert not is_in_schema(without_data)
    for key in ("train_data_dir", "instance_data_dir"):
        assert is_in_schema(without_data | {key: "pictures"})


def test_every_key_has_a_group_and_a_description():
    for name, key in schema()["properties"].items():
        assert key["x-group"] and key["description"], name
    for name, key in schema()["properties"]["datasets"]["items"]["properties"].items():
        assert key["description"], name


# --------------------------------------------------------------------------------------- the help


@pytest.mark.parametrize(
    "args, usage",
    [
        (["config", "--help"], "shira config [OPTIONS] SUBCOMMAND"),
        (["config", "schema", "--help"], "shira config schema [OPTIONS]"),
        (["config", "show", "--help"], "shira config show [OPTIONS] file"),
        (["config", "validate", "--help"], "shira config validate [OPTIONS] files..."),
        (["config", "nonsense", "--help"], "shira config [OPTIONS] SUBCOMMAND"),
    ],
    ids=str,
)
def test_help_is_that_of_the_innermost_known_subcommand(args, usage):
    assert f"\nUsage: {usage}\n" in run_shira(*args).stdout


@pytest.mark.parametrize("args", [[], ["nonsense"], ["schema", "x"], ["validate"]], ids=str)
def test_bad_usage(args):
    failure_of("config", *args, rc=2)


# ----------------------------------------------------------------------------- the reference page


def test_the_reference_page_is_up_to_date():
    from make_config_reference import config_reference

    page = (SOURCE_DIR / "docs" / "configuration.md").read_text()
    assert page == config_reference(schema()), "run scripts/make_config_reference.py"


def test_the_reference_pages_first_configuration_is_valid(tmp_path):
    page = (SOURCE_DIR / "docs" / "configuration.md").read_text()
    (tmp_path / "my.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.S).group(1))
    run_shira("config", "validate", tmp_path / "my.yaml")
