#!/usr/bin/env python3
"""Write docs/configuration.md: the keys as `shira config schema` has them, in the prose of configuration.md.in.

    make_config_reference.py [SHIRA]      the program; default: build/bin/shira
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("configuration.md.in")
LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
KINDS = {"integer": "whole number", "number": "number", "boolean": "true or false"}


def code(value):
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def value_in_words(schema):
    """What a value may be: its choices, or its type and range."""
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        return ", or ".join(map(value_in_words, parts))
    if "enum" in schema:
        return ", ".join(code(choice) for choice in schema["enum"] if choice is not None)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "string" in types:
        return "path" if "pattern" in schema else "text"
    if "array" in types:
        if "enum" in schema["items"]:
            return f"list of {value_in_words(schema['items'])}"
        return "list of maps" if schema["items"]["type"] == "object" else "list of texts"
    limits = " and ".join(f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema)
    return f"{KINDS[types[0]]} {limits}".strip()


def table(properties, required):
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for name, schema in properties.items():
        default = code(schema["default"]) if "default" in schema else ""
        default = "required" if name in required else default
        lines.append(
            f"| `{name}` | {value_in_words(schema)} | {default} | {schema['description']} |"
        )
    return "\n".join(lines)


def tables_of_groups(schema):
    groups = {}
    for name, key in schema["properties"].items():
        groups.setdefault(key["x-group"], {})[name] = key
    return "\n\n".join(
        f"## {title}\n\n{table(keys, schema['required'])}" for title, keys in groups.items()
    )


def config_reference(schema):
    """The whole page."""
    entry = schema["properties"]["datasets"]["items"]
    return (
        TEMPLATE.read_text()
        .replace("@KEYS@", tables_of_groups(schema))
        .replace("@DATASET_KEYS@", table(entry["properties"], entry["required"]))
    )


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/bin/shira"
    schema = json.loads(subprocess.run([program, "config", "schema"], check=True, stdout=-1).stdout)
    (ROOT / "docs/configuration.md").write_text(config_reference(schema))


if __name__ == "__main__":
    main()
