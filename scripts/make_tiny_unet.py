#!/usr/bin/env python3
"""Write a small random UNet2DConditionModel (a diffusers component directory) for tests: one kind each.

    make_tiny_unet.py OUT_DIR --variant NAME [--dtype float32|bfloat16|float16] [--shards] [--fp16_variant]

Values are large enough that every part matters: norm weights differ from 1, biases from 0, attention is not
uniform; no norm has one channel alone to a group (the gradients before it would be nothing but rounding). Each value is exact in BF16 and in F16, so the dtypes of a variant hold the same model. Numbers of heads
and head sizes differ, so that one cannot be taken for the other. config.json holds the variant's keys alone: what
it leaves out takes diffusers' defaults.
"""

import argparse
import json
from pathlib import Path

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SMALLEST = 2.0**-14  # F16's smallest normal number
SHARD_SIZE = "400KB"

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, PLAIN_UP = "CrossAttnUpBlock2D", "UpBlock2D"

# As sparse as the files of 2022 are.
SD15 = {
    "act_fn": "silu",
    "attention_head_dim": 4,
    "block_out_channels": [32, 64, 64],
    "center_input_sample": False,
    "cross_attention_dim": 24,
    "down_block_types": [CROSS, CROSS, PLAIN],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 8,
    "out_channels": 4,
    "sample_size": 8,
    "up_block_types": [PLAIN_UP, CROSS_UP, CROSS_UP],
}
SD21 = SD15 | {
    "attention_head_dim": [2, 4, 6],
    "block_out_channels": [32, 64, 96],
    "cross_attention_dim": 40,
    "dual_cross_attention": False,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "upcast_attention": True,
    "use_linear_projection": True,
}
SDXL = {
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 8,
    "attention_head_dim": [2, 4, 8],
    "block_out_channels": [32, 32, 64],
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_dim": 48,
    "cross_attention_norm": None,
    "down_block_types": [PLAIN, CROSS, CROSS],
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 8,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 68,  # 6 time_ids and a pooled text of 20
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "sample_size": 8,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": [1, 2, 3],
    "up_block_types": [CROSS_UP, CROSS_UP, PLAIN_UP],
    "upcast_attention": None,
    "use_linear_projection": True,
}
SMALL = SD15 | {
    "block_out_channels": [32, 32],
    "down_block_types": [CROSS, PLAIN],
    "layers_per_block": 1,
    "up_block_types": [PLAIN_UP, CROSS_UP],
}
# Every number that is allowed to differ from its default does.
ODD = SMALL | {
    "attention_head_dim": [2, 8],
    "center_input_sample": True,
    "cross_attention_dim": [24, 24],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 9,
    "layers_per_block": [1, 2],
    "mid_block_scale_factor": 1.5,
    "norm_eps": 0.03,
    "norm_num_groups": 4,
    "only_cross_attention": [False, False],
    "out_channels": 3,
    "sample_size": [8, 6],
}
# No key that has a default of a bearable size; two channels for each of 32 groups.
DEFAULTS = {
    "block_out_channels": [64, 64],
    "cross_attention_dim": 24,
    "down_block_types": SMALL["down_block_types"],
    "up_block_types": SMALL["up_block_types"],
}
VARIANTS = {
    "sd15": SD15,
    "sd21": SD21,
    "sdxl": SDXL,
    "odd": ODD,
    "defaults": DEFAULTS,
    "nested_layers": SMALL
    | {
        "down_block_types": [CROSS, CROSS],
        "layers_per_block": 2,
        "reverse_transformer_layers_per_block": [[2, 1, 3], 1],
        "transformer_layers_per_block": [[1, 2], [3, 1]],
        "up_block_types": [CROSS_UP, CROSS_UP],
    },
    "class_table": SMALL | {"num_class_embeds": 5},
    "class_timestep": SMALL | {"class_embed_type": "timestep"},
    "class_projection": SMALL
    | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 12},
}


def random_value(name: str, parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A value that BF16 and F16 can hold: the smaller mantissa of the one, the smaller range of the other."""
    value = torch.randn(parameter.shape, generator=generator)
    if parameter.dim() > 1:
        value = value / parameter[0].numel() ** 0.5
    elif "norm" in name and name.endswith("weight"):
        value = 1 + 0.3 * value
    else:
        value = 0.2 * value
    value = value.bfloat16().float()
    return torch.where(value.abs() < SMALLEST, 0.0, value)


def make_tiny_unet(
    out: Path,
    variant: str = "sd15",
    dtype: str = "float32",
    shards: bool = False,
    fp16_variant: bool = False,
    changes: dict | None = None,
) -> None:
    """`changes`: of the variant's config. `fp16_variant`: as diffusers names a file of half precision."""
    from diffusers import UNet2DConditionModel

    config = VARIANTS[variant] | (changes or {})
    model = UNet2DConditionModel.from_config(config)
    generator = torch.Generator().manual_seed(list(VARIANTS).index(variant))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(random_value(name, parameter, generator))
    if dtype != "float32":
        model.to(DTYPES[dtype])
    model.save_pretrained(
        out,
        variant="fp16" if fp16_variant else None,
        max_shard_size=SHARD_SIZE if shards else "10GB",
    )
    heads = {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0"}
    (out / "config.json").write_text(json.dumps(heads | config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--variant", choices=VARIANTS, default="sd15")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--shards", action="store_true", help="several files and an index")
    parser.add_argument("--fp16_variant", action="store_true", help="*.fp16.safetensors")
    args = parser.parse_args()
    make_tiny_unet(args.out, args.variant, args.dtype, args.shards, args.fp16_variant)


if __name__ == "__main__":
    main()
