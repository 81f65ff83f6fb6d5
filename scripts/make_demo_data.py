#!/usr/bin/env python3
"""Write the demo's fine-tuning sets: short children's stories told by a pirate, or about robots that beep.

    make_demo_data.py OUT_DIR [--style pirate|robot|all] [--train_kb 200] [--heldout_kb 20] [--seed 0]

Writes <style>_train.txt and <style>_heldout.txt: plain text, one paragraph of 60-120 words a story, a blank line
between stories; for data sets of `type: text`. All text is our own: every story is drawn from the grammar below
(an opening, a plot of five beats, an ending, with names, things and places filled in). A (plot, name, thing)
combination belongs to one split only, so a held-out story is one that was never trained on. The same flags
give the same bytes.

What one sees at a glance: a pirate story says Arr, ye and matey and ends "Yo ho ho!"; a robot story has every
speech in the form "BEEP BOOP. ... BOOP BEEP." and ends "BEEP BOOP. The end."
"""

import argparse
import hashlib
import random
import re
from pathlib import Path

HELDOUT_SHARE = 8  # one of so many (plot, name, thing) combinations is held out

# {name}, {friend}, {thing}, {place} and {food} are drawn once a story; {he}, {him}, {his} and {He} follow the name;
# any other {slot} is a fresh draw from the style's table of that name; {a:thing} puts the article a or an before it.
# fmt: off
PIRATE = {
    "he": "Finn Jack Tom Sam Max Ben Tim Billy Pete Joe Hook Barny Red Kit Wally Gus".split(),
    "she": "Lily Anna Mia Lucy Molly Ruby Sara Pearl Sally Bess Amy Daisy Coral Kate Meg Nell".split(),
    "thing": ["gold coin", "red hat", "old map", "shiny key", "blue flag", "silver ring", "big drum", "wooden spoon",
              "small bell", "green scarf", "long rope", "brass lamp", "toy boat", "black boot", "soft blanket",
              "little box", "striped sock", "round mirror", "sea shell", "golden cup"],
    "place": ["the sandy island", "the quiet cove", "the dark cave", "the big ship", "the old dock", "the windy hill",
              "the misty bay", "the palm trees", "the high rocks", "the deep blue sea"],
    "food": ["fish pie", "sweet mango", "hot soup", "sea cake", "coconut bread", "salty crackers", "apple tart",
             "banana stew"],
    "friend": ["a green parrot", "a fat crab", "an old turtle", "a tiny monkey", "a happy dolphin", "a grey gull",
               "a shy octopus", "a kind whale", "a brown rat", "a sleepy seal"],
    "arr": ["Arr!", "Arr!", "Arr!", "Ahoy!", "Aye aye!", "Yarr!", "Shiver me timbers!", "Blow me down!"],
    "matey": ["matey", "matey", "me hearty", "me friend", "ye wee sea dog", "ye old salt"],
    "wee": ["wee", "wee", "brave", "jolly", "salty", "scruffy", "merry"],
    "weather": ["The sun be hot and the wind be strong.", "The waves be big that day.", "The sky be blue as the sea.",
                "A cold wind did blow on the deck.", "The sea be calm and the gulls did sing.",
                "The fog be thick as {food}."],
    "opening": ["Once upon a tide, there was a {wee} pirate named {name}.",
                "Once upon a tide, a {wee} pirate named {name} did sail the seven seas.",
                "One salty day, a {wee} pirate named {name} sailed to {place}.",
                "Long ago, on the wide blue sea, there was a {wee} pirate named {name}.",
                "One day, a {wee} pirate named {name} was on {his} ship.",
                "Ahoy! Here be the tale of a {wee} pirate named {name}."],
    "about": ["{He} had {a:thing}, and {he} loved it more than gold.", "{He} loved to sing and eat {food}, arr!",
              "{name} kept {a:thing} in {his} sea chest.", "{He} had a wee ship and a big smile.",
              "Every morn, {he} ate {food} and washed the deck.", "All the mateys liked {name}, for {he} be kind.",
              "{weather}", "{weather} {name} did not mind, for {he} be a pirate."],
    "joy": ["{name} danced a jig on the deck.", "They sang sea songs until the moon came up.",
            "Then they ate {food} by the fire, arr!", "{name} laughed so loud that the fish jumped.",
            "They shared {food} and told tall tales.", "All the mateys did cheer."],
    "ending": ["From that tide on, they sailed side by side. Yo ho ho!", "And that be the end of me tale. Yo ho ho!",
               "So they sailed home, as happy as a crab in the sand. Yo ho ho!",
               "They slept well in their hammocks that night. Yo ho ho!", "And they all sang, yo ho ho!"],
    "plots": {
        "lost": [
            ["But one morn, the {thing} be gone!", "Then a big wave took the {thing} away.",
             "But {he} lost the {thing} near {place}."],
            ["\"{arr} Where be me {thing}?\" cried {name}.", "\"{arr} I can not find me {thing}!\" {he} said, and {he} be sad.",
             "{name} looked under the deck and up the mast, but it be not there."],
            ["{He} met {friend}. \"Ahoy, {matey}! Have ye seen me {thing}?\" {he} asked.",
             "Then {friend} came by. \"Why be ye so sad, {matey}?\" it asked."],
            ["\"Aye! It be at {place}. Come with me, {matey}!\"", "\"Look in yer pocket, {matey}!\" it said, and there it was.",
             "\"I saw it at {place}, {matey},\" it said, and off they sailed to get it."],
            ["\"{arr} Thank ye, {matey}! Now I will take good care of me {thing},\" said {name}.",
             "{name} found the {thing} and hugged {his} new friend. \"Thank ye, {matey}!\" {he} said."]],
        "storm": [
            ["Then a big black storm came over the sea.", "But the sky turned dark and the rain did fall.",
             "That night the wind did howl and the waves be tall as trees."],
            ["The ship went up and down, and the {thing} fell in the water.", "The ship did shake, and {name} be scared.",
             "\"{arr} Hold on tight!\" cried {name}, but the mast did crack."],
            ["Then {friend} came out of the waves. \"Do not fear, {matey}!\" it said.",
             "\"Help me, {matey}!\" {he} called, and {friend} heard {him}."],
            ["It showed {name} the way to {place}, where the water be calm.",
             "Side by side they pulled the ropes until the storm went away.",
             "They tied the ship fast with {a:thing} and sat close until the sun came out."],
            ["\"{arr} Ye be a true friend, {matey},\" said {name}.", "\"A storm be not so bad with a friend, {matey},\" said {name}."]],
        "share": [
            ["One day {he} found a chest full of {food} at {place}.", "{He} had a big pot of {food}, all for {him}.",
             "The cook made {food}, and {name} took it all."],
            ["\"{arr} It be all mine!\" said {name}.", "\"None for ye, {matey}! It be mine!\" {he} said."],
            ["But {friend} sat near by and be so hungry.", "Then {friend} came and looked at the {food} with big eyes."],
            ["{name} looked at the {food} and felt bad. \"Come here, {matey}. Half be for ye,\" {he} said.",
             "\"Will ye give me a bit, {matey}?\" it asked. {name} thought, and then {he} gave it half."],
            ["It gave {name} {a:thing} to say thank ye.", "\"{arr} It be twice as good when ye share it,\" said {name}.",
             "\"Ye be kind, {matey},\" it said, and it gave {him} {a:thing}."]],
        "treasure": [
            ["{He} found {a:thing} with a big black X on it.", "In {his} chest {he} found a note. It said, dig at {place}.",
             "An old pirate told {him} of gold at {place}."],
            ["\"{arr} There be treasure!\" said {name}, and {he} set sail.", "\"{arr} I will find it!\" {he} cried. \"Up with the sail!\""],
            ["At {place} {he} met {friend}. \"What do ye seek, {matey}?\" it asked.",
             "On the way, {friend} came on board. \"Take me with ye, {matey}!\" it said."],
            ["They dug and dug in the sand until they hit a box.", "They counted ten steps and dug a deep hole."],
            ["In the box be no gold, only {a:thing}. \"{arr} The best treasure be a friend,\" said {name}.",
             "It be full of {food}! \"{arr} This be better than gold, {matey},\" said {name}."]],
        "scared": [
            ["But {name} had a secret. {He} be scared of {place}.", "One night, {he} had to go to {place} all alone.",
             "There be a strange sound at {place}, and {name} did shake."],
            ["\"{arr} Who be there?\" {he} called, but no one did say a word.", "\"{arr} I think there be a ghost!\" {he} said."],
            ["{He} held {his} {thing} up high and took one step, and then one more.",
             "{He} took {a:thing} and a deep breath, and in {he} went."],
            ["It be no ghost at all. It be {friend}! \"Ahoy, {matey}! I be lost,\" it said.",
             "Out came {friend}. \"Do not be scared, {matey}. I be scared too!\" it said."],
            ["\"{arr} Ye can stay on me ship,\" said {name}. {He} be not scared any more.",
             "They laughed and laughed. \"{arr} We be brave now, {matey}!\" said {name}."]],
        "race": [
            ["One day there be a big race to {place}.", "The mateys said, \"Let us race to {place}!\""],
            ["\"{arr} I be the fastest on the sea!\" said {name}.", "{name} wanted to win the {thing}. \"{arr} It will be mine!\" {he} said."],
            ["{He} sailed so fast that all the ships be far behind.", "The wind be good, and soon {he} be first."],
            ["Then {he} saw {friend} stuck in a net. \"Help me, {matey}!\" it cried. {name} stopped {his} ship and cut the net.",
             "But {friend} fell in the water. \"{arr} I will save ye, {matey}!\" cried {name}, and {he} turned {his} ship."],
            ["{name} came in last, but all the mateys clapped and gave {him} the {thing}.",
             "{He} lost the race. \"{arr} But I won a friend,\" {he} said."]],
        "fix": [
            ["But there be a big hole in the ship.", "Then the ship hit the rocks near {place}.", "One day the sail be torn in two."],
            ["\"{arr} We will sink!\" cried {name}.", "\"{arr} Me poor ship! What will I do?\" {he} said."],
            ["{He} tried to fix it with {a:thing}, but the water still came in.", "{He} put {a:thing} on it, but it did not stay."],
            ["Then {friend} said, \"I can help ye, {matey}. Let me hold it.\"",
             "\"Ye need a hand, {matey},\" said {friend}, and it came to help."],
            ["They worked all day, and at last the ship be as good as new. \"{arr} Thank ye, {matey}!\" said {name}.",
             "By night it be done. \"{arr} Two be better than one, {matey},\" said {name}."]],
        "captain": [
            ["The captain be a grumpy man with {a:thing}.", "The captain did shout at {name} all day long.",
             "The captain be mad, for he could not find his {thing}."],
            ["\"Wash the deck, ye lazy dog!\" he said. \"{arr} Aye aye, captain,\" said {name}.",
             "\"{arr} No one may play on me ship!\" said the captain."],
            ["{name} asked {friend} what to do. \"Be kind to him, {matey},\" it said.",
             "\"Why be he so mad?\" {he} asked {friend}. \"He be lonely, {matey},\" it said."],
            ["So {name} gave the captain some {food} and a big smile.", "So {name} made {food} for him and sat down by his side."],
            ["\"{arr} No one was so kind to me before. Thank ye, {matey},\" said the captain, and he smiled too.",
             "The captain cried a wee tear. \"{arr} Will ye be me friend?\" he asked. \"Aye, {matey}!\" said {name}."]],
    },
}

