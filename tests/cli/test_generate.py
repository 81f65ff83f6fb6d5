"""`shira generate`: greedy text equals transformers' token by token; sampling, stopping and streaming behave."""

import shutil

import pytest
import sentencepiece
from conftest import (
    VARIANTS,
    checkpoint,
    edit_json,
    failure_of,
    reference_json,
    run_json,
    run_shira,
)

PROMPT = "The old man waited for the rain"
NEW_TOKENS = 60


def processor(directory):
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def greedy_ids(model, prompt, new_tokens):
    """The continuation transformers picks; refuses a prompt on which rounding could decide."""
    import torch

    output = model.generate(
        torch.tensor([prompt]),
        do_sample=False,
        max_new_tokens=new_tokens,
        pad_token_id=0,
        use_cache=True,
    )
    with torch.no_grad():
        best = model(output).logits[0, len(prompt) - 1 : -1].topk(2).values
    margin = (best[:, 0] - best[:, 1]).min().item()
    assert margin > 2e-4, f"near tie ({margin:.1e}): choose another prompt than {prompt}"
    return output[0, len(prompt) :].tolist()


def expected_ids(directory, text, new_tokens=NEW_TOKENS):
    prompt = [1, *processor(directory).encode(text)]
    return prompt, reference_json(
        "greedy", directory, greedy_ids, prompt=prompt, new_tokens=new_tokens
    )


def generate(directory, *args, prompt=PROMPT, new_tokens=NEW_TOKENS):
    return run_json(
        "generate",
        "--base_model",
        directory,
        "--prompt",
        prompt,
        "--max_new_tokens",
        new_tokens,
        *args,
    )


def generate_all(directory, prompts, *args, new_tokens=NEW_TOKENS):
    """The answers of one run for several prompts."""
    flags = [flag for prompt in prompts for flag in ("--prompt", prompt)]
    answer = run_json(
        "generate", "--base_model", directory, *flags, "--max_new_tokens", new_tokens, *args
    )
    assert [one.pop("prompt") for one in answer["generations"]] == prompts
    return answer["generations"]


def greedy(directory, *args, **options):
    return generate(directory, "--temperature", 0, *args, **options)


PROMPTS = ["sea", PROMPT, "Rain fell on the tents, on the wagons. " * 4, "a b c"]


def greedy_batch(model, prompts, new_tokens):
    """The continuations transformers picks for prompts padded on the left."""
    import torch

    longest = max(map(len, prompts))
    padding = [[0] * (longest - len(prompt)) for prompt in prompts]
    rows = [pad + prompt for pad, prompt in zip(padding, prompts)]
    mask = [pad + [1] * len(prompt) for pad, prompt in zip(padding, prompts)]
    output = model.generate(
        torch.tensor(rows),
        attention_mask=torch.tensor(mask),
        do_sample=False,
        max_new_tokens=new_tokens,
        pad_token_id=0,
    )
    return output[:, longest:].tolist()


def penalised_ids(model, prompt, new_tokens, penalty):
    """As greedy_ids, with transformers' repetition penalty."""
    import torch

    output = model.generate(
        torch.tensor([prompt]),
        do_sample=False,
        max_new_tokens=new_tokens,
        pad_token_id=0,
        repetition_penalty=penalty,
        return_dict_in_generate=True,
        output_scores=True,
    )
    best = torch.cat(output.scores).topk(2).values
    margin = (best[:, 0] - best[:, 1]).min().item()
    assert margin > 2e-4, f"near tie ({margin:.1e}): choose another prompt than {prompt}"
    return output.sequences[0, len(prompt) :].tolist()


@pytest.fixture(scope="module")
def directory():
    return checkpoint("llama2")


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_equals_transformers(variant):
    directory = checkpoint(variant)
    prompt, expected = expected_ids(directory, PROMPT)
    assert len(expected) == NEW_TOKENS, "the reference met EOS: choose another prompt"
    answer = greedy(directory)
    assert answer["ids"] == expected
    if variant != "tied":  # that one writes bytes that are no UTF-8
        assert PROMPT + answer["text"] == processor(directory).decode(prompt + expected)


