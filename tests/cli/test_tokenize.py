"""`shira tokenize`: ids, pieces and text equal the sentencepiece package's, whatever the text and the normaliser."""

import json
import random
import shutil

import pytest
import sentencepiece
from conftest import checkpoint, failure_of, run_shira

TOKENIZERS = ["llama2", "collapse", "nfkc"]  # kinds of scripts/make_tiny_llama.py

TEXTS = [
    "Where do the rivers end?",
    "",
    " ",
    "   ",
    " leading",
    "  two leading",
    "trailing ",
    "trailing   ",
    "runs  of   spaces    and     more",
    "\n",
    "\n\n\n",
    "line\nline\r\nline\n\nparagraph \n indented\n",
    "tab\tand\t\ttabs\t",
    "no-break\u00a0space, thin\u2009space, ideographic\u3000space, zero\u200bwidth",
    "<s>",
    "<s> a literal </s> and <unk> and <0x41> in the text",
    "\u2581a literal meta symbol\u2581",
    "1984 and 27.5 and 3,000,000",
    "caf\u00e9 cafe\u0301 na\u00efve \u00fcber \u00df \ufb01 \u2460 \uff21\uff22\uff23",
    "\U0001f600\U0001f44d\U0001f3fd\U0001f468\u200d\U0001f469\u200d\U0001f467 emoji",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f \uc548\ub155",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\ufeffbyte order mark, \ufffd replacement, \x01\x7f control",
    '<|begin_of_text|>{"json": [1, 2]}\\n \u201cquotes\u201d',
]

ALPHABET = [
    *"abcdefgh the sea .,?!'\"\n\t   ",
    "\u2581",
    "\u00e9",
    "\u0301",
    "\u00a0",
    "\u3000",
    "\u4f60",
    "\u0645",
    "\U0001f600",
    "\U00010348",
    "<s>",
    "</s>",
    "<0x0A>",
    "the ",
    " sea",
    "\ufeff",
    "\x1f",
    "\u2028",
]


def processor(directory):
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def tokenize(directory, *args):
    answer = run_shira("tokenize", "--base_model", directory, *args).json
    assert len(answer["ids"]) == len(answer["pieces"])
    return answer


def assert_equal(directory, file, data):
    file.write_bytes(data)
    expected = processor(directory)
    ids = expected.encode(data)
    answer = tokenize(directory, "--file", file)
    assert answer["ids"] == ids, data
    assert answer["pieces"] == [expected.id_to_piece(i) for i in ids], data


@pytest.fixture(params=TOKENIZERS, scope="module")
def directory(request):
    return checkpoint("llama2", tokenizer=request.param)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[1:20])
def test_file(directory, tmp_path, text):
    assert_equal(directory, tmp_path / "text.txt", text.encode())


@pytest.mark.parametrize("seed", range(4))
def test_random_text(directory, tmp_path, seed):
    rng = random.Random(seed)
    text = "".join(rng.choices(ALPHABET, k=100))
    text += "".join(
        chr(rng.choice([rng.randrange(1, 0xD800), rng.randrange(0xE000, 0x110000)]))
        for _ in range(100)
    )
    assert_equal(directory, tmp_path / "text.txt", text.encode())


def test_text_that_is_not_utf8(directory, tmp_path):
    """sentencepiece reads U+FFFD for each byte that is no UTF-8."""
    assert_equal(
        directory, tmp_path / "text.txt", b"the sea\xff\xfe \xe4\xbd and \xc3( end\xf0\x9f"
    )


@pytest.mark.parametrize(
    "text", ["the old man", " two  spaces ", "-dash", "--help me", "\u4f60\n\U0001f600", "<s>"]
)
def test_text_as_argument(text):
    directory = checkpoint("llama2")
    assert tokenize(directory, "--", text)["ids"] == processor(directory).encode(text)


def test_pretrained_tokenizer(stories260k, tmp_path):
    for number, text in enumerate(
        ["Once upon a time,  there was\n\na  girl. ", "  Lily\t\u00e9 <s>"]
    ):
        assert_equal(stories260k, tmp_path / f"{number}.txt", text.encode())


def test_special_tokens_as_llama_adds_them():
    directory = checkpoint("llama2")
    plain = processor(directory).encode("the sea")
    answer = tokenize(directory, "--special", "the sea")
    assert answer["ids"] == [1, *plain]
    assert answer["pieces"][0] == "<s>"
    assert tokenize(directory, "the sea")["ids"] == plain


def test_special_tokens_as_the_config_asks(copy_of):
    directory = checkpoint("llama2", add_eos_token=True)
    plain = processor(directory).encode("the sea")
    assert tokenize(directory, "--special", "the sea")["ids"] == [1, *plain, 2]
    assert tokenize(directory, "the sea")["ids"] == plain
    without = copy_of(directory)
    (without / "tokenizer_config.json").write_text(
        json.dumps({"add_bos_token": False, "add_eos_token": False})
    )
    assert tokenize(without, "--special", "the sea")["ids"] == plain
    (without / "tokenizer_config.json").unlink()
    assert tokenize(without, "--special", "the sea")["ids"] == [1, *plain]


def test_decode(directory):
    expected = processor(directory)
    texts = ["Where do the rivers end?", "  spaces  ", "\u4f60\n\U0001f600"]
    sequences = [expected.encode(text) for text in texts]
    sequences += [[1, *sequences[0], 2], [0, 300], sequences[2][:-1], [1], [300, 301, 2, 300]]
    for ids in sequences:
        answer = run_shira(
            "tokenize", "--base_model", directory, "--decode", ",".join(map(str, ids))
        ).json
        assert answer["text"] == expected.decode(ids), ids


@pytest.mark.parametrize(
    "ids", ["384", "-1", "5,99999999999999999999", "five", "5.5", "5,6x"]
)
def test_decode_what_are_no_ids(ids):
    failure_of("tokenize", "--base_model", checkpoint("llama2"), f"--decode={ids}")


def test_without_a_tokenizer(copy_of):
    directory = copy_of(checkpoint("llama2"))
    (directory / "tokenizer.model").unlink()
    error = failure_of("tokenize", "--base_model", directory, "text")
    assert "tokenizer.json" in error and "tokenizer.model" in error and "vocab.json" in error


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_damaged_tokenizer(copy_of, content):
    directory = copy_of(checkpoint("llama2"))
    whole = (directory / "tokenizer.model").read_bytes()
    (directory / "tokenizer.model").write_bytes(
        whole[: len(whole) // 2] if content is None else content
    )
    assert "tokenizer.model" in failure_of("tokenize", "--base_model", directory, "text")


def test_no_weights_needed(copy_of):
    directory = copy_of(checkpoint("llama2"))
    (directory / "model.safetensors").unlink()
    assert tokenize(directory, "the sea")["ids"] == processor(directory).encode("the sea")


def test_bad_usage(tmp_path):
    directory = checkpoint("llama2")
    failure_of("tokenize", "--base_model", directory, rc=2)
    failure_of("tokenize", "text", rc=2)
    failure_of("tokenize", "--base_model", directory, "--file", tmp_path / "nowhere.txt")
    shutil.rmtree(tmp_path)
    failure_of("tokenize", "--base_model", tmp_path, "text")
