#!/usr/bin/env python3
"""Write a small random LLaMA checkpoint (HuggingFace directory) for tests: one variant of the architecture each.

    make_tiny_llama.py OUT_DIR --variant NAME [--dtype float32|bfloat16|float16] [--shards N]
                       [--tokenizer llama2|collapse|nfkc|none] [--seed 0]

Values are large enough that every part matters: norm weights differ from 1, biases from 0, attention is far from
uniform. Each value is exact in BF16 and in F16, so the three dtypes of a variant hold the same model. Variants of
one shape share their values (the names are seeds), so that `spelling_old` and `spelling_new` are the same model.
The same flags give the same bytes.
"""

import argparse
import hashlib
import io
import json
import random
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

FIRST_TEXT_ID = 259  # after unk, bos, eos and the 256 byte pieces
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# The common config.json, in the spelling of the years of LLaMA 2.
BASE = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 112,
    "max_position_embeddings": 512,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.31.0",
    "use_cache": True,
    "vocab_size": 384,
}
DROP = object()  # marks a key that the variant's config.json does not have

# With head size 16 the wave lengths are 6, 32, 167, ...: one is kept, one smoothed, the rest divided by the factor.
LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}
NEW_SPELLING = {
    "rope_scaling": DROP,
    "rope_theta": DROP,
    "torch_dtype": DROP,
    "transformers_version": "5.23.0",
}

# What each variant changes in BASE; see also `make_weights` for the checkpoints' own peculiarities.
VARIANTS: dict[str, dict] = {
    # the files of 2023: no key/value heads, no rope keys, rotary tables stored as tensors
    "llama1": {
        "num_key_value_heads": DROP,
        "pretraining_tp": DROP,
        "rope_scaling": DROP,
        "rope_theta": DROP,
        "rms_norm_eps": 1e-6,
        "max_sequence_length": 512,
        "pad_token_id": 0,
        "transformers_version": "4.28.0.dev0",
    },
    "llama2": {"attention_bias": False},
    "llama3": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "eos_token_id": [2, 5],
        "mlp_bias": False,
        "rope_scaling": LLAMA3_ROPE,
        "rope_theta": 500000.0,
        "transformers_version": "4.43.0.dev0",
    },
    "tied": {"tie_word_embeddings": True},
    "untied": {},
    "attention_bias": {"attention_bias": True},
    "mlp_bias": {"mlp_bias": True},
    "head_dim": {"head_dim": 24},
    "rms_norm_eps": {"rms_norm_eps": 1e-3},  # with small activations
    "spelling_old": {
        "attention_bias": False,
        "head_dim": 16,
        "mlp_bias": False,
        "rope_scaling": LLAMA3_ROPE,
        "rope_theta": 500000.0,
    },
    "spelling_new": {
        "attention_bias": False,
        "head_dim": 16,
        "mlp_bias": False,
        **NEW_SPELLING,
        "dtype": "float32",
        "rope_parameters": {**LLAMA3_ROPE, "rope_theta": 500000.0},
    },
    "rope_default": {
        **NEW_SPELLING,
        "dtype": "float32",
        "rope_parameters": {"rope_theta": 3000.0, "rope_type": "default"},
    },
    "rope_linear": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    # 40 tokens are longer than the context
    "rope_dynamic": {"max_position_embeddings": 16, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "rope_yarn": {
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
    },
    "mistral": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "pretraining_tp": DROP,
        "sliding_window": 7,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "max_window_layers": 28,
        "model_type": "qwen2",
        "pretraining_tp": DROP,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
    },
    # the last layer sees a window
    "qwen2_sliding": {
        "architectures": ["Qwen2ForCausalLM"],
        "max_window_layers": 1,
        "model_type": "qwen2",
        "pretraining_tp": DROP,
        "sliding_window": 9,
        "use_sliding_window": True,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "head_dim": 24,
        "model_type": "qwen3",
        "pretraining_tp": DROP,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 16.0,
            "attention_factor": 1.2,
        },
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
    },
}

