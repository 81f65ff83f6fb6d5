"""`shira eval --text`: the perplexity of a text, window by window, equals transformers'."""

import math

import pytest
import sentencepiece
from conftest import checkpoint, failure_of, reference_json, run_json, run_shira, shared_file

TEXT = (
    "Rain fell on the tents, on the wagons, on the sleeping horses.\n\n"
    '"Where do the rivers end?" asked the child.  "In the sea," said the old man; caf\u00e9, \U0001f600.\n'
) * 6


def window_loss(model, ids, window):
    """Sum of next-token losses inside consecutive windows, and their number; the last partial window is dropped."""
    import torch

    windows = torch.tensor(ids[: len(ids) // window * window]).view(-1, window)
    losses = []
    for rows in windows.split(8):
        with torch.no_grad():
            logits = model(rows).logits[:, :-1]
        losses.append(
            torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).double(), rows[:, 1:].flatten(), reduction="sum"
            )
        )
    return [torch.stack(losses).sum().item(), windows.shape[0] * (window - 1)]


def assert_equals_transformers(directory, file, window):
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    ids = tokenizer.encode(file.read_bytes())
    total, count = reference_json("eval", directory, window_loss, ids=ids, window=window)
    answer = run_json("eval", "--base_model", directory, "--text", file, "--window", window)
    assert answer["tokens"] == count
    assert answer["nll"] == pytest.approx(total / count, abs=1e-4)
    assert answer["perplexity"] == pytest.approx(math.exp(answer["nll"]), rel=1e-6)


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.mark.parametrize(
    "variant", ["llama1", "llama2", "llama3", "tied", "attention_bias", "head_dim"]
)
def test_equals_transformers(variant, text):
    assert_equals_transformers(checkpoint(variant), text, 40)


@pytest.mark.parametrize("window", [2, 3, 64, 257])
def test_windows_of_any_size(window, text):
    assert_equals_transformers(checkpoint("llama2"), text, window)


def test_tokenised_once_with_the_models_normaliser(text):
    assert_equals_transformers(checkpoint("llama2", tokenizer="collapse"), text, 40)


def test_a_pretrained_model_on_text_it_knows(stories260k, tmp_path):
    whole = shared_file("data/text/tinystories_0.9MB.txt").read_text()
    (tmp_path / "stories.txt").write_text(whole[:12000])
    assert_equals_transformers(stories260k, tmp_path / "stories.txt", 128)
    answer = run_json(
        "eval", "--base_model", stories260k, "--text", tmp_path / "stories.txt", "--window", 128
    )
    assert answer["nll"] < 2.5


def test_the_last_window_may_end_with_the_text(text, tmp_path):
    """A text of exactly N tokens is one window; one token less is none."""
    directory = checkpoint("llama2")
    count = len(
        sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model")).encode(
            TEXT
        )
    )
    answer = run_json("eval", "--base_model", directory, "--text", text, "--window", count)
    assert answer["tokens"] == count - 1
    error = failure_of("eval", "--base_model", directory, "--text", text, "--window", count + 1)
    assert str(count) in error


def test_in_words(text):
    result = run_shira("eval", "--base_model", checkpoint("llama2"), "--text", text, "--window", 40)
    assert "perplexity" in result.stdout


def test_empty_text(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    directory = checkpoint("llama2")
    error = failure_of(
        "eval", "--base_model", directory, "--text", tmp_path / "empty.txt", "--window", 8
    )
    assert "0 tokens" in error


def test_bad_usage(text, tmp_path):
    directory = checkpoint("llama2")
    for window in ("0", "1", "-5", "x"):
        failure_of("eval", "--base_model", directory, "--text", text, "--window", window, rc=2)
    assert "nowhere" in failure_of(
        "eval", "--base_model", directory, "--text", tmp_path / "nowhere", "--window", 8
    )
    failure_of("eval", "--base_model", directory, rc=2)
    failure_of("eval", "--text", text, "--window", 8, rc=2)
