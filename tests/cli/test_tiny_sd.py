"""scripts/make_tiny_sd.py: its pipeline directory is one that diffusers, transformers and this program read."""

import random

import pytest
from conftest import run_json
from shape_pictures import OBJECTS, SHAPES, random_caption, random_scene

TEXTS = (
    "a red circle on the left, white background",
    "An orange  ROBOT near the top",
    "it's 12 wörld ☃, h0use-boat",
    "",
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The directory, with a VAE that has learned nothing."""
    import make_tiny_sd
    import torch

    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("tiny-sd")
    make_tiny_sd.write_pipeline(out, make_tiny_sd.AutoencoderKL(**make_tiny_sd.VAE), seed=0)
    return out


@pytest.fixture(scope="module")
def tokenizer(pipeline):
    import transformers

    return transformers.CLIPTokenizerFast.from_pretrained(pipeline / "tokenizer")


def test_diffusers_makes_pictures_of_it(pipeline):
    import diffusers

    made = diffusers.StableDiffusionPipeline.from_pretrained(pipeline)  # no dtype: one for all parts
    made.set_progress_bar_config(disable=True)
    picture = made(TEXTS[0], num_inference_steps=2, height=64, width=64, output_type="np").images
    assert picture.shape == (1, 64, 64, 3)
    heads, size = made.unet.config.attention_head_dim, made.unet.config.block_out_channels[0]
    assert heads != size // heads  # a mix-up of the two would show


def test_it_is_small_enough_to_be_checked_in(pipeline):
    assert sum(path.stat().st_size for path in pipeline.rglob("*") if path.is_file()) < 8e6


def test_every_caption_fits_into_the_context(tokenizer):
    rng = random.Random(0)
    captions = [random_caption(rng, random_scene(rng, shapes=SHAPES + OBJECTS)) for _ in range(500)]
    assert max(len(ids) for ids in tokenizer(captions).input_ids) <= tokenizer.model_max_length


def test_a_word_of_the_grammar_is_one_token(tokenizer):
    assert tokenizer.tokenize("a purple robot, mint background") == [
        "a</w>",
        "purple</w>",
        "robot</w>",
        ",</w>",
        "mint</w>",
        "background</w>",
    ]


def test_the_program_tokenizes_as_transformers_does(pipeline, tokenizer):
    for text in TEXTS:
        ids = run_json("tokenize", "--base_model", pipeline / "tokenizer", text, "--special")["ids"]
        assert ids == tokenizer(text).input_ids, text
