"""What the tests of training and of adapters share: small runs, and readers of our files that use none of our code."""

import dataclasses
import hashlib
import inspect
import json
import struct

import numpy
import sentencepiece
from conftest import checkpoint, reference_json, run_json, run_shira

# Sentences that repeat with variations: a tiny model learns them in a few dozen steps.
TEXT = "".join(
    f"The {animal} went to the {place} and {deed}. Nobody saw the {animal} at the {place}.\n"
    for animal in ("dog", "grey bird", "horse", "old cat")
    for place in ("harbour", "mill", "sea")
    for deed in ("slept all day", "came back in the evening", "waited for the rain")
)

RECORDS = [
    {"instruction": "Count to three.", "output": "One, two, three."},
    {"instruction": "Name a river.", "input": "", "output": "The Rhine"},
    {
        "instruction": "Translate.",
        "input": "Guten Morgen, wie geht es dir?",
        "output": "Good morning, how are you?",
    },
    {"instruction": "Say nothing.", "output": ""},
    {"instruction": "Where do rivers end?", "output": "In the sea; and then they begin again."},
    {"instruction": "Add.", "input": "12 + 30", "output": "42"},
    {"instruction": "Write a café menu", "input": None, "output": "Tea.\nBread.\n\nButter 😀"},
]


# ------------------------------------------------------------------------------------------- runs


def write_config(path, **keys):
    """A YAML file (JSON is YAML) with small defaults; None leaves a key out."""
    config = {
        "sequence_len": 32,
        "micro_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 5e-3,
        "shira_density": 0.05,
        "logging_steps": 1,
        "num_threads": 1,
        "output_dir": str(path.parent / "out"),
    } | keys
    if config.get("adapter") == "full":
        config.pop("shira_density")
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}, indent=1))
    return path


def write_text(directory, text=TEXT):
    path = directory / "text.txt"
    path.write_text(text)
    return [{"path": str(path), "type": "text"}]


def write_records(directory, records, name="records.jsonl"):
    """An alpaca data set, as JSONL or as one JSON list by the name's ending."""
    path = directory / name
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) if name.endswith("l") else "[" + ",\n".join(lines) + "]")
    return [{"path": str(path), "type": "alpaca"}]


def train(directory, *args, **keys):
    """Trains with `keys` into directory/out; the answer of --json."""
    directory.mkdir(exist_ok=True)
    return run_json("train", write_config(directory / "config.yaml", **keys), *args)


def train_on_text(directory, dtype, mask, **keys):
    """The directory of an adapter of the llama2 checkpoint."""
    train(
        directory,
        base_model=str(checkpoint("llama2", dtype)),
        datasets=write_text(directory),
        shira_mask=mask,
        shira_density=0.1,
        learning_rate=2e-2,
        **keys,
    )
    return directory / "out"


def merge(base, out, *adapters, flags=()):
    """Checkpoint `out`: `base` with the adapters applied."""
    options = [part for adapter in adapters for part in ("--adapter", adapter)]
    run_shira("merge", "--base_model", base, *options, "-o", out, *flags)
    return out


def metrics_of(output_dir):
    return [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]


def training_records(output_dir):
    return [record for record in metrics_of(output_dir) if "loss" in record]


# ------------------------------------------------------------------------------------------ files


@dataclasses.dataclass
class RawTensor:
    dtype: str
    shape: list
    data: bytes

    def array(self):
        """The values, flat: float32 for BF16 and F32, integers as they are."""
        if self.dtype == "BF16":
            return (numpy.frombuffer(self.data, "<u2").astype("<u4") << 16).view("<f4")
        kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
        return numpy.frombuffer(self.data, kinds[self.dtype])


def read_safetensors(path):
    """(metadata, {name: RawTensor})"""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = RawTensor(entry["dtype"], entry["shape"], data[begin:end])
    return metadata, tensors


def read_weights(directory):
    """{name: RawTensor} of a checkpoint, in one file or in shards."""
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return read_safetensors(directory / "model.safetensors")[1]
    weight_map = json.loads(index.read_text())["weight_map"]
    files = {name: read_safetensors(directory / name)[1] for name in set(weight_map.values())}
    assert {name for tensors in files.values() for name in tensors} == weight_map.keys()
    return {name: files[file][name] for name, file in weight_map.items()}


def decode_gaps(gaps):
    """docs/adapter_format.md: 255 adds and continues, any other byte adds and ends an index."""
    indices, index = [], 0
    for gap in gaps:
        index += gap
        if gap != 255:
            indices.append(index)
    return numpy.array(indices, "<i8")


