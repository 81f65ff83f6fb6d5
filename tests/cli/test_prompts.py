"""Prompts as text encoders read them: rows of ids equal those of transformers' CLIP tokenizer, padded and cut."""

import json
import shutil
import subprocess

import pytest
from conftest import BUILD_DIR, SHARED_DIR
from tokenizer_kinds import make_tokenizer, random_texts

transformers = pytest.importorskip("transformers")

REAL = SHARED_DIR / "data" / "sd_configs" / "sd15" / "tokenizer"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is missing")
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def encode_prompts(directory, prompts, positions=77):
    """The rows, and what was said about them."""
    out = directory / "rows.json"
    result = subprocess.run(
        [BUILD_DIR / "bin" / "run_component", "prompts", directory, str(positions), out],
        input=json.dumps(prompts),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode != 0:
        return None, result.stderr
    return json.loads(out.read_text()), result.stderr


def expect_rows(directory, prompts, length=77):
    """As diffusers' pipelines call the tokenizer."""
    peer = transformers.CLIPTokenizer.from_pretrained(directory)
    expected = peer(prompts, padding="max_length", max_length=length, truncation=True)["input_ids"]
    ours, said = encode_prompts(directory, prompts, length)
    assert ours is not None, said
    assert all(len(row) == length for row in ours)
    different = [p for p, a, b in zip(prompts, ours, expected, strict=True) if a != b]
    assert not different, f"{len(different)} of {len(prompts)}, the shortest: {min(different, key=len)!r}"


def small_clip(directory, pad=EOS, **settings):
    """A vocabulary of 1,500 pieces, as pipelines save it."""
    directory.mkdir()
    make_tokenizer("clip", directory)
    model = json.loads((directory / "tokenizer.json").read_text())["model"]
    (directory / "tokenizer.json").unlink()
    vocabulary = {piece: i for piece, i in model["vocab"].items() if piece not in (BOS, EOS)}
    vocabulary = {piece: i for i, piece in enumerate([*vocabulary, BOS, EOS])}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    merges = "".join(f"{a} {b}\n" for a, b in model["merges"])
    (directory / "merges.txt").write_text("#version: 0.2\n" + merges)
    tokens = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": pad}
    set_config(directory, tokenizer_class="CLIPTokenizer", **tokens | settings)
    return directory


def set_config(directory, name="tokenizer_config.json", **settings):
    path = directory / name
    before = json.loads(path.read_text()) if path.exists() else {}
    settings = {key: value for key, value in (before | settings).items() if value is not None}
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(settings))


@pytest.fixture
def real(tmp_path):
    shutil.copytree(REAL, tmp_path / "real", copy_function=shutil.copyfile)
    (tmp_path / "real").chmod(0o755)
    return tmp_path / "real"


PROMPTS = [
    "",
    " ",
    "a",
    "a photo of an astronaut riding a horse on mars",
    "A PHOTO,  with\tspaces\n and 1984 digits!",
    "caf\u00e9 cafe\u0301 na\u00efve \u0130stanbul stra\u00dfe \uff21\uff22\uff23 \u201ccurly\u201d",
    "\u4f60\u597d\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \ud55c\uae00 \u0440\u0435\u043a\u0430 \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea!!!",
    f"a {EOS} b {BOS} c{EOS}",
    "wow! !! a!b ! ,!",
    " ".join(["dog"] * 73),
    " ".join(["dog"] * 74),
    " ".join(["dog"] * 75),  # just fits
    " ".join(["dog"] * 76),
    "masterpiece, best quality, " * 60,
    "\U0001f600" * 100,
    f"{'dog ' * 74}{EOS}{'cat ' * 20}",
]


@needs_real
@pytest.mark.parametrize("pad", [EOS, "!"])
def test_prompts_of_stable_diffusion(pad, real):
    set_config(real, pad_token=pad)
    set_config(real, "special_tokens_map.json", pad_token=pad)
    expect_rows(real, PROMPTS + random_texts(3000, seed=7))


