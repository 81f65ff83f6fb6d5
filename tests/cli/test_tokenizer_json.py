"""tokenizer.json files of every supported kind: ids and texts equal those of the `tokenizers` package."""

import json
import os
import shutil
import subprocess

import pytest
import transformers
from conftest import BUILD_DIR, SOURCE_DIR, failure_of
from tokenizer_kinds import KINDS, make_tokenizer, random_texts
from tokenizers import Tokenizer

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


def altered(kind, directory, alter):
    """A tokenizer.json with `alter(its object)` done to it, in the package; None if that refuses it."""
    make_tokenizer(kind, directory)
    root = json.loads((directory / "tokenizer.json").read_text())
    alter(root)
    (directory / "tokenizer.json").write_text(json.dumps(root))
    try:
        return Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception:
        return None


def split(pattern, behavior="Isolated", invert=False):
    steps = [
        {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ]
    return lambda root: root.update(pre_tokenizer={"type": "Sequence", "pretokenizers": steps})


CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LETTERS = "camelCase the River12 x 123456 1984 rivers \u00bd \u00b2 x\u00b7y a_b e\u0301 stra\u00dfe STRASSE \u017fs \u3001\u6f22\u30fc a{,2} \u180e "


@pytest.mark.parametrize(
    "pattern",
    [
        CL100K,
        O200K,
        r"\p{N}{1,3}+",  # + behind an interval is a second quantifier
        r"a{,2}",
        r"{|a",
        r"(?=[A-Z])",
        r"(?<=\p{N})(?=(\p{N}{3})+(?!\p{N}))",
        r"x*",
        r"$",
        r"\b",
        r"\B.",
        r"\w+",
        r"\W+",
        r"(?<!\w)\w",
        r"[\S]+",
        r"[^\S]",
        r"[[:digit:]\d_]+",
        r"[[:digit:]\p{L}]+",
        r"[[:punct:]]+",
        r"[[:word:]]+",
        r"[[:space:][:upper:]]",
        r"[]a]+",
        r"[^]a]+",
        r"(?i)riv|x",
        r"a|(?i)riv|x",
        r"(?i:[k-s]+)",
        r"\p{Han}+",
        r"\p{^Katakana}+",
        r"\P{L}+",
        r"\x{41}|\x41",
    ],
)
def test_a_regex_cuts_as_oniguruma_does(pattern, tmp_path):
    tokenizer = altered("gpt2", tmp_path, split({"Regex": pattern}))
    texts = random_texts(300, seed=8) + LETTERS.split(" ") + [LETTERS, LETTERS + "\n" + LETTERS]
    expect_equal(tokenizer, tmp_path, texts)


@pytest.mark.parametrize(
    "pattern, says",
    [
        (r"a{2}?", "{2}? is not supported"),
        (r"a**", "a quantifier of a quantifier"),
        (r"[[:alpha:]]+", "the class [:alpha:]"),
        (r"[[:^digit:]]+", "the class [:^digit:]"),
        (r"[\x00-\s]", "a range that ends with a class"),
        (r"[\s-z]", "a range that begins with a class"),
        (r"a(?i)b|c", "(?i) is supported at the start of an alternative only"),
        (r"\pL+", "\\p without {...}"),
        (r"\p{L&}", "the property \\p{L&"),
        (r"\p{Script=Han}", "the property \\p{Script="),
        (r"(?i:ss)", "ss where case is ignored"),
        (r"(?i:\u00df)", "characters beyond ASCII where case is ignored"),
        (r"(*ACCEPT)a", "the group (*A"),
        (r"(?(1)a|b)", "the group (?("),
        (r"\xe9", "\\xe9 is not supported"),
        (r"(.)\1", "\\1 (a back-reference"),
    ],
)
def test_a_regex_that_pcre2_reads_otherwise_is_refused(pattern, says, tmp_path):
    altered("gpt2", tmp_path, split({"Regex": pattern.replace(r"\u00df", "\u00df")}))
    error = failure_of("tokenize", "--base_model", tmp_path, "text")
    assert f"pattern.Regex: {says}" in error


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("behavior", ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
@pytest.mark.parametrize("pattern", [{"Regex": "(?=[A-Z])|e"}, {"String": ""}])
def test_empty_matches_cut_as_well(pattern, behavior, invert, tmp_path):
    tokenizer = altered("gpt2", tmp_path, split(pattern, behavior, invert))
    expect_equal(tokenizer, tmp_path, random_texts(200, seed=9) + ["camelCase", "AB", "eE"])


FRAME = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"x": {"id": "x", "ids": [5], "tokens": ["x"]}},
}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": "^ +"}, "content": ""},
        {"type": "Prepend", "prepend": "x"},
        {"type": "NFKC"},
    ],
)
def test_the_first_word_is_that_of_the_text_as_it_was(normalizer, tmp_path):
    def alter(root):
        root["normalizer"] = normalizer
        root["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]}

    tokenizer = altered("mistral", tmp_path, alter)
    expect_equal(tokenizer, tmp_path, random_texts(500, seed=10) + [" a", "a", "  a b", "\ufdfa x"])


def test_the_last_of_equal_merges_counts(tmp_path):
    tokenizer = altered("gpt2", tmp_path, lambda root: root["model"]["merges"].extend(root["model"]["merges"][:50]))
    expect_equal(tokenizer, tmp_path, random_texts(500, seed=11))


def test_an_unknown_token_that_is_missing_matters_when_it_is_needed(tmp_path):
    alter = lambda root: root["model"].update(unk_token="<nope>", byte_fallback=False)
    tokenizer = altered("llama2", tmp_path, alter)
    expect_equal(tokenizer, tmp_path, ["the river", "<s>"])
    with pytest.raises(Exception):
        tokenizer.encode("\U000103a0")
    assert "unk_token '<nope>' is not in the vocabulary" in failure_of("tokenize", "--base_model", tmp_path, "\U000103a0")


def vocabulary_files(kind, directory, tokenizer_class, **tokens):
    """vocab.json and merges.txt of a tokenizer that was trained here."""
    make_tokenizer(kind, directory)
    model = json.loads((directory / "tokenizer.json").read_text())["model"]
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.json").write_text(json.dumps(model["vocab"] | {token: len(model["vocab"]) + i for i, token in enumerate(tokens.values())}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    settings = {"tokenizer_class": tokenizer_class} | tokens
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def alter_settings(directory, **settings):
    file = directory / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


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


CLIP_TOKENS = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}


