"""tokenizer.json files of every supported kind: ids and texts equal those of the `tokenizers` package."""

import json
import os
import shutil
import subprocess

import pytest
import transformers
from conftest import BUILD_DIR, SOURCE_DIR, failure_of
from tokenizer_kinds import KINDS, make_tokenizer, random_texts

CLIP = SOURCE_DIR.parent / "shared" / "data" / "sd_configs" / "sd15" / "tokenizer"

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


def vocabulary_files(kind, directory, tokenizer_class, **tokens):
    """vocab.json and merges.txt of a tokenizer that was trained here."""
    make_tokenizer(kind, directory)
    model = json.loads((directory / "tokenizer.json").read_text())["model"]
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.json").write_text(json.dumps(model["vocab"] | {token: len(model["vocab"]) + i for i, token in enumerate(tokens.values())}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    settings = {"tokenizer_class": tokenizer_class} | tokens
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    "kind, tokenizer_class, tokens",
    [
        ("gpt2", "GPT2Tokenizer", {"bos_token": "<|endoftext|>"}),
        ("qwen2", "Qwen2TokenizerFast", {"eos_token": "<|endoftext|>"}),
        ("clip", "CLIPTokenizer", {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}),
    ],
)
def test_vocabulary_and_merges_equal_transformers(kind, tokenizer_class, tokens, tmp_path):
    vocabulary_files(kind, tmp_path, tokenizer_class, **tokens)
    if kind == "clip":
        settings = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"unk_token": "<|endoftext|>"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    peer = getattr(transformers, tokenizer_class.removesuffix("Fast")).from_pretrained(tmp_path)
    texts = random_texts(2000, seed=5)
    expect_ids(peer, tmp_path, texts)


def expect_ids(peer, directory, texts):
    answers = tokenize_lines(directory, texts)
    for key, special in (("ids", False), ("special", True)):
        expected = peer(texts, add_special_tokens=special)["input_ids"]
        different = [text for text, answer, ids in zip(texts, answers, expected, strict=True) if answer[key] != ids]
        assert not different, f"{len(different)}, the shortest: {min(different, key=len)!r}"


@pytest.mark.skipif(not CLIP.is_dir(), reason="the tokenizer of Stable Diffusion 1.5 is not at hand")
def test_clip_of_stable_diffusion():
    expect_ids(transformers.CLIPTokenizer.from_pretrained(CLIP), CLIP, random_texts(10000, seed=6))


@pytest.mark.parametrize(
    "where, value, says",
    [
        (("normalizer",), {"type": "BertNormalizer"}, "normalizer: 'BertNormalizer' is not supported"),
        (("pre_tokenizer",), {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "UnicodeScripts"}]}, "pretokenizers[1]: 'UnicodeScripts'"),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "(unclosed"}, "behavior": "Isolated"}, "pattern.Regex: missing closing parenthesis"),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "\\h+"}, "behavior": "Isolated"}, "\\h is not supported"),
        (("model", "type"), "WordPiece", "model: 'WordPiece' is not supported"),
        (("model", "dropout"), 0.1, "dropout is not supported"),
        (("model", "merges"), [["not", "there"]], "merges[0]"),
        (("model", "merges"), [["a"]], "merges[0]: expected two pieces"),
        (("model", "vocab"), {"a": -1}, "vocab: id -1"),
        (("model", "vocab"), 7, "vocab: has the wrong type"),
        (("decoder",), {"type": "CTC"}, "decoder: 'CTC' is not supported"),
        (("post_processor",), {"type": "TemplateProcessing", "single": [], "special_tokens": {}}, "a template without the text"),
        (("added_tokens",), [{"content": "x"}], "added_tokens[0]: id is missing"),
        (("added_tokens",), [{"content": "<new>", "id": 1 << 40}], "added_tokens[0]: id 1099511627776"),
    ],
)
def test_what_is_not_supported_is_named(where, value, says, tmp_path):
    make_tokenizer("gpt2", tmp_path)
    root = json.loads((tmp_path / "tokenizer.json").read_text())
    place = root
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(root))
    error = failure_of("tokenize", "--base_model", tmp_path, "text")
    assert says in error and "tokenizer.json" in error


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100000, b'{"model": 3}', b"{}"])
def test_a_damaged_file(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json" in failure_of("tokenize", "--base_model", tmp_path, "text")


def test_a_vocabulary_of_an_unknown_class(tmp_path):
    vocabulary_files("gpt2", tmp_path, "BartTokenizer")
    assert "CLIPTokenizer, GPT2Tokenizer, Qwen2Tokenizer" in failure_of("tokenize", "--base_model", tmp_path, "text")
    shutil.copy(tmp_path / "vocab.json", tmp_path / "merges.txt")
    settings = {"tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "merges" in failure_of("tokenize", "--base_model", tmp_path, "text")
