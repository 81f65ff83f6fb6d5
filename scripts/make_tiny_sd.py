#!/usr/bin/env python3
"""Write the pipeline that assets/tiny-sd is trained from: a diffusers StableDiffusionPipeline directory.

    make_tiny_sd.py OUT_DIR [--vae DIR] [--vae_steps 4500] [--threads 1] [--seed 0]

The VAE (64x64x3 -> 16x16x4) is trained here on our rendered pictures in all styles and with all objects, the
tokenizer on the captions' grammar; text encoder and UNet are random: `shira train` with `adapter: full` and
`train_text_encoder: true` trains them. `--vae DIR` takes a trained VAE instead. Weights are stored in F16.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from shape_pictures import OBJECTS, SHAPES, STYLES, random_caption, random_scene, render
from transformers import CLIPTextConfig, CLIPTextModel

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 24

# ------------------------------------------------------------------------------------------- VAE

VAE = {
    "block_out_channels": (24, 32, 48),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 64,
}


def draw_pictures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of all styles, shapes and objects, U8 (count, 3, 64, 64), and their shapes' centres, (count, 2)."""
    rng = random.Random(seed)
    scenes = [random_scene(rng, rng.choice(STYLES), SHAPES + OBJECTS) for _ in range(count)]
    pictures = torch.from_numpy(np.stack([np.asarray(render(scene)) for scene in scenes]))
    centres = torch.tensor([[round(scene.y), round(scene.x)] for scene in scenes])
    return pictures.movedim(3, 1), centres


def to_unit(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.float() / 127.5 - 1


def crops_at(pictures: torch.Tensor, centres: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """32x32 pixels around the shapes, which fill little of a whole picture."""
    shift = torch.randint(-6, 7, centres.shape, generator=generator)
    corners = (centres + shift - 16).clamp(0, 32).tolist()
    return torch.stack([p[:, y : y + 32, x : x + 32] for p, (y, x) in zip(pictures, corners)])


def vae_loss(vae: AutoencoderKL, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """L1 of pixels and of their differences to the neighbours, and a KL term that keeps the latents smooth."""
    posterior = vae.encode(pictures).latent_dist
    output = vae.decode(posterior.sample(generator)).sample
    edges = sum(F.l1_loss(output.diff(dim=axis), pictures.diff(dim=axis)) for axis in (2, 3))
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return F.l1_loss(output, pictures) + F.mse_loss(output, pictures) + 0.5 * edges + 1e-3 * kl


def train_vae(steps: int, seed: int) -> AutoencoderKL:
    """Two thirds of the steps on 16 crops each, which cost half of a step on 8 whole pictures."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(**VAE)
    generator = torch.Generator().manual_seed(seed)
    pictures, centres = draw_pictures(12000, seed)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    start = time.monotonic()
    for step in range(1, steps + 1):
        whole = step > steps * 2 // 3
        rows = torch.randint(len(pictures), (8 if whole else 16,), generator=generator)
        batch = pictures[rows] if whole else crops_at(pictures[rows], centres[rows], generator)
        loss = vae_loss(vae, to_unit(batch), generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"VAE step {step}: loss {loss.item():.4f}, {time.monotonic() - start:.0f} s", flush=True)
    return vae


@torch.no_grad()
def finish_vae(vae: AutoencoderKL, seed: int) -> AutoencoderKL:
    """Rounds the weights to F16, sets the scaling factor to 1 / std of the latents, prints the errors."""
    vae = vae.half().float().eval()
    pictures, _ = draw_pictures(500, seed + 1)
    means = torch.cat([vae.encode(to_unit(part)).latent_dist.mean for part in pictures.split(100)])
    vae.register_to_config(scaling_factor=round(1 / means.std().item(), 5))
    output = torch.cat([vae.decode(part).sample for part in means.split(100)])
    error = (output.clamp(-1, 1) - to_unit(pictures)) * 127.5
    print(f"VAE: {count_parameters(vae)} parameters, scaling_factor {vae.config.scaling_factor}")
    print(f"VAE: mean absolute error {error.abs().mean():.2f} / 255, PSNR {psnr(error):.1f} dB", flush=True)
    return vae


def load_vae(folder: Path) -> AutoencoderKL:
    loaded = AutoencoderKL.from_pretrained(folder)
    vae = AutoencoderKL(**VAE, scaling_factor=loaded.config.scaling_factor)
    vae.load_state_dict(loaded.state_dict())
    return vae


def psnr(error: torch.Tensor) -> float:
    return 20 * np.log10(255 / error.square().mean().sqrt().item())


# ------------------------------------------------------------------------- tokenizer and the rest


def write_tokenizer(out: Path, seed: int) -> int:
    """CLIP's vocab.json and merges.txt, merges learned from captions; returns the size of the vocabulary."""
    rng = random.Random(seed)
    captions = [random_caption(rng, random_scene(rng, shapes=SHAPES + OBJECTS)) for _ in range(20000)]
    model = tokenizers.Tokenizer(
        tokenizers.models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=EOS)
    )
    model.normalizer = tokenizers.normalizers.Lowercase()
    model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\s+"), "removed"),
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "isolated"),
        ]
    )
    model.train_from_iterator(captions, tokenizers.trainers.BpeTrainer(vocab_size=4096, end_of_word_suffix="</w>"))
    merges = [tuple(merge) for merge in json.loads(model.to_str())["model"]["merges"]]
    letters = [alphabet_of(byte) for byte in range(256)]
    pieces = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    pieces = list(dict.fromkeys(pieces)) + [BOS, EOS]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    (out / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8"
    )
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": EOS, "unk_token": EOS}
    write_json(out / "special_tokens_map.json", special)
    settings = {"do_lower_case": True, "errors": "replace", "model_max_length": CONTEXT}
    write_json(out / "tokenizer_config.json", settings | special | {"tokenizer_class": "CLIPTokenizer"})
    return len(pieces)


