#!/usr/bin/env python3
"""What benchmark_train_step measures, by transformers and PEFT: time and memory above the base of a training step.

usage: benchmark_switch_model --model M --describe > M.json
       benchmark_peft_train.py --shapes M.json --method lora [--dtype bfloat16] [--batch 4] [--length 256] [--rank 7] [--rounds 5]

One method in a process of its own: PEFT's lora, dora, shira or supertuning on every linear layer but the head, with as
many entries (dora `out` more a layer); full; or frozen, transformers' forward and input gradients alone, the floor.
PEFT's defaults but for alpha = r; no dropout, no gradient checkpointing, SDPA, torch's fused AdamW. The weights depend on
the shapes alone: --save_base DIR keeps them for benchmark_train_step --base_model. Prints one line of JSON with facts, then one a
round: {method: {step: milliseconds}, loss, peak_above_base: bytes}.
"""

import argparse
import ctypes
import json
import math
import pathlib
import sys
import time
import warnings
from statistics import median

import diffusers
import peft
import torch
import transformers
from experiment import ROOT
from benchmark_peft_switch import make_llama, target_layers, target_suffixes

LEARNING_RATE, MAX_GRAD_NORM = 5e-4, 1.0
TINY = {"vocab_size": 256, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1}
TINY |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 64}


# --- The methods --------------------------------------------------------------------------------


def lora_config(model, rank, use_dora=False):
    return peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=target_suffixes(model), use_dora=use_dora)


def dora_config(model, rank):
    return lora_config(model, rank, use_dora=True)


def shira_config(model, rank):
    return peft.ShiraConfig(r=rank, target_modules=target_suffixes(model), random_seed=1)


def supertuning_config(model, rank):
    """One share of every layer, so that all have about as many entries as with LoRA."""
    shapes = [layer.weight.shape for layer in target_layers(model).values()]
    share = rank * sum(a + b for a, b in shapes) / sum(a * b for a, b in shapes)
    return peft.SupertuningConfig(sparsity=1 - share, target_modules=target_suffixes(model))


CONFIGS = {"lora": lora_config, "dora": dora_config, "shira": shira_config, "supertuning": supertuning_config}


def with_method(model, method, rank):
    """The model to train; what is trained requires a gradient."""
    model.train().requires_grad_(method == "full")
    if method == "frozen":
        model.enable_input_require_grads()
    return peft.get_peft_model(model, CONFIGS[method](model, rank)).train() if method in CONFIGS else model


class LlamaTask:
    def __init__(self, config, dtype, device):
        self.model = make_llama(config, dtype).to(device)
        self.attention = self.model.config._attn_implementation

    def make_batch(self, rows, length):
        # benchmark_train_step makes the same ids.
        device = next(self.model.parameters()).device
        ids = (torch.arange(rows * length) * 7919).remainder(self.model.config.vocab_size).view(rows, length)
        self.ids = ids.to(device)

    def loss(self, model):
        return model(input_ids=self.ids, labels=self.ids, use_cache=False).loss

    def save(self, directory):
        self.model.save_pretrained(directory)


class UnetTask:
    """Stable Diffusion's UNet; a row's places are a square of latents."""

    attention = "sdpa"

    def __init__(self, directory, dtype, device):
        config = json.loads((pathlib.Path(directory) / "config.json").read_text())
        self.model = diffusers.UNet2DConditionModel.from_config(config).to(device, dtype)
        self.model.enable_input_require_grads = self.require_input_grads

    def require_input_grads(self):
        """As transformers' models have it: the first layer's output asks for a gradient."""
        self.model.conv_in.register_forward_hook(lambda module, args, output: output.requires_grad_())

    def make_batch(self, rows, length):
        # benchmark_train_step makes the same.
        weight, side = self.model.conv_in.weight, math.isqrt(length)
        latents = (rows, self.model.config.in_channels, side, side)
        self.inputs = {
            "sample": waves(latents, 0.37).to(weight),
            "timestep": torch.full((rows,), 500, device=weight.device),
            "encoder_hidden_states": waves((rows, 77, self.model.config.cross_attention_dim), 0.73).to(weight),
        }
        self.target = waves(latents, 0.53).to(weight).float()

    def loss(self, model):
        return torch.nn.functional.mse_loss(model(**self.inputs).sample.float(), self.target)

    def save(self, directory):
        self.model.save_pretrained(directory)


