#!/usr/bin/env python3
"""What benchmark_inference measures, by transformers and PEFT: prefill and decode of the base, with LoRA merged, and with
LoRA and DoRA left unmerged.

usage: benchmark_switch_model --model M --describe > M.json
       benchmark_peft_inference.py --shapes M.json [--prompt 512] [--decoded 32] [--rank 32] [--rounds 5]

Prints one line of JSON with facts, then one a round: {method: {prefill, decode}} in milliseconds a token. Adapters have
the model's dtype (autocast_adapter_dtype=False): PEFT's default, float32, is slower in every forward. DoRA forms
B A of every layer in every forward, seconds a token for half a billion parameters: it decodes `--dora_decoded` tokens
and runs in the first `--dora_rounds` rounds alone.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time
import warnings

import peft
import torch
from benchmark_peft_switch import make_model, target_suffixes


def time_inference(args, model, decoded):
    """Milliseconds a token."""
    ids = torch.randint(args.vocab_size, (1, args.prompt))
    start = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    token = out.logits.argmax(-1)
    middle = time.perf_counter()
    for _ in range(decoded):
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
        token = out.logits.argmax(-1)
    end = time.perf_counter()
    return {
        "prefill": 1e3 * (middle - start) / args.prompt,
        "decode": 1e3 * (end - middle) / decoded,
    }


def save_adapter(args, model, directory, use_dora):
    targets = target_suffixes(model)
    config = peft.LoraConfig(
        r=args.rank, lora_alpha=args.rank, target_modules=targets, use_dora=use_dora, init_lora_weights=False
    )
    adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    adapted.save_pretrained(directory)
    adapted.unload()


def load(model, directory):
    adapted = peft.PeftModel.from_pretrained(model, directory, autocast_adapter_dtype=False)
    return adapted.eval()


def measure_round(args, model, work, with_dora):
    round_ = {"base": time_inference(args, model, args.decoded)}
    adapted = load(model, work / "lora")
    round_["lora_unfused"] = time_inference(args, adapted, args.decoded)
    adapted.merge_adapter()
    round_["lora_fused"] = time_inference(args, adapted, args.decoded)
    adapted.unmerge_adapter()
    adapted.unload()
    if not with_dora:
        return round_
    adapted = load(model, work / "dora")
    round_["dora_unfused"] = time_inference(args, adapted, args.dora_decoded)
    adapted.unload()
    return round_


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", type=pathlib.Path, required=True)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decoded", type=int, default=32)
    parser.add_argument("--dora_decoded", type=int, default=4)
    parser.add_argument("--dora_rounds", type=int, default=2)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--follow", action="store_true", help="a round for each line on stdin")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    description = json.loads(args.shapes.read_text())
    args.vocab_size = description["llama"]["vocab_size"]
    model = make_model(description, torch.bfloat16)
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        work = pathlib.Path(name)
        save_adapter(args, model, work / "lora", use_dora=False)
        save_adapter(args, model, work / "dora", use_dora=True)
        measure_round(args, model, work, with_dora=False)  # a first one does not count
        print(json.dumps({"facts": {"peft": peft.__version__, "rank": args.rank}}), flush=True)
        for number, _ in enumerate(sys.stdin if args.follow else range(args.rounds)):
            round_ = measure_round(args, model, work, number < args.dora_rounds)
            print(json.dumps(round_), flush=True)


if __name__ == "__main__":
    main()