@pytest.mark.parametrize(
    "kind, tokenizer_class, settings",
    [
        ("gpt2", "GPT2Tokenizer", {}),
        ("gpt2", "GPT2Tokenizer", {"add_prefix_space": True}),
        ("gpt2", "GPT2Tokenizer", {"additional_special_tokens": ["river", "<new>"]}),
        ("gpt2", "GPT2Tokenizer", {"add_bos_token": True}),
        ("qwen2", "Qwen2Tokenizer", {"add_prefix_space": True}),
        ("clip", "CLIPTokenizer", {}),
        ("clip", "CLIPTokenizer", {"extra_special_tokens": ["river"], "pad_token": "!"}),
        ("clip", "CLIPTokenizer", None),
    ],
)
def test_what_a_class_has_without_settings(kind, tokenizer_class, settings, tmp_path):
    vocabulary_files(kind, tmp_path, tokenizer_class, **CLIP_TOKENS)
    (tmp_path / "tokenizer_config.json").unlink()
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class} | settings))
    peer = getattr(transformers, tokenizer_class).from_pretrained(tmp_path)
    texts = random_texts(300, seed=12) + ["the river <new> rivers", "<|endoftext|>x<|endoftext|>"]
    expect_ids(peer, tmp_path, texts)
    for text, answer in zip(texts, tokenize_lines(tmp_path, texts), strict=True):
        assert answer["text"] == peer.decode(answer["ids"], skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_added_tokens_of_an_older_directory(tmp_path):
    vocabulary_files("clip", tmp_path, "CLIPTokenizer", **CLIP_TOKENS)
    count = len(json.loads((tmp_path / "vocab.json").read_text()))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<cat-toy>": count, "<dog>": count + 1}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<dog>"}))
    expect_ids(transformers.CLIPTokenizer.from_pretrained(tmp_path), tmp_path, ["a <cat-toy> b<dog>", "<Cat-toy>"])


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"tokenizer_class": 5}, "tokenizer_class: has the wrong type"),
        ({"added_tokens_decoder": {"x": {"content": "<q>"}}}, "added_tokens_decoder: 'x' is not an id"),
        ({"added_tokens_decoder": {"9" * 23: {"content": "<q>"}}}, "added_tokens_decoder: '999"),
        ({"added_tokens_decoder": {"7": {}}}, "added_tokens_decoder.7: expected a token"),
        ({"added_tokens_decoder": [1]}, "added_tokens_decoder: expected an object"),
        ({"additional_special_tokens": [7]}, "additional_special_tokens[0]: expected a token"),
        ({"bos_token": 7}, "bos_token: expected a token"),
        ({"add_prefix_space": "yes"}, "add_prefix_space: has the wrong type"),
    ],
)
def test_odd_settings_are_named(settings, says, tmp_path):
    vocabulary_files("gpt2", tmp_path, "GPT2Tokenizer", eos_token="<|endoftext|>")
    alter_settings(tmp_path, **settings)
    assert f"tokenizer_config.json.{says}" in failure_of("tokenize", "--base_model", tmp_path, "text")