ROBOT = {
    "he": "Zip Bolt Max Beep Rusty Gizmo Spark Turbo Chip Tim Ben Sam Buzz Tick Robo Pip".split(),
    "she": "Dot Lily Mia Luna Bella Ping Tina Roxy Ada Nova Anna Sara Pixel Cora Lucy Zara".split(),
    "thing": ["red wire", "big gear", "blue light", "new wheel", "shiny bolt", "metal box", "green button", "tin can",
              "long spring", "small screw", "round magnet", "yellow lamp", "toy rocket", "silver key", "glass eye",
              "loud horn", "little drum", "spare leg", "iron hat", "copper coin"],
    "place": ["the robot shop", "the big lab", "the moon base", "the tall tower", "the metal park", "the old factory",
              "the power room", "the long bridge", "the junk yard", "the glass house"],
    "food": ["warm oil", "cold oil", "sweet grease", "a cup of power", "fresh oil", "a can of oil"],
    "friend": ["a flying robot", "a tiny robot", "a square robot", "a robot dog", "a robot cat", "a tall robot",
               "an old robot", "a round robot", "a pink robot", "a robot bird"],
    "feel": ["beeped", "buzzed", "said", "said", "said"],
    "moves": ["{His} lights went on and off.", "{His} wheels went round and round.", "{His} head turned left and right.",
              "{His} arms went click and clack.", "{His} eyes turned green.", "{His} motor went hum, hum, hum."],
    "opening": ["Once upon a time, there was a little robot named {name}.",
                "Once upon a time, a small robot named {name} lived at {place}.",
                "One day, a little robot named {name} rolled to {place}.",
                "There was a robot named {name} who was made of shiny metal.",
                "One morning, a robot named {name} turned on.",
                "In a land of robots, there was a little robot named {name}."],
    "about": ["{He} had {a:thing} on top of {his} head.", "{name} liked to count, and {he} liked {food}.",
              "{He} had {a:thing} and loved it very much.", "{moves}", "{moves} {moves}",
              "Every day, {he} drank {food} and went to work.", "{name} had a big battery and a kind heart."],
    "joy": ["{moves}", "They both did a robot dance, click, clack, click.", "Then they drank {food} and were happy.",
            "They played with the {thing} until the night came.", "{name} and the robots hugged with a loud clang.",
            "They counted from one to ten and laughed."],
    "ending": ["{name} turned off {his} lights and went to sleep. BEEP BOOP. The end.",
               "And the robots were happy ever after. BEEP BOOP. The end.",
               "From that day on, they were best robot friends. BEEP BOOP. The end.",
               "They went home and plugged in for the night. BEEP BOOP. The end."],
    "plots": {
        "battery": [
            ["But {his} battery was very low.", "Then {his} lights got dim, and {he} could not move.", "At {place}, {he} ran out of power."],
            ["\"BEEP BOOP. I am so tired. BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. I need more power. BOOP BEEP,\" {feel} {name}."],
            ["{friend!} came by and saw {him}.", "{name} waited and waited. Then {friend} rolled up."],
            ["\"BEEP BOOP. You can use my {thing}. BOOP BEEP,\" it {feel}.", "\"BEEP BOOP. I have {food} for you. BOOP BEEP,\" it {feel}."],
            ["{name} felt strong again. \"BEEP BOOP. Thank you, my friend. BOOP BEEP,\" {he} {feel}.",
             "Soon {he} was full of power. \"BEEP BOOP. You are kind. BOOP BEEP,\" {feel} {name}."]],
        "lost": [
            ["But one day the {thing} was gone.", "Then {he} lost {his} {thing} at {place}.", "{His} {thing} fell off and rolled away."],
            ["\"BEEP BOOP. Where is my {thing}? BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. I am sad. BOOP BEEP,\" {feel} {name}."],
            ["{He} looked in {place}, but it was not there.", "{He} looked up, and {he} looked down. It was not there."],
            ["Then {friend} came. \"BEEP BOOP. Is this your {thing}? BOOP BEEP,\" it {feel}.",
             "{friend!} had it. \"BEEP BOOP. I found it for you. BOOP BEEP,\" it {feel}."],
            ["\"BEEP BOOP. Yes, it is mine. Thank you. BOOP BEEP,\" {feel} {name}.",
             "\"BEEP BOOP. Now I am happy. BOOP BEEP,\" {feel} {name}."]],
        "rain": [
            ["Then it started to rain, and robots do not like rain.", "But dark clouds came, and water fell on {him}."],
            ["\"BEEP BOOP. I will rust. BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. The water is bad for me. BOOP BEEP,\" {feel} {name}."],
            ["{He} rolled to {place} as fast as {he} could.", "{He} hid under {a:thing}, but it was too small."],
            ["{friend!} was there too. \"BEEP BOOP. Come in and get dry. BOOP BEEP,\" it {feel}.",
             "There {he} met {friend}. \"BEEP BOOP. Let us wait here. BOOP BEEP,\" it {feel}."],
            ["They shared {food} until the sun came out. \"BEEP BOOP. Rain is fun with a friend. BOOP BEEP,\" {feel} {name}.",
             "When the sun came out, they were dry. \"BEEP BOOP. We did not rust. BOOP BEEP,\" {feel} {name}."]],
        "build": [
            ["{name} wanted to build a big house.", "{name} wanted to make a rocket to the moon.", "{name} had a plan to build a new robot."],
            ["\"BEEP BOOP. I need {a:thing}. BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. I will start now. BOOP BEEP,\" {feel} {name}."],
            ["{He} went to {place} and asked {friend} to help.", "{friend!} saw {him} work and came to look."],
            ["\"BEEP BOOP. I can hold the {thing}. BOOP BEEP,\" it {feel}.", "\"BEEP BOOP. We can do it together. BOOP BEEP,\" it {feel}."],
            ["They worked all day, and then it was done. \"BEEP BOOP. It is so big. BOOP BEEP,\" {feel} {name}.",
             "At last it was ready. \"BEEP BOOP. We made it. BOOP BEEP,\" {feel} {name}."]],
        "share": [
            ["{name} had a lot of {food}, but {he} did not want to share.", "{name} had the best {thing} of all the robots."],
            ["\"BEEP BOOP. It is all for me. BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. No one can have it. BOOP BEEP,\" {feel} {name}."],
            ["Then {friend} came. It had nothing, and its eyes were blue and sad.", "{friend!} sat alone at {place} and did not beep."],
            ["\"BEEP BOOP. Can I have some? BOOP BEEP,\" it {feel}. {name} thought for ten seconds.",
             "{name} saw this and felt bad. \"BEEP BOOP. You can have half. BOOP BEEP,\" {he} {feel}."],
            ["\"BEEP BOOP. It is good to share. BOOP BEEP,\" {feel} {name}.",
             "The robot smiled. \"BEEP BOOP. You are my best friend. BOOP BEEP,\" it {feel}."]],
        "scared": [
            ["It was dark at {place}, and {name} was scared.", "There was a loud sound at {place}. Clang!"],
            ["\"BEEP BOOP. Who is there? BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. I do not like the dark. BOOP BEEP,\" {feel} {name}."],
            ["{He} turned on {his} {thing} and went in.", "{He} held {his} {thing} and rolled very slowly."],
            ["It was only {friend}. \"BEEP BOOP. I am scared too. BOOP BEEP,\" it {feel}.",
             "There was {friend} with a broken wheel. \"BEEP BOOP. Please help me. BOOP BEEP,\" it {feel}."],
            ["\"BEEP BOOP. We can be brave together. BOOP BEEP,\" {feel} {name}.",
             "\"BEEP BOOP. I will help you. BOOP BEEP,\" {feel} {name}. {He} was not scared any more."]],
        "race": [
            ["There was a robot race at {place}.", "All the robots came to {place} for a big race."],
            ["\"BEEP BOOP. I am very fast. BOOP BEEP,\" {feel} {name}.", "\"BEEP BOOP. I want to win the {thing}. BOOP BEEP,\" {feel} {name}."],
            ["Three, two, one, go! {name} was in front.", "{name} rolled and rolled, and no robot was as fast."],
            ["But {friend} fell over. \"BEEP BOOP. I can not get up. BOOP BEEP,\" it {feel}.",
             "Then {he} saw that {friend} had lost a wheel. \"BEEP BOOP. Oh no. BOOP BEEP,\" it {feel}."],
            ["{name} stopped to help. \"BEEP BOOP. Friends come first. BOOP BEEP,\" {he} {feel}.",
             "{name} went back and gave it {a:thing}. \"BEEP BOOP. We can finish together. BOOP BEEP,\" {he} {feel}."]],
        "learn": [
            ["{name} wanted to learn how to jump.", "{name} wanted to learn how to sing.", "{name} wanted to learn how to fly."],
            ["{He} tried one time and fell down. \"BEEP BOOP. It is too hard. BOOP BEEP,\" {feel} {name}.",
             "{He} tried, but there was only smoke. \"BEEP BOOP. I can not do it. BOOP BEEP,\" {feel} {name}."],
            ["{friend!} looked at {him} and at {his} {thing}.", "At {place}, {he} met {friend}."],
            ["\"BEEP BOOP. Try again. I will show you. BOOP BEEP,\" it {feel}.",
             "\"BEEP BOOP. You need {a:thing}. BOOP BEEP,\" it {feel}."],
            ["{name} tried again, and it worked! \"BEEP BOOP. I did it. BOOP BEEP,\" {he} {feel}.",
             "After ten tries, {he} could do it. \"BEEP BOOP. I will never give up. BOOP BEEP,\" {feel} {name}."]],
    },
}

