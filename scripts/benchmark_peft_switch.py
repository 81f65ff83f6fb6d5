#!/usr/bin/env python3
"""What benchmark_switch_model measures, by HuggingFace PEFT and diffusers: load, merge, unmerge, unload, and from one adapter to another.

usage: benchmark_switch_model --model M --describe > M.json
       benchmark_peft_switch.py --shapes M.json [--dtype bfloat16] [--device cuda] [--methods lora_r32,lora_r32_narrow,shira] [--rounds 5]

The same shapes with random weights: a LlamaForCausalLM with PEFT's calls, or a UNet2DConditionModel with diffusers'
(load_lora_adapter, fuse_lora, unfuse_lora, unload_lora, on files that save_lora_adapter wrote). Prints one line of JSON with
facts, then one a round: {method: {load, fuse, unfuse, unload, ready, switch}} in milliseconds, and "changed_tensors",
how many are not what they were after all adapters so far. PEFT's LoRA adapters are float32
in memory (PEFT's default); with `_narrow` they have the model's dtype (autocast_adapter_dtype=False). PEFT's SHiRA is
for linear layers only, and draws its random mask anew when it loads (half a minute for 1 B parameters), so it runs in
the first `--shira_rounds` rounds alone and switches from one adapter to the same.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time
import warnings
import zlib

import diffusers
import peft
import torch
import transformers


def make_llama(config, dtype):
    config = transformers.LlamaConfig(**config)
    return transformers.LlamaForCausalLM._from_config(config, dtype=dtype)


def make_unet(directory, dtype):
    with torch.device("meta"):
        model = diffusers.UNet2DConditionModel.from_config(json.loads((directory / "config.json").read_text()))
    model = model.to(dtype).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    return model


def make_model(description, dtype):
    if "llama" in description:
        model = make_llama(description["llama"], dtype)
    else:
        model = make_unet(pathlib.Path(description["unet"]), dtype)
    return model.eval().requires_grad_(False)


def is_unet(model):
    return isinstance(model, diffusers.UNet2DConditionModel)


def target_layers(model):
    """Every linear layer and convolution but the head, by name."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, kinds) and name not in ("lm_head", "conv_out")}


def target_suffixes(model):
    """PEFT's `target_modules` for them: q_proj, to_out.0, ... (matching full names takes it a second)"""
    names = [name.split(".") for name in target_layers(model)]
    return sorted({".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:]) for parts in names})


def shira_r(model, density):
    """The r for which r * (in + out) entries a layer are about `density` of all targets."""
    shapes = [layer.weight.shape for layer in target_layers(model).values()]
    entries = sum(shape[0] * shape[1] for shape in shapes)
    return max(1, round(density * entries / sum(shape[0] + shape[1] for shape in shapes)))


def method_config(model, method, density):
    if method.startswith("lora"):
        rank = int(method.split("_")[1].removeprefix("r"))
        return peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=target_suffixes(model))
    r = shira_r(model, density)
    return peft.ShiraConfig(r=r, target_modules=target_suffixes(model), random_seed=1)


def randomize(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "shira_weight" in name:
                parameter.normal_(0, 1e-3)


def save_adapter(model, method, density, directory):
    """Writes a random adapter twice (`a`, `b`); the model is as before."""
    config = method_config(model, method, density)
    if is_unet(model):
        model.add_adapter(config)
        randomize(model)
        model.save_lora_adapter(directory / "a")
        model.unload_lora()
    else:
        adapted = peft.get_peft_model(model, config)
        randomize(adapted)
        adapted.save_pretrained(directory / "a")
        adapted.unload()
    shutil.copytree(directory / "a", directory / "b")


def milliseconds(action):
    start = time.perf_counter()
    result = action()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start), result


def measure_diffusers(model, directory):
    """The stages of one adapter, with a switch to another between fuse and unfuse."""

    def load(name):
        model.load_lora_adapter(
            directory / name, prefix=None, adapter_name=name, use_safetensors=True, low_cpu_mem_usage=True
        )

    def switch():
        model.unfuse_lora()
        model.fuse_lora(adapter_names=["b"])

    stages = {}
    stages["load"], _ = milliseconds(lambda: load("a"))
    load("b")
    stages["fuse"], _ = milliseconds(lambda: model.fuse_lora(adapter_names=["a"]))
    stages["ready"] = stages["load"] + stages["fuse"]
    stages["switch"], _ = milliseconds(switch)
    stages["unfuse"], _ = milliseconds(model.unfuse_lora)
    model.delete_adapters("b")
    stages["unload"], _ = milliseconds(model.unload_lora)
    return stages


def measure(model, directory, narrow, with_other):
    """The stages of one adapter, with a switch to another (or itself) between fuse and unfuse."""
    options = {"autocast_adapter_dtype": not narrow, "low_cpu_mem_usage": True}
    load, adapted = milliseconds(
        lambda: peft.PeftModel.from_pretrained(model, directory / "a", adapter_name="a", **options)
    )
    if with_other:
        adapted.load_adapter(directory / "b", "b", **options)
    other = "b" if with_other else "a"

    def switch():
        adapted.unmerge_adapter()
        adapted.merge_adapter([other])

    fuse, _ = milliseconds(lambda: adapted.merge_adapter(["a"]))
    stages = {"load": load, "fuse": fuse, "ready": load + fuse}
    stages["switch"], _ = milliseconds(switch)
    stages["unfuse"], _ = milliseconds(adapted.unmerge_adapter)
    if with_other:
        adapted.delete_adapter("b")
    stages["unload"], _ = milliseconds(adapted.unload)
    return stages


def checksums(model):
    return [zlib.crc32(tensor.cpu().view(torch.uint8).numpy()) for tensor in model.state_dict().values()]


def measure_round(args, model, work, number):
    round_ = {}
    for method in args.methods:
        if method == "shira" and number >= args.shira_rounds:
            continue
        files = work / method.removesuffix("_narrow")
        if is_unet(model):
            round_[method] = measure_diffusers(model, files)
        else:
            narrow = method.endswith("_narrow")
            round_[method] = measure(model, files, narrow, with_other=method != "shira")
    return round_


def rounds_of(args):
    """Numbers of rounds: one for each line on stdin, or so many as asked."""
    return (i for i, _ in enumerate(sys.stdin)) if args.follow else range(args.rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--methods", type=lambda s: s.split(","), default=["lora_r32", "lora_r32_narrow"])
    parser.add_argument("--density", type=float, default=0.01, help="of PEFT's SHiRA")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shira_rounds", type=int, default=1)
    parser.add_argument("--follow", action="store_true", help="a round for each line on stdin")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = make_model(json.loads(args.shapes.read_text()), getattr(torch, args.dtype)).to(args.device)
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        work = pathlib.Path(name)
        for method in sorted({method.removesuffix("_narrow") for method in args.methods}):
            save_adapter(model, method, args.density, work / method)
        before = checksums(model)
        facts = {"peft": peft.__version__, "torch": torch.__version__, "shira_r": shira_r(model, args.density)}
        if is_unet(model):
            facts["diffusers"] = diffusers.__version__
        if args.device == "cuda":
            facts["device"] = torch.cuda.get_device_name()
        print(json.dumps({"facts": facts}), flush=True)
        for number in rounds_of(args):
            round_ = measure_round(args, model, work, number)
            changed = sum(old != new for old, new in zip(before, checksums(model), strict=True))
            print(json.dumps(round_ | {"changed_tensors": changed}), flush=True)


if __name__ == "__main__":
    main()