def waves(shape, frequency):
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(count, dtype=torch.float64) * frequency).view(shape)


def make_task(shapes, dtype, device, tiny=False):
    if "unet" in shapes:
        return UnetTask(ROOT / "benchmarks" / "unets" / "tiny" if tiny else shapes["unet"], dtype, device)
    return LlamaTask(shapes["llama"] | TINY if tiny else shapes["llama"], dtype, device)


class Training:
    def __init__(self, task, method, rank, batch, length):
        self.task = task
        task.make_batch(batch, length)
        self.model = with_method(task.model, method, rank)
        self.device = next(self.model.parameters()).device
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = None
        if self.parameters:
            self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=0, fused=True)

    def step(self):
        """The mean loss before the step."""
        loss = self.task.loss(self.model)
        loss.backward()
        if self.optimizer:
            torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def trained(self):
        return sum(parameter.numel() for parameter in self.parameters)


def warm_up(shapes, method, dtype, device):
    """Trains a small model, so that what is imported and allocated late by all counts as the base's."""
    training = Training(make_task(shapes, dtype, device, tiny=True), method, rank=1, batch=2, length=16)
    for _ in range(2):
        training.step()


# --- Memory, as in benchmarks/memory.h ------------------------------------------------------------


def status_bytes(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}")


def resident_bytes():
    """Resident now, without what the allocator keeps of freed memory."""
    ctypes.CDLL(None).malloc_trim(0)
    return status_bytes("VmRSS")


class MemoryMeter:
    def __init__(self, device):
        self.is_cuda = device == "cuda"

    def now(self):
        return torch.cuda.memory_allocated() if self.is_cuda else resident_bytes()

    def peak(self):
        return torch.cuda.max_memory_allocated() if self.is_cuda else status_bytes("VmHWM")

    def reset_peak(self):
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            pathlib.Path("/proc/self/clear_refs").write_text("5")


# --- Rounds ---------------------------------------------------------------------------------------


def measure_round(training, method, steps, memory, base):
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        loss = training.step()
        times.append(1e3 * (time.perf_counter() - start))
    return {method: {"step": median(times)}, "loss": loss, "peak_above_base": memory.peak() - base}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=pathlib.Path, required=True)
    parser.add_argument("--method", choices=("frozen", *CONFIGS, "full"), required=True)
    parser.add_argument("--rank", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="tokens of a row")
    parser.add_argument("--steps", type=int, default=3, help="of a round, of which the median counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--follow", action="store_true", help="a round for each line on stdin")
    parser.add_argument("--save_base", type=pathlib.Path, help="writes the model there, before it is trained")
    return parser.parse_args()


def main():
    args = parse_arguments()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    shapes, dtype = json.loads(args.shapes.read_text()), getattr(torch, args.dtype)
    warm_up(shapes, args.method, dtype, args.device)
    torch.manual_seed(0)
    with torch.device(args.device):
        task = make_task(shapes, dtype, args.device)
    if args.gradient_checkpointing:
        task.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if args.save_base:
        task.save(args.save_base)
    memory = MemoryMeter(args.device)
    base = memory.now()
    training = Training(task, args.method, args.rank, args.batch, args.length)
    memory.reset_peak()
    facts = {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    facts |= {"trained": training.trained(), "attention": task.attention}
    facts["first_loss"] = training.step()
    print(json.dumps({"facts": facts}), flush=True)
    for _ in sys.stdin if args.follow else range(args.rounds):
        print(json.dumps(measure_round(training, args.method, args.steps, memory, base)), flush=True)


if __name__ == "__main__":
    main()