TOKENIZER_TEXT = """
The small boat left the harbour before the sun was up, and nobody on the shore saw it go.
A baker, two sisters and their grey dog lived in the house by the mill; they had bread, but no butter.
"Where do the rivers end?" asked the child. "In the sea," said the old man, "and then they begin again."
In 1984 the clock of the town hall stopped at 12:30, and for 27 days it was always noon.
Every morning she counted the stairs: ten, eleven, twelve; and every evening there was one more.
What we know of the weather we know from the birds, and what they know they do not tell.
He wrote the letter three times, tore it up three times, and went to see her instead.
It's not the wind that's cold, it's the waiting; don't stand there, come in and shut the door!
Rain fell on the tents, on the wagons, on the sleeping horses and on the road that led away from there.
If x = 3 and y = x + 4, then x * y = 21; the teacher wiped the board and began again (nobody had listened).
Caf\u00e9 tables stood in the street, and the waiter, na\u00efve and young, carried \u00fcber-large cups of tea.
"""

# How the tokenizers treat white space and characters: LLaMA-2's, llama2.c's tok512, and sentencepiece's own default.
NORMALIZERS = {
    "llama2": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "collapse": {"normalization_rule_name": "identity", "remove_extra_whitespaces": True},
    "nfkc": {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
}


def make_config(variant: str, dtype: str) -> dict:
    config = {key: value for key, value in (BASE | VARIANTS[variant]).items() if value is not DROP}
    config["dtype" if "dtype" in config else "torch_dtype"] = dtype
    return dict(sorted(config.items()))


def exact(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rounds to multiples of 2^-20 with 8 significant bits, which BF16 and F16 both hold, then casts."""
    return (values.to(torch.bfloat16).double() * 2**20).round().div(2**20).to(dtype)


def make_weights(
    variant: str, config: dict, dtype: torch.dtype, seed: int
) -> dict[str, torch.Tensor]:
    hidden, inner, heads = (
        config["hidden_size"],
        config["intermediate_size"],
        config["num_attention_heads"],
    )
    head_dim = config.get("head_dim", hidden // heads)
    queries, keys = heads * head_dim, config.get("num_key_value_heads", heads) * head_dim
    scale = 0.03 if variant == "rms_norm_eps" else 1.0
    embedding_std = (
        0.25 if config["tie_word_embeddings"] else scale
    )  # as a head, too, it gives usual logits
    weights = {}

    def draw(name: str, *shape: int, mean: float = 0.0, std: float) -> None:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        weights[name] = exact(torch.randn(shape, generator=generator) * std + mean, dtype)

    def norm(name: str, width: int = hidden) -> None:
        draw(name + ".weight", width, mean=1.0, std=0.25)

    def linear(name: str, rows: int, columns: int, bias: bool = False, gain: float = 1.0) -> None:
        draw(name + ".weight", rows, columns, std=gain / columns**0.5)
        if bias:
            draw(name + ".bias", rows, std=0.3)

    draw("model.embed_tokens.weight", config["vocab_size"], hidden, std=embedding_std)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        output_bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
        attention_bias = output_bias or config["model_type"] == "qwen2"
        norm(prefix + "input_layernorm")
        linear(prefix + "self_attn.q_proj", queries, hidden, attention_bias, gain=1.5)
        linear(prefix + "self_attn.k_proj", keys, hidden, attention_bias, gain=1.5)
        linear(prefix + "self_attn.v_proj", keys, hidden, attention_bias)
        linear(prefix + "self_attn.o_proj", hidden, queries, output_bias, gain=scale)
        if config["model_type"] == "qwen3":
            norm(prefix + "self_attn.q_norm", head_dim)
            norm(prefix + "self_attn.k_norm", head_dim)
        norm(prefix + "post_attention_layernorm")
        linear(prefix + "mlp.gate_proj", inner, hidden, mlp_bias, gain=1.5)
        linear(prefix + "mlp.up_proj", inner, hidden, mlp_bias)
        linear(prefix + "mlp.down_proj", hidden, inner, mlp_bias, gain=2.0 * scale)
        if (
            variant == "llama1"
        ):  # conversions of that time stored the rotary table; readers ignore it
            weights[prefix + "self_attn.rotary_emb.inv_freq"] = 10000.0 ** (
                -torch.arange(0, head_dim, 2) / head_dim
            )
    norm("model.norm")
    if not config["tie_word_embeddings"]:
        linear("lm_head", config["vocab_size"], hidden, gain=2.0)
        weights["lm_head.weight"][
            :FIRST_TEXT_ID
        ] /= 4  # exact; greedy text is then text, and rarely ends
    return weights


def split(weights: dict[str, torch.Tensor], shards: int) -> list[dict[str, torch.Tensor]]:
    """Cuts the tensors, in their order, into shards of about equal bytes; each has at least one tensor."""
    total = sum(w.nbytes for w in weights.values())
    parts: list[dict[str, torch.Tensor]] = [{}]
    done = 0
    for left, (name, tensor) in zip(range(len(weights), 0, -1), weights.items()):
        missing = shards - len(parts)
        if parts[-1] and missing and (done >= total * len(parts) / shards or left <= missing):
            parts.append({})
        parts[-1][name] = tensor
        done += tensor.nbytes
    return parts


def save_weights(out: Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    for stale in out.glob("model*.safetensors*"):
        stale.unlink()
    if shards == 1:
        save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for number, part in enumerate(split(weights, shards), start=1):
        file = f"model-{number:05d}-of-{shards:05d}.safetensors"
        save_file(part, out / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(w.nbytes for w in weights.values())
    write_json(
        out / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )


def train_tokenizer(kind: str, vocab_size: int) -> bytes:
    """A BPE tokenizer.model with byte pieces and the ids of LLaMA (0 unk, 1 bos, 2 eos, no pad)."""
    words = TOKENIZER_TEXT.split()
    rng = random.Random(
        0
    )  # the text alone is too short for some settings: add it again in other orders
    shuffled = [" ".join(rng.sample(words, 12)) for _ in range(200)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TOKENIZER_TEXT.strip().split("\n") + shuffled),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=True,
        allow_whitespace_only_pieces=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
        **NORMALIZERS[kind],
    )
    return model.getvalue()


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def make_tiny_llama(
    out: Path,
    variant: str,
    dtype: str = "float32",
    shards: int = 1,
    tokenizer: str = "llama2",
    add_eos_token: bool = False,
    seed: int = 0,
) -> None:
    """Writes the directory; what `main` does with its arguments."""
    out.mkdir(parents=True, exist_ok=True)
    config = make_config(variant, dtype)
    write_json(out / "config.json", config)
    write_json(
        out / "generation_config.json",
        {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": config["eos_token_id"]},
    )
    save_weights(out, make_weights(variant, config, DTYPES[dtype], seed), shards)
    if tokenizer != "none":
        (out / "tokenizer.model").write_bytes(train_tokenizer(tokenizer, config["vocab_size"]))
        write_json(
            out / "tokenizer_config.json",
            {
                "add_bos_token": True,
                "add_eos_token": add_eos_token,
                "bos_token": "<s>",
                "clean_up_tokenization_spaces": False,
                "eos_token": "</s>",
                "legacy": True,
                "model_max_length": config["max_position_embeddings"],
                "pad_token": None,
                "sp_model_kwargs": {},
                "tokenizer_class": "LlamaTokenizer",
                "unk_token": "<unk>",
            },
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--variant", choices=VARIANTS, required=True)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="number of weight files")
    parser.add_argument(
        "--tokenizer",
        choices=[*NORMALIZERS, "none"],
        default="llama2",
        help="kind of tokenizer.model: llama2 keeps white space, collapse and nfkc do not",
    )
    parser.add_argument(
        "--add_eos_token", action="store_true", help="tokenizer_config.json asks for an EOS"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 1 <= args.shards <= 20:
        parser.error("--shards must be from 1 to 20")
    make_tiny_llama(
        args.out,
        args.variant,
        args.dtype,
        args.shards,
        args.tokenizer,
        args.add_eos_token,
        args.seed,
    )


if __name__ == "__main__":
    main()