@pytest.mark.parametrize(
    "prompt",
    ["", "sea", "Rain fell on the tents, on the wagons. " * 12],
    ids=["empty", "one token", "long"],
)
@pytest.mark.parametrize("variant", ["llama2", "llama3", "mistral", "qwen2_sliding", "qwen3", "rope_dynamic", "rope_yarn"])
def test_greedy_after_prompts_of_any_length(variant, prompt):
    """A cache that grows in steps must keep what it holds."""
    directory = checkpoint(variant)
    _, expected = expected_ids(directory, prompt, 130)
    assert greedy(directory, prompt=prompt, new_tokens=130)["ids"] == expected


def test_greedy_of_a_pretrained_model(stories260k):
    text = "Once upon a time, there was a"
    prompt, expected = expected_ids(stories260k, text, 100)
    answer = greedy(stories260k, prompt=text, new_tokens=100)
    assert answer["ids"] == expected
    assert text + answer["text"] == processor(stories260k).decode(prompt + expected)


def test_sharded_checkpoint_writes_the_same():
    assert greedy(checkpoint("untied", shards=3))["ids"] == greedy(checkpoint("untied"))["ids"]


def test_half_precision_bases_generate():
    for dtype in ("bfloat16", "float16"):
        assert len(greedy(checkpoint("llama2", dtype))["ids"]) == NEW_TOKENS


def test_ends_at_eos(copy_of):
    """transformers stops at any of generation_config.json's ids; none of them is part of the text."""
    directory = copy_of(checkpoint("llama3"))
    whole = greedy(directory)["ids"]
    place = next(n for n in range(8, NEW_TOKENS) if whole[n] not in whole[:n])
    for eos in (whole[place], [2, whole[place]]):
        edit_json(directory / "generation_config.json", eos_token_id=eos)
        answer = greedy(directory)
        assert answer["ids"] in (whole[:place], whole[: place + 1])
        prompt = [1, *processor(directory).encode(PROMPT)]
        assert PROMPT + answer["text"] == processor(directory).decode(prompt + whole[:place])


def test_sampling_repeats_with_its_seed(directory):
    def sampled(seed):
        return generate(directory, "--temperature", 1, "--seed", seed)

    assert sampled(7)["ids"] == sampled(7)["ids"]
    assert len({tuple(sampled(seed)["ids"]) for seed in (7, 8, 9)}) == 3


@pytest.mark.parametrize("limit", [("--top_k", 1), ("--top_p", 1e-6), ("--top_p", 0)], ids=str)
def test_sampling_from_one_token_is_greedy(directory, limit):
    assert (
        generate(directory, "--temperature", 1.5, "--seed", 3, *limit)["ids"]
        == greedy(directory)["ids"]
    )


def test_top_k_keeps_to_the_likeliest(directory):
    """The first token of each seed is one of transformers' three likeliest."""

    def three_likeliest(model, prompt):
        import torch

        with torch.no_grad():
            return model(torch.tensor([prompt])).logits[0, -1].topk(3).indices.tolist()

    prompt = [1, *processor(directory).encode(PROMPT)]
    allowed = reference_json("top3", directory, three_likeliest, prompt=prompt)
    seen = {
        generate(directory, "--temperature", 5, "--top_k", 3, "--seed", seed, new_tokens=1)["ids"][
            0
        ]
        for seed in range(12)
    }
    assert seen <= set(allowed) and len(seen) > 1


def test_stop_string(directory):
    whole = greedy(directory)["text"]
    stop = whole[20:24]
    text = greedy(directory, "--stop", stop)["text"]
    assert text == whole[: whole.index(stop)]


