"""The diffusion demo's pictures: the same arguments give the same files, captions say what is drawn, the score sees it."""

import dataclasses
import json
import random

import numpy as np
import pytest
from conftest import SOURCE_DIR, run_script
from PIL import Image
from score_pictures import ATTRIBUTES, make_templates, recognize, score
from shape_pictures import (
    OBJECTS,
    SHAPES,
    STYLES,
    Scene,
    full_caption,
    parts_of_caption,
    random_caption,
    random_scene,
    render,
)


MAKE, SCORE = (SOURCE_DIR / "scripts" / f"{name}_pictures.py" for name in ("make_shape", "score"))


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def attributes(scene):
    return {name: getattr(scene, name) for name in ATTRIBUTES}


@pytest.fixture(scope="module")
def templates():
    return make_templates()


@pytest.mark.parametrize("subset", [("base",), ("style", "neon"), ("object", "robot")])
def test_the_same_arguments_give_the_same_files(tmp_path, subset):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = run_script(MAKE, *subset, tmp_path / name, "--count", 3, "--seed", seed)
        assert run.returncode == 0, run.stderr
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a")["0.png"] != files_of(tmp_path / "c")["0.png"]
    records = [json.loads(line) for line in (tmp_path / "a" / "metadata.jsonl").open()]
    assert [record["file_name"] for record in records] == ["0.png", "1.png", "2.png"]
    assert Image.open(tmp_path / "a" / "0.png").size == (64, 64)


def test_a_flat_circle_has_its_colours_where_the_scene_says():
    pixels = np.asarray(render(Scene("circle", "red", "left", "white", x=16, y=32, radius=10)))
    assert tuple(pixels[32, 16]) == (220, 38, 38)
    assert tuple(pixels[32, 48]) == (250, 250, 250)
    red = (pixels[..., 1] < 100).sum()
    assert red == pytest.approx(np.pi * 10**2, rel=0.05)


def test_the_styles_are_other_pictures_of_one_scene():
    scene = random_scene(random.Random(0))
    pictures = [
        np.float32(render(dataclasses.replace(scene, style=style)))[..., :3] for style in STYLES
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(pictures[one] - pictures[other]).mean() > 8


def test_captions_say_nothing_but_what_is_drawn():
    rng = random.Random(0)
    for _ in range(300):
        scene = random_scene(rng, rng.choice(STYLES), SHAPES + OBJECTS)
        said = parts_of_caption(random_caption(rng, scene))
        assert said.items() <= attributes(scene).items()
        assert "shape" in said or scene.shape in SHAPES
        assert parts_of_caption(full_caption(scene)) | {"style": scene.style} == attributes(scene)


def test_an_orange_thing_takes_an():
    assert full_caption(Scene("star", "orange", "top", "mint")) == "an orange star at the top, mint background"


@pytest.mark.parametrize("noise", [0, 20])
def test_the_score_recognizes_fresh_renderings(templates, noise):
    rng, generator = random.Random(5), np.random.default_rng(5)
    scenes = [random_scene(rng, rng.choice(STYLES), SHAPES + OBJECTS) for _ in range(60)]
    pictures = np.stack([np.asarray(render(scene)) for scene in scenes])
    pictures = np.clip(pictures + generator.normal(0, noise, pictures.shape), 0, 255).astype(np.uint8)
    shares = score(recognize(pictures, templates), [attributes(scene) for scene in scenes])
    assert min(shares.values()) > 0.95, shares


def test_the_score_counts_only_what_captions_say():
    found = [
        {"color": "red", "shape": "star", "style": "flat"},
        {"color": "blue", "shape": "heart", "style": "flat"},
    ]
    wanted = [{"color": "red", "style": "flat"}, {"color": "blue", "shape": "star", "style": "flat"}]
    assert score(found, wanted) == {
        "color": 1.0,
        "shape": 0.0,
        "position": None,
        "background": None,
        "style": 1.0,
        "all": 0.5,
    }


def test_a_folder_is_scored_against_its_captions(tmp_path):
    run_script(MAKE, "style", "sketch", tmp_path, "--count", 8, "--full_captions")
    right = json.loads(run_script(SCORE, tmp_path, "--style", "sketch").stdout)
    assert right == dict.fromkeys((*ATTRIBUTES, "all"), 1.0) | {"pictures": 8}
    wrong = json.loads(run_script(SCORE, tmp_path).stdout)
    assert (wrong["style"], wrong["color"], wrong["all"]) == (0.0, 1.0, 0.0)
