"""Chat templates: the ids are those of transformers' apply_chat_template, and the assistant's turns alone carry loss."""

import json
import random
import subprocess

import pytest
import transformers
from conftest import BUILD_DIR
from tokenizer_kinds import SPACES, WORDS, make_tokenizer, special

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


@pytest.mark.parametrize("template", TEMPLATES)
def test_ids_equal_those_of_transformers(template, tmp_path):
    text, kind, bos, eos, tokens = TEMPLATES[template]
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
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        strips = template in ("llama-2", "llama-3")
        for answer, content in zip(answers_of(tokenizer, chat), said, strict=True):
            assert answer.endswith(eos)
            answer, content = answer.removesuffix(eos), content.strip() if strips else content
            # What the tokenizer itself does to a text is not the template's affair.
            plain = tokenizer.decode(tokenizer(content, add_special_tokens=False)["input_ids"])
            assert answer.strip() == plain.strip()
