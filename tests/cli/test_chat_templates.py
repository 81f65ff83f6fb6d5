"""Chat templates: the ids are those of transformers' apply_chat_template, and the assistant's turns alone carry loss."""

import json
import random
import subprocess

import pytest
import transformers
from conftest import BUILD_DIR, checkpoint, failure_of, run_json
from tokenizer_kinds import SPACES, WORDS, make_tokenizer, random_texts, save_tokenizer, special, train_tokenizer
from train_helpers import write_config, write_records

TAKES_TURNS = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}"
)
LLAMA_2 = TAKES_TURNS + (
    "{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. "
    "You are a helpful assistant.<|im_end|>\\n' }}{% endif %}" + CHATML
)
MISTRAL = TAKES_TURNS + (
    "{{ bos_token }}{% for message in loop_messages %}{% if message['role'] == 'user' %}"
    "{% if loop.first and system_message != false %}{{ ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' [INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token}}{% endif %}{% endfor %}"
)

# template: (its text, the kind of tokenizer, BOS, EOS, special tokens)
HEADERS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEMPLATES = {
    "llama-2": (LLAMA_2, "llama2", "<s>", "</s>", []),
    "mistral": (MISTRAL, "llama2", "<s>", "</s>", []),
    "llama-3": (LLAMA_3, "llama3", "<|begin_of_text|>", "<|eot_id|>", HEADERS),
    "chatml": (CHATML, "qwen2", None, "<|im_end|>", ["<|im_start|>", "<|im_end|>"]),
    "qwen": (QWEN, "qwen2", None, "<|im_end|>", ["<|im_start|>", "<|im_end|>"]),
}


def random_text(random_):
    parts = [random_.choice(random_.choice([WORDS, WORDS, SPACES])) for _ in range(random_.randrange(0, 8))]
    return " ".join(parts) if random_.random() < 0.8 else "".join(parts)


def random_conversations(count):
    random_ = random.Random(7)
    for _ in range(count):
        roles = ["system"] * random_.randrange(2) + ["user", "assistant"] * random_.randrange(1, 4)
        if random_.random() < 0.4:
            roles.append("user")
        yield [{"role": role, "content": random_text(random_)} for role in roles]


def encode_chats(directory, template, conversations):
    lines = "".join(json.dumps({"template": template, "messages": messages}) + "\n" for messages in conversations)
    program = [str(BUILD_DIR / "bin" / "tokenize_lines"), str(directory)]
    result = subprocess.run(program, input=lines, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def answers_of(tokenizer, chat):
    """The text of each run of tokens that the assistant has to say."""
    runs, before = [], False
    for token, answer in zip(chat["ids"], chat["answers"], strict=True):
        if answer and not before:
            runs.append([])
        if answer:
            runs[-1].append(token)
        before = answer
    return [tokenizer.decode(run) for run in runs]


# Beside each template's own kind of tokenizer: those to which it matters where a text begins.
OTHER_KINDS = [("llama-2", "mistral"), ("mistral", "mistral"), ("chatml", "mistral"), ("chatml", "gpt2_with_space"), ("llama-3", "unigram")]


@pytest.mark.parametrize("template, kind", [(name, entry[1]) for name, entry in TEMPLATES.items()] + OTHER_KINDS)
def test_ids_equal_those_of_transformers(template, kind, tmp_path):
    text, own_kind, bos, eos, tokens = TEMPLATES[template]
    make_tokenizer(kind, tmp_path)
    named = {"bos_token": bos, "eos_token": eos}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **named)
    tokenizer.add_tokens([special(token) for token in tokens])
    tokenizer.save_pretrained(tmp_path)
    conversations = list(random_conversations(300))
    chats = encode_chats(tmp_path, template, conversations)
    for messages, chat in zip(conversations, chats, strict=True):
        prompt = messages[-1]["role"] == "user"
        rendered = tokenizer.apply_chat_template(
            messages, chat_template=text, add_generation_prompt=prompt, tokenize=False
        )
        assert chat["ids"] == tokenizer(rendered, add_special_tokens=False)["input_ids"], rendered
        if kind != own_kind:
            continue
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        strips = template in ("llama-2", "llama-3")
        for answer, content in zip(answers_of(tokenizer, chat), said, strict=True):
            assert answer.endswith(eos)
            answer, content = answer.removesuffix(eos), content.strip() if strips else content
            # What the tokenizer itself does to a text is not the template's affair.
            plain = tokenizer.decode(tokenizer(content, add_special_tokens=False)["input_ids"])
            assert answer.strip() == plain.strip()


# ------------------------------------------------------------------------------------ the command line


