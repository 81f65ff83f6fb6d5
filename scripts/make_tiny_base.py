#!/usr/bin/env python3
r"""Make the *untrained* base model of the demo: a LLaMA-shaped HuggingFace directory of 1-2 M parameters.

    make_tiny_base.py TEXT OUT_DIR [--vocab_size 1024 --hidden_size 160 ... --seed 0]

Trains a sentencepiece tokenizer on TEXT with LLaMA-2's settings (BPE, byte fallback, split digits, identity
normaliser, no whitespace removed, so that decode(encode(x)) == x) and writes random BF16 weights: normal with
deviation 0.02, the projections into the residual stream divided by sqrt(2 * layers), norms 1. The same text, flags
and seed give the same bytes. `shira train` with `adapter: full` does the rest.

Unlike LLaMA-2's, the tokenizer is trained on text with its newlines in it: words that begin a paragraph ("Once")
and ends of sentences (".\n\n") get pieces of their own instead of single letters and byte pieces.
"""

import argparse
import io
import json
import math
import string
import sys
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

LINES_A_PASSAGE = 40  # what sentencepiece sees as one sentence; newlines at its seams are not seen


def train_tokenizer(text: str, vocab_size: int) -> bytes:
    """The bytes of tokenizer.model; free of paths, so that they depend on the text and the size alone."""
    # Lines with other alphabets or broken encodings are left to the byte pieces: 1024 pieces have no room for them.
    lines = [line for line in text.split("\n") if line.isascii()]
    passages = [
        "\n".join(lines[i : i + LINES_A_PASSAGE]) for i in range(0, len(lines), LINES_A_PASSAGE)
    ]
    if not "".join(passages).strip():
        sys.exit("make_tiny_base: the text has no line of plain ASCII to train the tokenizer on")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(passages),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=1.0,
        required_chars=string.digits + string.ascii_letters + string.punctuation,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        max_sentence_length=1 << 20,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def make_weights(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(args.seed)
    head_dim = args.hidden_size // args.num_attention_heads
    residual_std = args.init_std / math.sqrt(2 * args.num_hidden_layers)

    def normal(rows: int, columns: int, std: float) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=generator) * std).to(torch.bfloat16)

    def ones() -> torch.Tensor:
        return torch.ones(args.hidden_size, dtype=torch.bfloat16)

    hidden, inner = args.hidden_size, args.intermediate_size
    queries, keys = args.num_attention_heads * head_dim, args.num_key_value_heads * head_dim
    weights = {"model.embed_tokens.weight": normal(args.vocab_size, hidden, args.init_std)}
    for layer in range(args.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        weights[prefix + "input_layernorm.weight"] = ones()
        weights[prefix + "self_attn.q_proj.weight"] = normal(queries, hidden, args.init_std)
        weights[prefix + "self_attn.k_proj.weight"] = normal(keys, hidden, args.init_std)
        weights[prefix + "self_attn.v_proj.weight"] = normal(keys, hidden, args.init_std)
        weights[prefix + "self_attn.o_proj.weight"] = normal(hidden, queries, residual_std)
        weights[prefix + "post_attention_layernorm.weight"] = ones()
        weights[prefix + "mlp.gate_proj.weight"] = normal(inner, hidden, args.init_std)
        weights[prefix + "mlp.up_proj.weight"] = normal(inner, hidden, args.init_std)
        weights[prefix + "mlp.down_proj.weight"] = normal(hidden, inner, residual_std)
    weights["model.norm.weight"] = ones()
    return weights


def make_config(args: argparse.Namespace) -> dict:
    """config.json in the older spelling (rope_theta, torch_dtype), which every version of transformers reads."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": args.hidden_size,
        "initializer_range": args.init_std,
        "intermediate_size": args.intermediate_size,
        "max_position_embeddings": args.max_position_embeddings,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": args.num_attention_heads,
        "num_hidden_layers": args.num_hidden_layers,
        "num_key_value_heads": args.num_key_value_heads,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": args.vocab_size,
    }


def tokenizer_config(args: argparse.Namespace) -> dict:
    return {
        "add_bos_token": False,  # pretraining texts are cut into windows: the model never saw one
        "add_eos_token": False,
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": False,
        "model_max_length": args.max_position_embeddings,
        "pad_token": None,
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
    }


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "text", type=Path, metavar="TEXT", help="UTF-8 text to train the tokenizer on"
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--vocab_size", type=int, default=1024)
    parser.add_argument("--hidden_size", type=int, default=160)
    parser.add_argument("--intermediate_size", type=int, default=432)
    parser.add_argument("--num_hidden_layers", type=int, default=5)
    parser.add_argument("--num_attention_heads", type=int, default=8)
    parser.add_argument("--num_key_value_heads", type=int, default=4)
    parser.add_argument("--max_position_embeddings", type=int, default=512)
    parser.add_argument("--init_std", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if (
        args.hidden_size % args.num_attention_heads
        or args.num_attention_heads % args.num_key_value_heads
    ):
        parser.error("heads must divide the hidden size, and key/value heads must divide the heads")
    if not args.text.is_file():
        parser.error(f"no such file: {args.text}")
    return args


def main() -> None:
    args = parse_arguments()
    text = args.text.read_text(encoding="utf-8")
    model = train_tokenizer(text, args.vocab_size)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = tokenizer.encode(text)
    if tokenizer.decode(ids) != text:
        sys.exit(
            "make_tiny_base: decode(encode(text)) differs from the text (does it contain U+2581?)"
        )

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "tokenizer.model").write_bytes(model)
    weights = make_weights(args)
    save_file(weights, args.out / "model.safetensors", metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(
        0o644
    )  # safetensors makes it readable for the owner alone
    write_json(args.out / "config.json", make_config(args))
    write_json(args.out / "tokenizer_config.json", tokenizer_config(args))
    write_json(args.out / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})

    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(
        f"{args.out}: {sum(w.numel() for w in weights.values()):,} parameters, {size / 1e6:.2f} MB"
    )
    print(
        f"text: {len(text):,} characters, {len(ids):,} tokens ({len(text) / len(ids):.2f} characters a token)"
    )


if __name__ == "__main__":
    main()
