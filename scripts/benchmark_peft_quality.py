#!/usr/bin/env python3
"""PEFT's LoRA trained by transformers' Trainer: held-out loss over seconds, the peer of benchmark_time_to_quality.py.

usage: benchmark_peft_quality.py --base_model DIR --data FILE --type text|alpaca --held_out 200 --seed 1
           [--length 128] [--batch 16] [--steps 300] [--eval_steps 10] [--rate 5e-3] [--rank 2] [--threads 2]

Trains on the samples that `shira train` makes of the same file, and holds out the same ones: sentencepiece's ids, our
windows or the Alpaca template, our split. Every linear layer but the head, alpha = r, no dropout, float32, fused AdamW,
linear schedule, and what Trainer does by default; records of uneven length are padded to the longest of a batch and
grouped by length. Prints one line of JSON: facts, and [step, seconds of training, held-out loss] for each evaluation.
The clock stands while it evaluates, which is done as ours is: the sum over all held-out targets by their number.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import tempfile
import time
import warnings

import peft
import sentencepiece
import torch
import transformers
from benchmark_peft_switch import target_suffixes

IGNORED = -100
TASK = "Below is an instruction that describes a task"
INPUT = ", paired with an input that provides further context"
RESPOND = ". Write a response that appropriately completes the request.\n\n"


# --- Samples, as docs/configuration.md has them ---------------------------------------------------


def text_samples(path, tokenizer, bos, length):
    ids = tokenizer.encode(path.read_text(encoding="utf-8"))
    windows = [ids[i : i + length] for i in range(0, len(ids), length)]
    return [(window, window) for window in windows if len(window) > 1]


def alpaca_sample(record, tokenizer, bos, length):
    given = record.get("input") or ""
    prompt = TASK + (INPUT if given else "") + RESPOND + f"### Instruction:\n{record['instruction']}\n\n"
    prompt += (f"### Input:\n{given}\n\n" if given else "") + "### Response:\n"
    ids = [*bos, *tokenizer.encode(prompt + record["output"]), tokenizer.eos_id()]
    start = len(bos) + len(tokenizer.encode(prompt))
    labels = [IGNORED] * start + ids[start:]
    return ids[:length], labels[:length]


def alpaca_samples(path, tokenizer, bos, length):
    records = json.loads(path.read_text(encoding="utf-8"))
    samples = [alpaca_sample(record, tokenizer, bos, length) for record in records]
    return [sample for sample in samples if any(label != IGNORED for label in sample[1][1:])]


def load_samples(args):
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(args.base_model / "tokenizer.model"))
    config = json.loads((args.base_model / "tokenizer_config.json").read_text())
    bos = [tokenizer.bos_id()] if config.get("add_bos_token", True) else []
    make = {"text": text_samples, "alpaca": alpaca_samples}[args.type]
    return make(args.data, tokenizer, bos, args.length)


# --- Which of them are held out: src/data/dataset.cpp with the generator of src/kernels/philox.cpp --


def philox4x32(counter, key):
    low = 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = (b >> 32 ^ counter[1] ^ key[0], b & low, a >> 32 ^ counter[3] ^ key[1], a & low)
        key = ((key[0] + 0x9E3779B9) & low, (key[1] + 0xBB67AE85) & low)
    return counter


def fnv1a_64(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def uint64_stream(seed, name):
    halves = [value & 0xFFFFFFFF for value in (seed, seed >> 32)]
    named = fnv1a_64(name)
    for block in range(2**32):
        words = philox4x32((block, 0, named & 0xFFFFFFFF, named >> 32), tuple(halves))
        yield words[0] | words[1] << 32
        yield words[2] | words[3] << 32


def permutation(seed, name, count):
    numbers, order = uint64_stream(seed, name), list(range(count))
    for left in range(count, 1, -1):
        number = next(numbers)
        while number < 2**64 % left:
            number = next(numbers)
        other = number % left
        order[left - 1], order[other] = order[other], order[left - 1]
    return order


def split(samples, held_out, seed):
    """(training samples, held-out samples)"""
    chosen = set(permutation(seed, "validation split", len(samples))[:held_out])
    parts = [], []
    for i, sample in enumerate(samples):
        parts[i in chosen].append(sample)
    return parts


# --- Training -------------------------------------------------------------------------------------


def padded(rows, value):
    rows = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


def collate(samples):
    ids = [sample["input_ids"] for sample in samples]
    labels = [sample["labels"] for sample in samples]
    mask = [[1] * len(row) for row in ids]
    return {"input_ids": padded(ids, 0), "labels": padded(labels, IGNORED), "attention_mask": padded(mask, 0)}


def as_dataset(samples):
    return [{"input_ids": ids, "labels": labels} for ids, labels in samples]


@torch.no_grad()
def held_out_loss(model, batches):
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        targets = batch["labels"][:, 1:]
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        count += (targets != IGNORED).sum().item()
    model.train()
    return total / count


class Curve(transformers.TrainerCallback):
    """Evaluates before the first step, every `every` steps and at the end; its clock runs in between."""

    def __init__(self, batches, every):
        self.batches, self.every = batches, every
        self.points, self.seconds, self.begin = [], 0.0, None

    def evaluate(self, step, model):
        self.points.append((step, round(self.seconds, 4), held_out_loss(model, self.batches)))

    def on_train_begin(self, args, state, control, model=None, **_):
        self.begin = time.time()
        self.evaluate(0, model)
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        self.seconds += time.perf_counter() - self.start
        self.evaluate(state.global_step, model)
        self.start = time.perf_counter()


def training_arguments(args, folder):
    return transformers.TrainingArguments(
        output_dir=folder,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch,
        learning_rate=args.rate,
        lr_scheduler_type="linear",
        warmup_steps=args.steps // 20,
        optim="adamw_torch_fused",
        train_sampling_strategy="random" if args.type == "text" else "group_by_length",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=args.seed,
    )


def make_model(args):
    model = transformers.AutoModelForCausalLM.from_pretrained(args.base_model, dtype=torch.float32)
    model.config.use_cache = False
    config = peft.LoraConfig(r=args.rank, lora_alpha=args.rank, target_modules=target_suffixes(model))
    return peft.get_peft_model(model, config)


def count_tokens(samples):
    """[samples, tokens, targets]"""
    targets = sum(label != IGNORED for _, labels in samples for label in labels[1:])
    return [len(samples), sum(len(ids) for ids, _ in samples), targets]


def train(args):
    samples, held_out = split(load_samples(args), args.held_out, args.seed)
    transformers.set_seed(args.seed)
    model = make_model(args)
    rows = as_dataset(held_out)
    curve = Curve([collate(rows[i : i + args.batch]) for i in range(0, len(rows), args.batch)], args.eval_steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model, training_arguments(args, folder), collate, as_dataset(samples), callbacks=[curve]
        )
        trainer.train()
    return {
        "peft": peft.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "trained": model.get_nb_trainable_parameters()[0],
        "training": count_tokens(samples),
        "held_out": count_tokens(held_out),
        "begin": curve.begin,
        "curve": curve.points,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base_model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--type", choices=("text", "alpaca"), required=True)
    parser.add_argument("--length", type=int, default=128, help="tokens of a sample at most")
    parser.add_argument("--held_out", type=int, required=True, help="samples, as val_set_size")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--eval_steps", type=int, default=10)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main():
    args = parse_arguments()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    with contextlib.redirect_stdout(sys.stderr):  # what Trainer prints
        result = train(args)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