@pytest.fixture
def llama3(copy_of):
    """A model with the tokenizer.json of a small LLaMA-3; (directory, the tokenizer in transformers)."""
    directory = copy_of(checkpoint("llama3"))
    (directory / "tokenizer.model").unlink()
    tokenizer = train_tokenizer("llama3", random_texts(500, seed=1, characters=False), 340)
    tokenizer.add_tokens([special(token) for token in HEADERS])
    assert tokenizer.get_vocab_size() <= 384
    save_tokenizer("llama3", tokenizer, directory)
    named = {"bos_token": HEADERS[0], "eos_token": "<|eot_id|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(named))
    return directory, transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), **named
    )


def dry_run(directory, tmp_path, messages):
    keys = {"datasets": write_records(tmp_path, [{"messages": messages}] * 3), "base_model": str(directory)}
    keys["datasets"][0]["type"] = "messages"
    config = write_config(tmp_path / "c.yaml", **keys, chat_template="llama-3", sequence_len=256, micro_batch_size=1)
    return config, ("train", config, "--dry_run")


def test_training_on_messages(llama3, tmp_path):
    directory, tokenizer = llama3
    messages = [{"role": "user", "content": "the river?"}, {"role": "assistant", "content": " Running. "}]
    config, command = dry_run(directory, tmp_path, messages)
    sample = run_json(*command)["batch"][0]
    text = tokenizer.apply_chat_template(messages, chat_template=LLAMA_3, tokenize=False)
    assert sample["tokens"] == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert sample["trained_text"] == "Running."
    assert sample["trained_tokens"] == len(tokenizer("Running.<|eot_id|>", add_special_tokens=False)["input_ids"])
    assert run_json("train", config)["trained_parameters"] > 0


def test_a_message_of_weight_0_is_context_alone(llama3, tmp_path):
    directory, tokenizer = llama3
    messages = [
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "not this", "weight": 0},
        {"role": "user", "content": "b?"},
        {"role": "assistant", "content": "this", "weight": 1, "tool_calls": None},
        {"role": "user", "content": "c?"},
    ]
    _, command = dry_run(directory, tmp_path, messages)
    sample = run_json(*command)["batch"][0]
    text = tokenizer.apply_chat_template(messages, chat_template=LLAMA_3, tokenize=False)
    assert sample["tokens"] == len(tokenizer(text, add_special_tokens=False)["input_ids"])  # no header for an answer
    assert sample["trained_text"] == "this"


@pytest.mark.parametrize(
    "answer, says",
    [
        ({"weight": 0}, "there is nothing to learn"),
        ({"weight": 0.5}, "weight is 0.5, expected 0 or 1"),
        ({"tool_calls": [{"id": "x"}]}, "tool_calls are not supported"),
        ({"function_call": {"name": "x"}}, "function_call are not supported"),
    ],
)
def test_messages_that_cannot_be_learned(llama3, tmp_path, answer, says):
    messages = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"} | answer]
    _, command = dry_run(llama3[0], tmp_path, messages)
    assert says in failure_of(*command)


@pytest.mark.parametrize("system", [None, "be brief", ""])
def test_generate_answers_a_message(llama3, system):
    directory, tokenizer = llama3
    messages = [{"role": "system", "content": system}] * (system is not None)
    messages.append({"role": "user", "content": "the river?"})
    text = tokenizer.apply_chat_template(
        messages, chat_template=LLAMA_3, tokenize=False, add_generation_prompt=True
    )
    flags = ("--system", system) if system is not None else ()
    answer = run_json(
        "generate", "--base_model", directory, "--chat", "llama-3", "--prompt", "the river?", *flags, "--max_new_tokens", 9
    )
    assert answer["prompt_tokens"] == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert answer["finish_reason"] in ("length", "stop")


def test_a_template_whose_tokens_the_model_lacks(tmp_path):
    directory = checkpoint("llama2")
    flags = ("--base_model", directory, "--prompt", "x")
    assert "<|im_start|>" in failure_of("generate", *flags, "--chat", "chatml")
    assert "chatml, llama-2" in failure_of("generate", *flags, "--chat", "vicuna")
    failure_of("generate", *flags, "--system", "be brief", rc=2)


@pytest.mark.parametrize("missing", HEADERS)
def test_every_token_of_a_template_is_asked_for(llama3, missing):
    directory, _ = llama3
    for name in ("tokenizer.json", "tokenizer_config.json"):
        file = directory / name
        file.write_text(file.read_text().replace(missing, "<|other|>" if name == "tokenizer.json" else missing))
    error = failure_of("generate", "--base_model", directory, "--prompt", "x", "--chat", "llama-3")
    assert f"llama-3 needs the token '{missing}'" in error