# fmt: on
STYLES = {"pirate": PIRATE, "robot": ROBOT}


def with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def expand(template: str, bound: dict[str, str], grammar: dict, rng: random.Random) -> str:
    def fill(match: re.Match) -> str:
        slot = match.group(1)
        if slot.startswith("a:"):
            return with_article(bound[slot[2:]])
        if slot.endswith("!"):
            return capitalised(bound[slot[:-1]])
        return (
            bound[slot] if slot in bound else expand(rng.choice(grammar[slot]), bound, grammar, rng)
        )

    return re.sub(r"\{([^}]+)\}", fill, template)


def is_held_out(*combination: str) -> bool:
    digest = hashlib.sha256("/".join(combination).encode()).digest()
    return digest[0] % HELDOUT_SHARE == 0


def draw_hero(grammar: dict, rng: random.Random) -> dict[str, str]:
    if rng.random() < 0.5:
        return {
            "name": rng.choice(grammar["he"]),
            "he": "he",
            "He": "He",
            "him": "him",
            "his": "his",
            "His": "His",
        }
    return {
        "name": rng.choice(grammar["she"]),
        "he": "she",
        "He": "She",
        "him": "her",
        "his": "her",
        "His": "Her",
    }


def draw_story(grammar: dict, held_out: bool, rng: random.Random) -> str:
    while True:
        plot = rng.choice(sorted(grammar["plots"]))
        bound = draw_hero(grammar, rng)
        bound |= {slot: rng.choice(grammar[slot]) for slot in ("thing", "place", "food", "friend")}
        if is_held_out(plot, bound["name"], bound["thing"]) == held_out:
            break
    # Not every story has the optional beats, so that stories differ in length and rhythm.
    about = rng.sample(grammar["about"], rng.choice([0, 1, 1, 2]))
    joy = [rng.choice(grammar["joy"])] if rng.random() < 0.7 else []
    beats = [
        rng.choice(beat)
        for beat in (grammar["opening"], *grammar["plots"][plot], grammar["ending"])
    ]
    templates = [beats[0], *about, *beats[1:-1], *joy, beats[-1]]
    sentences = [expand(template, bound, grammar, rng) for template in templates]
    # A friend is "a fat crab" when it appears and "the fat crab" afterwards.
    return introduce_once(" ".join(sentences), bound["friend"])