@needs_real
@pytest.mark.parametrize("pad", [EOS, "!"])
def test_a_directory_that_transformers_of_today_saved(pad, real, tmp_path):
    set_config(real, pad_token=pad)
    set_config(real, "special_tokens_map.json", pad_token=pad)
    peer = transformers.CLIPTokenizer.from_pretrained(real)
    peer(["once", "used"], padding="max_length", truncation=True)  # leaves its settings in the file
    peer.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new" / "vocab.json").exists()
    expect_rows(tmp_path / "new", PROMPTS + random_texts(1000, seed=8))


@pytest.mark.parametrize("length", [5, 77])
@pytest.mark.parametrize("pad", [EOS, BOS, "!"])
def test_prompts_of_a_small_vocabulary(pad, length, tmp_path):
    small = small_clip(tmp_path / "small", pad, model_max_length=length)
    expect_rows(small, PROMPTS + random_texts(500, seed=9), length)


@pytest.mark.parametrize(
    "stated, positions, length",
    [(20, 77, 20), (77, 16, 16), (10**30, 12, 12), (None, 12, 12)],
)
def test_the_shorter_of_what_tokenizer_and_encoder_take(stated, positions, length, tmp_path):
    small = small_clip(tmp_path / "small", model_max_length=stated)
    rows, _ = encode_prompts(small, ["", "dog " * 100], positions)
    assert [len(row) for row in rows] == [length, length]


@pytest.mark.parametrize(
    "config, special_map, listed",
    [
        ("!", BOS, False),  # transformers takes the map's
        ("!", BOS, True),  # and the settings' where these list all added tokens
        (None, "!", False),
        (None, None, False),  # the class's default
        ({"__type": "AddedToken", "content": "!"}, None, False),
    ],
)
def test_where_the_padding_is_named(config, special_map, listed, tmp_path):
    small = small_clip(tmp_path / "small")
    set_config(small, pad_token=config)
    if listed:
        set_config(small, added_tokens_decoder={})
    if special_map:
        set_config(small, "special_tokens_map.json", pad_token=special_map)
    expect_rows(small, ["", "dog", "dog!"], 8)


def test_what_is_cut_is_told(tmp_path):
    small = small_clip(tmp_path / "small", model_max_length=8)
    prompt = "the river running caf\u00e9 river the \U0001f600 river"
    rows, said = encode_prompts(small, ["the", prompt], 77)
    peer = transformers.CLIPTokenizer.from_pretrained(small)
    # as diffusers' pipelines find it
    removed = peer.decode(peer(prompt)["input_ids"][8 - 1 : -1])
    assert removed and rows[1][0] == peer.bos_token_id and rows[1][-1] == peer.eos_token_id
    told = [line for line in said.splitlines() if "left out" in line]
    assert len(told) == 1 and told[0].endswith(": " + removed) and "8 tokens" in told[0], said


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"model_max_length": 1}, ["rows of 1 tokens", "model_max_length", "at least 2"]),
        ({"model_max_length": -5}, ["rows of -5 tokens"]),
    ],
    ids=str,
)
def test_a_tokenizer_that_does_not_fit_is_refused(settings, words, tmp_path):
    small = small_clip(tmp_path / "small")
    set_config(small, **settings)
    rows, error = encode_prompts(small, ["dog"])
    assert rows is None and all(word in error for word in words), error


@pytest.mark.parametrize("settings", [{"pad_token": "<nothing>"}, {"eos_token": None}], ids=str)
def test_tokens_that_the_vocabulary_lacks_are_added_as_transformers_does(settings, tmp_path):
    small = small_clip(tmp_path / "small", model_max_length=8)
    set_config(small, **settings)
    peer = transformers.CLIPTokenizer.from_pretrained(small)
    expected = peer(["dog"], padding="max_length", max_length=8, truncation=True)["input_ids"]
    assert encode_prompts(small, ["dog"], 77)[0] == expected