def test_several_stop_strings(directory):
    whole = greedy(directory)["text"]
    first, second = whole[12:15], whole[30:34]
    text = greedy(directory, "--stop", second, "--stop", "\u2603", "--stop", first)["text"]
    assert text == whole[: min(whole.index(first), whole.index(second))]


def test_a_stop_string_across_tokens(directory):
    """A stop string that begins inside a token and ends inside a later one still cuts exactly there."""
    whole, ids = greedy(directory)["text"], greedy(directory)["ids"]
    pieces = [processor(directory).id_to_piece(i) for i in ids]
    assert any(len(piece) > 1 for piece in pieces)
    stop = whole[7:19]
    assert greedy(directory, "--stop", stop)["text"] == whole[: whole.index(stop)]


@pytest.mark.parametrize("variant", ["llama2", "llama3", "mistral", "qwen2_sliding", "qwen3"])
def test_prompts_together_equal_transformers_and_each_alone(variant):
    directory = checkpoint(variant)
    encoded, alone = zip(*(expected_ids(directory, text) for text in PROMPTS))
    expected = reference_json(
        "batch", directory, greedy_batch, prompts=list(encoded), new_tokens=NEW_TOKENS
    )
    assert expected == list(alone), "rounding decides: choose other prompts"
    answers = generate_all(directory, PROMPTS)
    assert [answer["ids"] for answer in answers] == expected
    assert answers == [greedy(directory, prompt=text) for text in PROMPTS]


def test_each_of_several_prompts_ends_on_its_own(copy_of):
    """The second by EOS, the third by a stop text, the first by its length; each as if alone."""
    directory = copy_of(checkpoint("llama2"))
    first, second, third = generate_all(directory, PROMPTS[:3])
    eos = next(i for i in second["ids"][5:] if i not in first["ids"] + third["ids"][:30])
    edit_json(directory / "generation_config.json", eos_token_id=eos)
    windows = (third["text"][n : n + 4] for n in range(9, 40))
    stop = next(text for text in windows if text not in first["text"])
    alone = [greedy(directory, "--stop", stop, prompt=text) for text in PROMPTS]
    assert generate_all(directory, PROMPTS, "--stop", stop) == alone
    assert [answer["finish_reason"] for answer in alone[:3]] == ["length", "stop", "stop"]
    assert len({len(answer["ids"]) for answer in alone[:3]}) == 3


def test_several_prompts_have_random_streams_of_their_own(directory):
    sampling = ("--temperature", 1, "--seed", 7)
    rows = [row["ids"] for row in generate_all(directory, [PROMPT] * 3, *sampling)]
    assert len(set(map(tuple, rows))) == 3
    assert rows[0] == generate(directory, *sampling)["ids"]
    longer = generate_all(directory, ["sea", "x", PROMPT, "y"], *sampling)
    assert longer[2]["ids"] == rows[2]


def test_several_texts_stand_under_their_prompts(directory):
    prompts = ["The old\nman", "sea"]
    texts = [answer["text"] for answer in generate_all(directory, prompts, new_tokens=5)]
    flags = ("--prompt", prompts[0], "--prompt", prompts[1], "--max_new_tokens", 5)
    result = run_shira("generate", "--base_model", directory, *flags)
    assert result.stdout == f"--- The old man\n{texts[0]}\n--- sea\n{texts[1]}\n"


def test_a_prompt_in_brackets_is_one_prompt(directory):
    text = "[the old man, the sea]"
    count = len(processor(directory).encode(text)) + 1
    assert greedy(directory, prompt=text, new_tokens=1)["prompt_tokens"] == count


