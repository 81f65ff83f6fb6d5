#!/usr/bin/env python3
"""Write a reading task for the tiny base: who has what and where it is, then questions and their answers.

    make_quiz_data.py OUT_DIR [--train_kb 200] [--heldout_kb 20] [--seed 0]

Writes quiz_train.txt and quiz_heldout.txt in the form that make_demo_data.py has: plain text, a blank line between
items; for data sets of `type: text`. An item tells of three children and asks three things that were told:

    Mia has a red ball. Ben has a black hat. Sue has a blue cup. The ball is in the box. ...
    Question: Who has the hat? Answer: Ben.

A (child, thing) pair of the first sentence belongs to one split only. The same flags give the same bytes.
"""

import random
from pathlib import Path

from make_demo_data import is_held_out, parse_flags, text_parser, with_article

CHILDREN = "Tom Sam Max Ben Tim Joe Jack Finn Mia Lily Anna Lucy Sara Sue Amy Kate".split()
COLOURS = "red blue green yellow pink black white brown".split()
THINGS = "ball hat cup doll book coin bell shoe lamp kite drum cake key boat leaf bowl".split()
PLACES = [
    "on the bed",
    "in the box",
    "under the tree",
    "by the door",
    "in the park",
    "on the chair",
    "in the car",
    "near the pond",
]
QUESTIONS = (
    ("Who has the {thing}?", "{child}."),
    ("What does {child} have?", "{article}."),
    ("What colour is the {thing}?", "{colour}."),
    ("Where is the {thing}?", "{place}."),
)


def draw_facts(rng: random.Random, held_out: bool) -> list[dict[str, str]]:
    while True:
        children, things = rng.sample(CHILDREN, 3), rng.sample(THINGS, 3)
        if is_held_out("quiz", children[0], things[0]) == held_out:
            break
    colours, places = rng.sample(COLOURS, 3), rng.sample(PLACES, 3)
    return [
        {
            "child": child,
            "thing": thing,
            "colour": colour,
            "place": place,
            "article": with_article(f"{colour} {thing}"),
        }
        for child, thing, colour, place in zip(children, things, colours, places)
    ]


def draw_item(rng: random.Random, held_out: bool) -> str:
    facts = draw_facts(rng, held_out)
    told = ["{child} has {article}.".format(**fact) for fact in facts]
    told += ["The {thing} is {place}.".format(**fact) for fact in rng.sample(facts, 3)]
    lines = [" ".join(told)]
    for fact, (question, answer) in zip(rng.sample(facts, 3), rng.sample(QUESTIONS, 3)):
        lines.append(f"Question: {question} Answer: {answer}".format(**fact))
    return "\n".join(lines)


def write_split(path: Path, held_out: bool, kilobytes: int, seed: str) -> None:
    rng = random.Random(seed)
    items, size = [], 0
    while size < kilobytes * 1000:
        items.append(draw_item(rng, held_out))
        size += len(items[-1]) + 2
    path.write_text("\n\n".join(items) + "\n", encoding="ascii")


def main() -> None:
    args = parse_flags(text_parser(__doc__))
    for split, size in (("train", args.train_kb), ("heldout", args.heldout_kb)):
        path = args.out / f"quiz_{split}.txt"
        write_split(path, split == "heldout", size, f"{args.seed}/quiz/{split}")


if __name__ == "__main__":
    main()
