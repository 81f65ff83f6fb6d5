#!/usr/bin/env python3
"""Megabytes a second that we and the `tokenizers` package turn into ids, on one thread each, taking turns.

usage: benchmark_tokenizers.py TEXT... [--vocabulary 8000] [--rounds 7]

Each kind of tokenizer is trained on the first half of the texts; the second half is encoded, in paragraphs (as the records of a data
set) and whole. The peer runs encode_batch_fast, which keeps no offsets. Needs a build with SHIRA_BUILD_BENCHMARKS=ON.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizer_kinds import save_tokenizer, train_tokenizer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
# mistral here has pieces that reach over spaces, which the real one has not: the slow path.
MEASURED = ("gpt2", "llama3", "qwen2", "llama2", "mistral", "clip", "unigram")


def measure(kind, directory, texts, rounds):
    """{"ours": [ms], "peer": [ms]} of encoding all `texts`."""
    peer = save_tokenizer(*kind, directory)
    lines = directory / "texts.jsonl"
    lines.write_text("".join(json.dumps(text) + "\n" for text in texts))
    command = [ROOT / "build/bin/benchmark_tokenize", "--base_model", directory, "--texts", lines]
    ours = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    times = {"ours": [], "peer": []}
    for _ in range(rounds + 1):  # the first warms up
        print(file=ours.stdin, flush=True)
        answer = json.loads(ours.stdout.readline())
        start = time.perf_counter()
        encoded = peer.encode_batch_fast(texts, add_special_tokens=False)
        times["peer"].append(1e3 * (time.perf_counter() - start))
        times["ours"].append(answer["ms"])
        assert answer["tokens"] == sum(len(encoding.ids) for encoding in encoded)
    ours.stdin.close()
    ours.wait()
    return {side: values[1:] for side, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    whole = "\n".join(path.read_text() for path in args.texts)
    paragraphs = whole.split("\n\n")
    half = len(paragraphs) // 2
    measured = paragraphs[half:]
    print("| tokenizer | texts | ours, MB/s | tokenizers, MB/s | ratio |\n|---|---|---:|---:|---:|")
    for name in MEASURED:
        tokenizer = train_tokenizer(name, paragraphs[:half], args.vocabulary)
        for what, texts in (("paragraphs", measured), ("one text", ["\n\n".join(measured)])):
            size = sum(len(text.encode()) for text in texts) / 1e6
            with tempfile.TemporaryDirectory() as directory:
                times = measure((name, tokenizer), pathlib.Path(directory), texts, args.rounds)
            speed = {side: [1e3 * size / ms for ms in values] for side, values in times.items()}
            text = {side: f"{statistics.median(v):.1f} ({min(v):.1f}..{max(v):.1f})" for side, v in speed.items()}
            ratio = statistics.median(a / b for a, b in zip(speed["ours"], speed["peer"], strict=True))
            print(f"| {name} | {what} | {text['ours']} | {text['peer']} | {ratio:.1f}x |", flush=True)


if __name__ == "__main__":
    main()
