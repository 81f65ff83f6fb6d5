#!/usr/bin/env python3
"""Print the token ids of tests/data/conversations_test.cpp: transformers' apply_chat_template on a few conversations.

    make_chat_ids.py [CHECKPOINT_DIR]        (default: assets/tiny-llama)

The template is that of meta-llama/Llama-2-7b-chat-hf. Its text is tokenised by transformers' LlamaTokenizer with
legacy=True, which puts a space in front of each "[INST]" as Meta's own code does (generation.py of the Llama 2
release encodes each exchange on its own); that the two agree is checked with sentencepiece.
"""

import sys
from pathlib import Path

import sentencepiece
import transformers

LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)

CONVERSATIONS = {
    "one exchange, with spaces that are stripped": [
        ("user", " \u2003Say hi.\n"),
        ("assistant", "\tHi!\u00a0"),
    ],
    "a system message and two exchanges": [
        ("system", " You are kind. "),
        ("user", "\nSay hi."),
        ("assistant", "Hi!"),
        ("user", "Again?"),
        ("assistant", "Hi\nagain, café"),
    ],
    "a question without an answer, an empty answer": [
        ("user", "A?"),
        ("assistant", ""),
        ("user", "B?"),
    ],
}


def main():
    root = Path(__file__).resolve().parent.parent
    directory = sys.argv[1] if len(sys.argv) > 1 else str(root / "assets/tiny-llama")
    tokenizer = transformers.LlamaTokenizer.from_pretrained(directory, legacy=True)
    processor = sentencepiece.SentencePieceProcessor(model_file=directory + "/tokenizer.model")
    print(f"transformers {transformers.__version__}, sentencepiece {sentencepiece.__version__}")
    for name, turns in CONVERSATIONS.items():
        messages = [{"role": role, "content": content} for role, content in turns]
        text = tokenizer.apply_chat_template(messages, chat_template=LLAMA_2, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        metas = []
        for exchange in text.split("<s>")[1:]:
            metas += [1, *processor.encode(exchange.removesuffix("</s>"))]
            metas += [2] if exchange.endswith("</s>") else []
        assert ids == metas, "transformers and sentencepiece disagree"
        print(f"\n{name}\n{text!r}\n{ids}")


if __name__ == "__main__":
    main()
