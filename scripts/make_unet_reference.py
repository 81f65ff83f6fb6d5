#!/usr/bin/env python3
"""Write a reference state: what diffusers computes for a UNet2DConditionModel, for `shira verify` to compare with.

    make_unet_reference.py UNET_DIR OUT.safetensors [--batch 2] [--size 8,8] [--tokens 7] [--timesteps 981,1]
                           [--seed 0]

The file holds random inputs (sample, timesteps, encoder_hidden_states, and as the model takes them text_embeds and
time_ids or class_labels), output, a random target, loss (the mean squared error of the two; F32, from an eager F32
forward) and grad.<parameter> for every parameter, named as in the checkpoint. The metadata names the versions of
torch and diffusers. Fails when the checkpoint's tensors are not exactly the model's.
"""

import argparse
import platform
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import save_file

TRAINED_TIMESTEPS = 1000


def load_unet(directory: Path) -> torch.nn.Module:
    """The model in F32 with eager attention; diffusers itself would only warn about wrong tensors."""
    has_full = any(directory.glob("diffusion_pytorch_model*.safetensors")) and not any(
        directory.glob("*.fp16.*")
    )
    model, info = diffusers.UNet2DConditionModel.from_pretrained(
        directory,
        torch_dtype=torch.float32,
        variant=None if has_full else "fp16",
        low_cpu_mem_usage=False,
        output_loading_info=True,
        local_files_only=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := info[problem]:
            raise SystemExit(f"make_unet_reference: {directory} has {problem}: {sorted(names)}")
    model.set_default_attn_processor()
    return model.eval()


def class_labels(config, batch: int, generator: torch.Generator) -> torch.Tensor | None:
    if config.class_embed_type == "timestep":
        return torch.randint(TRAINED_TIMESTEPS, (batch,), generator=generator)
    if config.class_embed_type == "projection":
        width = config.projection_class_embeddings_input_dim
        return torch.randn(batch, width, generator=generator)
    if config.num_class_embeds is not None:
        return torch.randint(config.num_class_embeds, (batch,), generator=generator)
    return None


def make_inputs(
    config, batch: int, size: list[int], tokens: int, timesteps: list[int] | None, seed: int
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    width = config.cross_attention_dim
    inputs = {
        "sample": torch.randn(batch, config.in_channels, *size, generator=generator),
        "timesteps": torch.randint(TRAINED_TIMESTEPS, (batch,), generator=generator),
        "encoder_hidden_states": torch.randn(
            batch, tokens, width if isinstance(width, int) else width[0], generator=generator
        ),
        "target": torch.randn(batch, config.out_channels, *size, generator=generator),
    }
    if timesteps:
        inputs["timesteps"] = torch.tensor(timesteps)
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        inputs["text_embeds"] = torch.randn(batch, pooled, generator=generator)
        inputs["time_ids"] = torch.randint(1024, (batch, 6), generator=generator).float()
    labels = class_labels(config, batch, generator)
    return inputs if labels is None else inputs | {"class_labels": labels}


def make_unet_reference(
    directory: Path,
    out: Path,
    batch: int = 2,
    size: list[int] | None = None,
    tokens: int = 7,
    timesteps: list[int] | None = None,
    seed: int = 0,
) -> None:
    """`size`: of the sample, height and width; without it the model's own."""
    model = load_unet(directory)
    own = model.config.sample_size or 8
    size = size or (list(own) if isinstance(own, list | tuple) else [own, own])
    inputs = make_inputs(model.config, batch, size, tokens, timesteps, seed)
    added = {key: inputs[key] for key in ("text_embeds", "time_ids") if key in inputs}
    output = model(
        inputs["sample"],
        inputs["timesteps"],
        inputs["encoder_hidden_states"],
        class_labels=inputs.get("class_labels"),
        added_cond_kwargs=added or None,
    ).sample
    loss = torch.nn.functional.mse_loss(output, inputs["target"])
    loss.backward()

    tensors = inputs | {"output": output.detach(), "loss": loss.detach().reshape(1)}
    for name, parameter in model.named_parameters():
        tensors["grad." + name] = parameter.grad
    metadata = {
        "format": "pt",
        "made_by": "make_unet_reference.py",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "seed": str(seed),
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, out, metadata=metadata
    )


def numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers like 9,7; got '{text}'") from None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("unet", type=Path, metavar="UNET_DIR")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=numbers, help="height,width of the latents")
    parser.add_argument("--tokens", type=int, default=7, help="of the text")
    parser.add_argument("--timesteps", type=numbers, help="one for each of the batch, or one")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not (args.unet / "config.json").is_file():
        parser.error(f"{args.unet} is not a component of a pipeline: it has no config.json")
    if args.size and (len(args.size) != 2 or min(args.size) < 1):
        parser.error("--size must be height,width")
    if args.batch < 1 or args.tokens < 1:
        parser.error("--batch and --tokens must be at least 1")
    if args.timesteps and len(args.timesteps) not in (1, args.batch):
        parser.error("--timesteps must be one number, or one for each of the batch")
    make_unet_reference(
        args.unet, args.out, args.batch, args.size, args.tokens, args.timesteps, args.seed
    )
    print(f"{args.out}: {args.out.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