def introduce_once(story: str, friend: str) -> str:
    noun = friend.split(" ", 1)[1]
    head, found, tail = story.partition(noun)
    return (
        head
        + found
        + re.sub(
            rf"\b[Aa]n? {noun}", lambda m: ("The " if m.group()[0] == "A" else "the ") + noun, tail
        )
    )


def write_split(path: Path, grammar: dict, held_out: bool, kilobytes: int, seed: str) -> list[str]:
    rng = random.Random(seed)
    stories, seen, size = [], set(), 0
    while size < kilobytes * 1000:
        story = draw_story(grammar, held_out, rng)
        if story not in seen and 60 <= len(story.split()) <= 120:
            seen.add(story)
            stories.append(story)
            size += len(story) + 2
    path.write_text("\n\n".join(stories) + "\n", encoding="ascii")
    return stories


def sentences_of(stories: list[str]) -> list[str]:
    return [
        sentence for story in stories for sentence in re.split(r"(?<=[.!?\"]) (?=[A-Z\"])", story)
    ]


def report(style: str, train: list[str], heldout: list[str]) -> None:
    known = set(sentences_of(train))
    fresh = sum(sentence not in known for sentence in sentences_of(heldout))
    for split, stories in (("train", train), ("heldout", heldout)):
        words = [len(story.split()) for story in stories]
        print(
            f"{style}_{split}: {len(stories)} stories, {sum(map(len, stories)) + 2 * len(stories):,} bytes, "
            f"{min(words)}-{max(words)} words a story, {len(set(sentences_of(stories))):,} different sentences"
        )
    print(
        f"{style}: {fresh / len(sentences_of(heldout)):.0%} of the held-out sentences do not occur in train"
    )


def text_parser(description: str) -> argparse.ArgumentParser:
    """The flags of a script that writes a training and a held-out text."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--train_kb", type=int, default=200, help="size of the training text in kB")
    parser.add_argument(
        "--heldout_kb", type=int, default=20, help="size of the held-out text in kB"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser


def parse_flags(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags checked; OUT_DIR is made."""
    args = parser.parse_args()
    if args.train_kb < 1 or args.heldout_kb < 1:
        parser.error("sizes must be at least 1 kB")
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def main() -> None:
    parser = text_parser(__doc__)
    parser.add_argument("--style", choices=[*STYLES, "all"], default="all")
    args = parse_flags(parser)
    for style in STYLES if args.style == "all" else [args.style]:
        train, heldout = (
            write_split(
                args.out / f"{style}_{split}.txt",
                STYLES[style],
                split == "heldout",
                size,
                f"{args.seed}/{style}/{split}",
            )
            for split, size in (("train", args.train_kb), ("heldout", args.heldout_kb))
        )
        report(style, train, heldout)


if __name__ == "__main__":
    main()
