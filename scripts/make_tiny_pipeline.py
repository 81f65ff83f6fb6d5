#!/usr/bin/env python3
"""Write a small random diffusers pipeline (Stable Diffusion 1 or XL) for tests.

    make_tiny_pipeline.py OUT_DIR --variant sd15|sd21|sdxl [--dtype float32|bfloat16|float16]

Its UNet is make_tiny_unet.py's; text encoders, autoencoder and a CLIP tokenizer of 330 pieces are made to fit.
"""

import argparse
import json
from pathlib import Path

import torch
from make_tiny_unet import DTYPES, make_tiny_unet

WORDS = "a red blue green circle square star on the left right white black photo of cat dog".split()
SCHEDULERS = {
    "sd15": ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    "sd21": ("DDIMScheduler", {"prediction_type": "v_prediction", "steps_offset": 1, "clip_sample": False}),
    "sdxl": ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}),
}
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [256 + i for i in range(256 - len(plain))]
    return [chr(code) for code in plain + others]


def make_tokenizer(directory: Path, pad: str = "<|endoftext|>", length: int = 77) -> int:
    """Writes vocab.json and merges.txt of a CLIP tokenizer that knows WORDS; the vocabulary's size."""
    alphabet = byte_alphabet()
    pieces = alphabet + [letter + "</w>" for letter in alphabet]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merge = f"{parts[0]} {parts[1]}"
            if merge not in merges:
                merges.append(merge)
                pieces.append(parts[0] + parts[1])
            parts[:2] = [parts[0] + parts[1]]
    pieces = list(dict.fromkeys(pieces)) + ["<|startoftext|>", "<|endoftext|>"]
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (directory / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": length,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(pieces)


def make_text_encoder(directory: Path, vocabulary: int, width: int, second: bool, seed: int):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=width,
        hidden_act="gelu" if second else "quick_gelu",
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0 if second else vocabulary - 1,
    )
    kind = CLIPTextModelWithProjection if second else CLIPTextModel
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def make_vae(seed: int):
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 16],
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.5,
    )


def make_pipeline(directory: Path, variant: str, dtype: str = "float32") -> None:
    """Computes and writes the directory."""
    make_tiny_unet(directory / "unet", variant, dtype)
    path = directory / "unet" / "config.json"
    unet = json.loads(path.read_text())
    unet["_diffusers_version"] = "0.42.0"  # of an old one diffusers takes no sample_size below 64
    path.write_text(json.dumps(unet, indent=2) + "\n")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.0"}
    vocabulary = make_tokenizer(directory / "tokenizer")
    widths = [unet["cross_attention_dim"]]
    if variant == "sdxl":
        index["_class_name"] = "StableDiffusionXLPipeline"
        index["force_zeros_for_empty_prompt"] = True
        pooled = unet["projection_class_embeddings_input_dim"] - 6 * unet["addition_time_embed_dim"]
        widths = [unet["cross_attention_dim"] - pooled, pooled]
    for i, width in enumerate(widths):
        name = "text_encoder" + ("_2" if i else "")
        model = make_text_encoder(directory / name, vocabulary, width, i == 1, seed=i)
        model.to(DTYPES[dtype]).save_pretrained(directory / name)
        kind = "CLIPTextModelWithProjection" if i else "CLIPTextModel"
        index[name] = ["transformers", kind]
        index["tokenizer" + ("_2" if i else "")] = ["transformers", "CLIPTokenizer"]
    if variant == "sdxl":
        make_tokenizer(directory / "tokenizer_2", pad="!")
    make_vae(seed=2).to(DTYPES[dtype]).save_pretrained(directory / "vae")
    name, settings = SCHEDULERS[variant]
    (directory / "scheduler").mkdir()
    (directory / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"_class_name": name, "num_train_timesteps": 1000} | NOISE | settings)
    )
    index |= {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", name],
    }
    if variant != "sdxl":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    (directory / "model_index.json").write_text(json.dumps(index, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--variant", choices=sorted(SCHEDULERS), required=True)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    args = parser.parse_args()
    make_pipeline(args.out, args.variant, args.dtype)


if __name__ == "__main__":
    main()
