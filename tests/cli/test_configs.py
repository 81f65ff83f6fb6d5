"""Every configuration that ships, and the one in the README, is valid."""

import os
import pathlib
import re

from conftest import run_shira

SOURCE = pathlib.Path(os.environ["SHIRA_SOURCE_DIR"])


def test_shipped_configurations_are_valid():
    files = sorted((SOURCE / "configs").glob("*.yaml"))
    assert files
    result = run_shira("config", "validate", *files)
    assert result.stdout.count(": valid") == len(files)


def test_the_readme_configuration_is_valid(tmp_path):
    yaml = re.search(r"```yaml\n(.*?)```", (SOURCE / "README.md").read_text(), re.S).group(1)
    (tmp_path / "my.yaml").write_text(yaml)
    run_shira("config", "validate", tmp_path / "my.yaml")
