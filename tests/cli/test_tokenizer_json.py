"""tokenizer.json files of every supported kind: ids and texts equal those of the `tokenizers` package."""

import json
import os
import subprocess

import pytest
from conftest import BUILD_DIR
from json_tokenizers import KINDS, make_tokenizer, random_texts

COUNT = int(os.environ.get("SHIRA_TOKENIZER_TEXTS", "10000"))  # for each kind


def tokenize_lines(directory, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    program = [str(BUILD_DIR / "bin" / "tokenize_lines"), str(directory)]
    result = subprocess.run(program, input=lines, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def expect_equal(tokenizer, directory, texts):
    answers = tokenize_lines(directory, texts)
    assert len(answers) == len(texts)
    plain = tokenizer.encode_batch(texts, add_special_tokens=False)
    special = tokenizer.encode_batch(texts, add_special_tokens=True)
    different = []
    for text, answer, ours, framed in zip(texts, answers, plain, special, strict=True):
        expected = {"ids": ours.ids, "special": framed.ids, "text": tokenizer.decode(ours.ids)}
        if answer != expected:
            different.append((text, answer, expected))
    assert not different, f"{len(different)} of {len(texts)}, the shortest: {min(different, key=lambda d: len(d[0]))}"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_equal_those_of_the_tokenizers_package(kind, tmp_path):
    tokenizer = make_tokenizer(kind, tmp_path)
    expect_equal(tokenizer, tmp_path, random_texts(COUNT, seed=2))