@pytest.mark.parametrize("penalty", [0.8, 1.3, 5.0])
@pytest.mark.parametrize("variant", ["llama2", "llama3", "mistral", "qwen2_sliding", "qwen3", "rope_dynamic", "rope_yarn"])
def test_repetition_penalty_equals_transformers(variant, penalty):
    directory = checkpoint(variant)
    prompt = [1, *processor(directory).encode(PROMPT)]
    expected = reference_json(
        "penalty", directory, penalised_ids, prompt=prompt, new_tokens=NEW_TOKENS, penalty=penalty
    )
    flags = ("--repetition_penalty", penalty)
    assert greedy(directory, *flags)["ids"] == expected != greedy(directory)["ids"]
    # Padding is no text: the row that has some is penalised as it would be alone.
    assert generate_all(directory, [PROMPT * 2, PROMPT], *flags)[1]["ids"] == expected


def test_repetition_penalty_one_is_off(directory):
    assert greedy(directory, "--repetition_penalty", 1) == greedy(directory)


def test_base_model_by_hub_name(directory, tmp_path):
    """org/name is found where huggingface_hub keeps its downloads."""
    cached = tmp_path / "models--org--tiny"
    shutil.copytree(directory, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    env = {"HF_HUB_CACHE": str(tmp_path)}
    (tmp_path / "text.txt").write_text(PROMPT * 4)
    for command, *flags in (
        ("generate", "--prompt", PROMPT, "--max_new_tokens", 5),
        ("eval", "--text", tmp_path / "text.txt", "--window", 16),
        ("tokenize", PROMPT),
    ):
        expected = run_json(command, "--base_model", directory, *flags)
        assert run_json(command, "--base_model", "org/tiny", *flags, env=env) == expected
        error = failure_of(command, "--base_model", "org/other", *flags, env=env, rc=1)
        assert "hf download org/other" in error


def test_streamed_text_is_the_text(directory):
    answer = greedy(directory)
    result = run_shira(
        "generate",
        "--base_model",
        directory,
        "--prompt",
        PROMPT,
        "--max_new_tokens",
        NEW_TOKENS,
        "--temperature",
        0,
    )
    assert result.stdout.rstrip("\n").endswith(answer["text"].rstrip("\n"))
    assert result.stdout.rstrip("\n") in (
        answer["text"].rstrip("\n"),
        (PROMPT + answer["text"]).rstrip("\n"),
    )


def test_bytes_that_are_no_utf8_are_replaced():
    """This model writes random byte pieces; what reaches the user is valid UTF-8 (run_shira decodes strictly)."""
    directory = checkpoint("tied")
    pieces = [processor(directory).id_to_piece(i) for i in greedy(directory)["ids"]]
    assert any(piece.startswith("<0x") for piece in pieces)
    run_shira("generate", "--base_model", directory, "--prompt", PROMPT, "--temperature", 0)
    generate(directory, "--temperature", 3, "--seed", 1, new_tokens=200)


def test_emoji_in_the_prompt(directory):
    text = "the \U0001f600 sea \u4f60\u597d"
    prompt, expected = expected_ids(directory, text)
    answer = greedy(directory, prompt=text)
    assert answer["ids"] == expected
    assert text + answer["text"] == processor(directory).decode(prompt + expected)


def test_one_new_token(directory):
    assert greedy(directory, new_tokens=1)["ids"] == greedy(directory)["ids"][:1]


@pytest.mark.parametrize(
    "flags",
    [
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--top_k", "-3"),
        ("--top_p", "-0.5"),
        ("--top_p", "1.5"),
        ("--repetition_penalty", "0"),
        ("--repetition_penalty", "-1"),
        ("--repetition_penalty", "nan"),
        ("--repetition_penalty", "inf"),
        ("--max_new_tokens", "-1"),
        ("--max_new_tokens", "many"),
        ("--unknown_flag",),
        ("--seed", "x"),
        ("--seed", "-1"),
    ],
    ids=" ".join,
)
def test_bad_flags(directory, flags):
    error = failure_of("generate", "--base_model", directory, "--prompt", "x", *flags, rc=2)
    assert flags[0].lstrip("-") in error


def test_missing_flags(directory):
    failure_of("generate", "--base_model", directory, rc=2)
    failure_of("generate", "--prompt", "x", rc=2)