def test_a_bos_that_the_vocabulary_does_not_have(tmp_path):
    make_tokenizer("gpt2", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<nope>", "add_bos_token": True}))
    assert "add_bos_token is true, but bos_token '<nope>'" in failure_of("tokenize", "--base_model", tmp_path, "text")


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
        (("added_tokens",), [{"content": "<q>"}], "added_tokens[0]: id is missing"),
        (("added_tokens",), [{"content": "<new>", "id": 1 << 40}], "added_tokens[0]: id 1099511627776"),
        (("added_tokens",), [{"content": "<new>", "id": 5}], "added_tokens[0]: id 5 of '<new>', expected 1200"),
        (("added_tokens",), [{"content": "<a>", "id": 1200}, {"content": "<b>", "id": 1200}], "added_tokens[1]: id 1200 of '<b>', expected 1201"),
        (("added_tokens",), [{"content": "<new>", "id": 7.5}], "added_tokens[0].id: expected an integer"),
        (("model", "vocab"), {"a": 1.5}, "the id of 'a': expected an integer"),
        (("model", "vocab"), {"a": 1e30}, "the id of 'a': expected an integer"),
        (("model", "merges"), [["s", "s"], "c c"], "merges[1]: texts and lists are mixed"),
        (("version",), "2.0", "version: expected 1.0"),
        (("normalizer",), {"type": "Replace", "pattern": {"Regex": "$"}, "content": "!"}, "normalizer: a pattern that may match nothing"),
        (("normalizer",), {"type": "Replace", "pattern": {"String": ""}, "content": "!"}, "normalizer: a pattern that may match nothing"),
        (("normalizer",), {"type": "Replace", "pattern": {"String": "a", "Regex": "b"}, "content": "!"}, "pattern: expected a String or a Regex"),
        (("normalizer",), {"type": "Prepend", "prepend": ""}, "normalizer: prepend is empty"),
        (("pre_tokenizer",), {"type": "Metaspace", "replacement": "__"}, "replacement: expected one character"),
        (("pre_tokenizer",), METASPACE | {"add_prefix_space": False}, "add_prefix_space does not match prepend_scheme"),
        (("post_processor",), {"type": "Sequence", "processors": [FRAME, FRAME]}, "processors[1]: a second step that adds tokens"),
        (("post_processor",), FRAME | {"special_tokens": {"x": {"id": "x", "ids": [9999], "tokens": ["x"]}}}, "post_processor: id 9999"),
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