def read_adapter(directory):
    """{parameter: (indices, RawTensor of the values)}"""
    _, tensors = read_safetensors(directory / "adapter_model.safetensors")
    names = [name.removesuffix(".values") for name in tensors if name.endswith(".values")]
    return {
        name: (decode_gaps(tensors[name + ".gaps"].data), tensors[name + ".values"])
        for name in names
    }


# ------------------------------------------------------------------------------------- references


def processor(directory):
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def windows(directory, text, length):
    """The text data set as [ids, labels] pairs: consecutive windows, the last one shorter, no BOS."""
    ids = processor(directory).encode(text)
    cut = [ids[i : i + length] for i in range(0, len(ids), length)]
    return [[window, window] for window in cut if len(window) > 1]


def instructions(directory, records, length, train_on_inputs=False):
    """The alpaca data set as [ids, labels] pairs: BOS, prompt, answer, EOS; prompts carry no loss."""
    tokenizer = processor(directory)
    samples = []
    for record in records:
        prompt = "Below is an instruction that describes a task"
        if record.get("input"):
            prompt += ", paired with an input that provides further context"
        prompt += ". Write a response that appropriately completes the request.\n\n"
        prompt += f"### Instruction:\n{record['instruction']}\n\n"
        if record.get("input"):
            prompt += f"### Input:\n{record['input']}\n\n"
        prompt += "### Response:\n"
        ids = [1, *tokenizer.encode(prompt + record["output"]), 2]
        given = 1 + len(tokenizer.encode(prompt))
        assert ids[1:given] == tokenizer.encode(prompt), "a piece crosses the boundary"
        labels = ids if train_on_inputs else [-100] * given + ids[given:]
        samples.append([ids[:length], labels[:length]])
    return [sample for sample in samples if any(label != -100 for label in sample[1][1:])]


def reference_training(
    model,
    samples,
    steps,
    lr,
    scheduler="linear",
    warmup=0,
    weight_decay=0.0,
    clip=1.0,
    optimizer="adamw",
    masks=None,
):
    """`steps` steps of torch's optimiser on all the samples at once, as transformers' Trainer sets it up.

    With masks ({parameter: flat indices}) gradients vanish outside them and what decay moved there is put back.
    """
    import torch
    import transformers

    model.requires_grad_(True)
    parameters = dict(model.named_parameters())
    keep = {}
    if masks:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in masks)
        parameters = {name: parameters[name] for name in masks}
        for name, indices in masks.items():
            flat = torch.zeros(parameters[name].numel(), dtype=torch.bool)
            flat[torch.tensor(indices)] = True
            keep[name] = (flat.view_as(parameters[name]), parameters[name].detach().clone())
    groups = [{"params": [], "weight_decay": decay} for decay in (weight_decay, 0.0)]
    for name, parameter in parameters.items():
        groups["norm" in name or name.endswith("bias")]["params"].append(parameter)
    make = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    torch_optimizer = make([group for group in groups if group["params"]], lr=lr)
    schedule = transformers.get_scheduler(scheduler, torch_optimizer, warmup, steps)
    terms = sum(label != -100 for _, labels in samples for label in labels[1:])
    result = {"loss": [], "grad_norm": [], "learning_rate": []}
    for _ in range(steps):
        torch_optimizer.zero_grad()
        total = 0.0
        for ids, labels in samples:
            logits = model(torch.tensor([ids])).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits, torch.tensor(labels[1:]), reduction="sum"
            )
            (loss / terms).backward()
            total += loss.item()
        for name, (mask, _) in keep.items():
            parameters[name].grad *= mask
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), clip or float("inf"))
        result["loss"].append(total / terms)
        result["grad_norm"].append(norm.item())
        result["learning_rate"].append(schedule.get_last_lr()[0])
        torch_optimizer.step()
        schedule.step()
        for name, (mask, base) in keep.items():
            parameters[name].data = torch.where(mask, parameters[name].data, base)
    result["weights"] = {
        name: parameters[name].detach().flatten()[torch.tensor(masks[name])].tolist()
        for name in masks or ()
    }
    return result


def reference_schedules(model, kinds, lr, warmup, steps):
    """Each schedule's learning rates, from transformers itself."""
    import torch
    import transformers

    rates = {}
    for kind in kinds:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        schedule = transformers.get_scheduler(kind, optimizer, warmup, steps)
        rates[kind] = []
        for _ in range(steps):
            rates[kind].append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
    return rates


def reference(directory, compute, **options):
    """compute(transformers' model of the directory, **options), kept until `compute` changes."""
    source = hashlib.sha256(inspect.getsource(compute).encode()).hexdigest()[:8]
    return reference_json(f"{compute.__name__}-{source}", directory, compute, **options)
