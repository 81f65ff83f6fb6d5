#!/usr/bin/env python3
"""Write a reference state: what transformers computes for a LLaMA checkpoint, for `shira verify` to compare with.

    make_reference_state.py MODEL_DIR OUT.safetensors [--batch 2] [--length 24] [--seed 0] [--ids 5,6,7 ...]

The file holds input_ids, attention_mask, labels (I64), logits, loss (F32, from an eager F32 forward) and
grad.<parameter> for every parameter, named as in the checkpoint; a tied head's gradient is part of
grad.model.embed_tokens.weight. Ids are random unless --ids gives rows; the last row of several is padded on the
right (attention_mask 0, label -100), and some other labels are -100 too. The metadata names the versions of torch
and transformers. Fails when the checkpoint's tensors are not exactly the model's, or when padding moves a logit.
"""

import argparse
import platform
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

IGNORED = -100
FIRST_PLAIN_ID = 3  # unk, bos and eos come before
PADDING_TOLERANCE = (
    1e-4  # relative to the largest logit; batches of other sizes are summed in another order
)


def load_model(directory: Path) -> torch.nn.Module:
    """The model in F32 with eager attention; transformers itself would only warn about wrong tensors."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        local_files_only=True,
    )
    unexpected = [
        name for name in info["unexpected_keys"] if not name.endswith("rotary_emb.inv_freq")
    ]
    for problem, names in (
        ("missing", info["missing_keys"]),
        ("unexpected", unexpected),
        ("mis-shaped", info["mismatched_keys"]),
    ):
        if names:
            raise SystemExit(
                f"make_reference_state: {directory} has {problem} tensors: {sorted(names)}"
            )
    return model.eval()


def random_rows(
    batch: int, length: int, vocab_size: int, generator: torch.Generator
) -> list[list[int]]:
    rows = torch.randint(FIRST_PLAIN_ID, vocab_size, (batch, length), generator=generator).tolist()
    if batch > 1:
        rows[-1] = rows[-1][: length - max(1, length // 4)]
    return rows


def make_inputs(rows: list[list[int]], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Pads the rows on the right with id 0 and drops about one label in eight."""
    length = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    attention_mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    dropped = torch.rand(input_ids.shape, generator=generator) < 0.125
    labels = input_ids.masked_fill(dropped | (attention_mask == 0), IGNORED)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def check_padding(
    model: torch.nn.Module, inputs: dict[str, torch.Tensor], logits: torch.Tensor
) -> None:
    for row, mask, padded in zip(inputs["input_ids"], inputs["attention_mask"].bool(), logits):
        with torch.no_grad():
            alone = model(input_ids=row[mask].unsqueeze(0)).logits[0]
        error = (alone - padded[mask]).abs().max() / alone.abs().max()
        if not error <= PADDING_TOLERANCE:
            raise SystemExit(
                f"make_reference_state: padding changed the logits of a row by {error:.2e} (relative)"
            )


def make_reference_state(
    directory: Path,
    out: Path,
    batch: int = 2,
    length: int = 24,
    seed: int = 0,
    rows: list[list[int]] | None = None,
    model: torch.nn.Module | None = None,
) -> None:
    """Computes and writes the file; `model` saves loading it when the caller has it."""
    model = model or load_model(directory)
    generator = torch.Generator().manual_seed(seed)
    rows = rows or random_rows(batch, length, model.config.vocab_size, generator)
    inputs = make_inputs(rows, generator)

    model.zero_grad(set_to_none=True)
    result = model(**inputs)
    result.loss.backward()
    check_padding(model, inputs, result.logits.detach())

    tensors = {**inputs, "logits": result.logits.detach(), "loss": result.loss.detach().reshape(1)}
    for name, parameter in model.named_parameters():
        tensors["grad." + name] = parameter.grad
    metadata = {
        "format": "pt",
        "made_by": "make_reference_state.py",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "seed": str(seed),
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, out, metadata=metadata
    )


def parse_row(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected token ids like 1,15,27; got '{text}'") from None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--batch", type=int, default=2, help="rows")
    parser.add_argument("--length", type=int, default=24, help="tokens a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--ids",
        type=parse_row,
        nargs="+",
        metavar="1,15,27",
        help="the rows, instead of random ones",
    )
    args = parser.parse_args()
    if not (args.model / "config.json").is_file():
        parser.error(f"{args.model} is not a HuggingFace directory: it has no config.json")
    if args.batch < 1 or args.length < 2:
        parser.error("--batch must be at least 1 and --length at least 2")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = load_model(args.model)
    vocab_size = model.config.vocab_size
    if bad := [i for row in args.ids or [] for i in row if not 0 <= i < vocab_size]:
        parser.error(f"ids outside the vocabulary of {vocab_size}: {bad}")
    make_reference_state(args.model, args.out, args.batch, args.length, args.seed, args.ids, model)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