def alphabet_of(byte: int) -> str:
    """GPT-2's printable character of a byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    return chr(byte if byte in printable else 256 + others.index(byte))


def make_text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CONTEXT,
            projection_dim=128,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(48, 64, 96),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,  # the number of heads
        cross_attention_dim=128,
        norm_num_groups=16,
    )


def make_scheduler() -> DDIMScheduler:
    """DDPM's noise. SD's own ends where 256 latents still show the background and mostly the place: only 14 % of its
    noise levels leave the place to the caption, 38 % of these."""
    return DDIMScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def write_pipeline(out: Path, vae: AutoencoderKL, seed: int) -> None:
    vocabulary = write_tokenizer(out / "tokenizer", seed)
    torch.manual_seed(seed)
    models = {"text_encoder": make_text_encoder(vocabulary), "unet": make_unet(), "vae": vae}
    for name, model in models.items():
        print(f"{name}: {count_parameters(model)} parameters")
        model.half().save_pretrained(out / name)
    # diffusers loads UNet and VAE in float32 unless told; transformers follows this key.
    config = out / "text_encoder" / "config.json"
    write_json(config, json.loads(config.read_text(encoding="utf-8")) | {"dtype": "float32"})
    make_scheduler().save_pretrained(out / "scheduler")
    parts = {
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    nothing = {"feature_extractor": [None, None], "safety_checker": [None, None]}
    index = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False}
    write_json(out / "model_index.json", index | parts | nothing)


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--vae", type=Path, metavar="DIR", help="a trained VAE, to train none")
    parser.add_argument("--vae_steps", type=int, default=4500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.vae:
        vae = load_vae(args.vae)
    else:
        vae = finish_vae(train_vae(args.vae_steps, args.seed), args.seed)
    write_pipeline(args.out, vae, args.seed)


if __name__ == "__main__":
    main()
