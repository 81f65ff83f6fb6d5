"""`shira imagine` against diffusers' pipelines, on tiny random ones."""

import json
import shutil

import pytest
from conftest import failure_of, run_shira

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

PROMPT = "a red circle on the left"
NEGATIVE = "a blue square 🦊"


def load_pipeline(directory, scheduler=None):
    import diffusers

    pipe = diffusers.DiffusionPipeline.from_pretrained(directory, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if scheduler:
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    return pipe


def pixels_of(path):
    return np.asarray(Image.open(path)).astype(int)


def imagine(directory, out, *args):
    return run_shira(
        "imagine", "--base_model", directory, "--prompt", PROMPT, "-o", out, "--json", *args
    ).json


def assert_equal_pictures(ours, reference):
    difference = np.abs(pixels_of(ours) - np.asarray(reference).astype(int))
    assert difference.max() <= 1, f"{difference.max()}/255"
    assert np.asarray(reference).std() > 5  # something is on it


SCHEDULERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
}


@pytest.mark.parametrize("variant", ["sd15", "sd21", "sdxl"])
def test_the_seed_gives_diffusers_picture(variant, pipelines, tmp_path):
    directory = pipelines(variant)
    pipe = load_pipeline(directory)
    generator = torch.Generator("cpu").manual_seed(7)
    expected = pipe(PROMPT, num_inference_steps=5, generator=generator).images[0]
    answer = imagine(directory, tmp_path / "a.png", "--seed", 7, "--steps", 5)
    assert answer["files"] == [str(tmp_path / "a.png")]
    assert (answer["width"], answer["height"]) == expected.size
    assert_equal_pictures(tmp_path / "a.png", expected)


@pytest.mark.parametrize("variant", ["sd15", "sdxl"])
def test_negative_prompts_sizes_and_several_pictures(variant, pipelines, tmp_path):
    directory = pipelines(variant)
    pipe = load_pipeline(directory)
    prompts = [PROMPT, "a green star, white"]
    expected = pipe(
        prompts,
        negative_prompt=[NEGATIVE] * 2,
        num_inference_steps=3,
        guidance_scale=3.5,
        num_images_per_prompt=2,
        height=24,
        width=16,
        generator=torch.Generator("cpu").manual_seed(1),
    ).images
    flags = ["--prompt", prompts[1], "--negative_prompt", NEGATIVE, "--steps", 3, "--seed", 1]
    flags += ["--guidance_scale", 3.5, "--num_images", 2, "--height", 24, "--width", 16]
    answer = imagine(directory, tmp_path / "a.png", *flags)
    assert answer["files"] == [str(tmp_path / f"a-{i}.png") for i in (1, 2, 3, 4)]
    for i, picture in enumerate(expected):
        assert_equal_pictures(tmp_path / f"a-{i + 1}.png", picture)


def test_an_empty_negative_prompt_is_encoded_where_its_absence_means_zeros(pipelines, tmp_path):
    directory = pipelines("sdxl")
    pipe = load_pipeline(directory)
    generator = torch.Generator("cpu").manual_seed(0)
    expected = pipe(PROMPT, negative_prompt="", num_inference_steps=3, generator=generator).images
    imagine(directory, tmp_path / "a.png", "--steps", 3, "--negative_prompt", "")
    imagine(directory, tmp_path / "b.png", "--steps", 3)
    assert_equal_pictures(tmp_path / "a.png", expected[0])
    assert (pixels_of(tmp_path / "a.png") != pixels_of(tmp_path / "b.png")).any()


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_every_scheduler_on_given_latents(name, guidance, pipelines, tmp_path):
    directory = pipelines("sd15")
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    save_file({"latents": latents}, tmp_path / "latents.safetensors")
    expected = load_pipeline(directory, SCHEDULERS[name])(
        PROMPT,
        num_inference_steps=6,
        guidance_scale=guidance,
        latents=latents.clone(),
        generator=torch.Generator("cpu").manual_seed(5),
    ).images[0]
    flags = ["--steps", 6, "--scheduler", name, "--guidance_scale", guidance]
    flags += ["--latents", tmp_path / "latents.safetensors"]
    saved = tmp_path / "saved.safetensors"
    if name in ("ddpm", "euler_ancestral"):  # which draw: after the latents without, first with them
        flags += ["--seed", 5]
    imagine(directory, tmp_path / "a.png", *flags, "--save_latents", saved)
    assert_equal_pictures(tmp_path / "a.png", expected)
    kept = load_file(saved)
    assert torch.equal(kept["latents"], latents)
    assert kept["denoised"].shape == latents.shape


def test_the_index_says_which_scheduler_it_is(pipelines, tmp_path):
    shutil.copytree(pipelines("sd15"), tmp_path / "base")
    index = tmp_path / "base" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}))
    pipe = load_pipeline(tmp_path / "base")
    assert type(pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    expected = pipe(PROMPT, num_inference_steps=5, generator=torch.Generator("cpu").manual_seed(0)).images[0]
    imagine(tmp_path / "base", tmp_path / "a.png", "--steps", 5)
    assert_equal_pictures(tmp_path / "a.png", expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_pipelines_load(dtype, pipelines, tmp_path):
    directory = pipelines("sd15", dtype)
    pipe = load_pipeline(directory)
    generator = torch.Generator("cpu").manual_seed(7)
    expected = pipe(PROMPT, num_inference_steps=3, generator=generator).images[0]
    imagine(
        directory, tmp_path / "a.png", "--seed", 7, "--steps", 3, "--base_dtype", "float32"
    )
    assert_equal_pictures(tmp_path / "a.png", expected)


def test_tiles(pipelines, tmp_path):
    directory = pipelines("sd15")
    pipe = load_pipeline(directory)
    pipe.vae.enable_tiling()
    generator = torch.Generator("cpu").manual_seed(0)
    expected = pipe(PROMPT, num_inference_steps=2, height=40, width=40, generator=generator)
    flags = ["--steps", 2, "--height", 40, "--width", 40]
    imagine(directory, tmp_path / "a.png", *flags, "--vae_tiling")
    assert_equal_pictures(tmp_path / "a.png", expected.images[0])


# --------------------------------------------------------------------------------------- adapters


@pytest.fixture
def adapter(pipelines, tmp_path):
    """A sparse adapter of the tiny SD 1.5: the difference to a pipeline with a few other weights."""
    import shutil

    directory = pipelines("sd15")
    tuned = tmp_path / "tuned"
    shutil.copytree(directory, tuned)
    path = tuned / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith(("to_q.weight", "conv1.weight")):
            chosen = torch.rand(tensor.shape, generator=generator) < 0.02
            tensor[chosen] += 0.3
    save_file(tensors, path)
    run_shira("diff", directory, tuned, "-o", tmp_path / "adapter")
    return tmp_path / "adapter", tuned


def test_an_adapter_makes_the_tuned_pipelines_picture(adapter, pipelines, tmp_path):
    directory, tuned = adapter
    flags = ["--steps", 3, "--adapter"]
    imagine(pipelines("sd15"), tmp_path / "a.png", *flags, directory)
    imagine(tuned, tmp_path / "b.png", "--steps", 3)
    imagine(pipelines("sd15"), tmp_path / "base.png", "--steps", 3)
    imagine(pipelines("sd15"), tmp_path / "off.png", *flags, f"{directory}@0")
    a, b = pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "b.png")
    assert (a == b).all()
    assert (pixels_of(tmp_path / "base.png") == pixels_of(tmp_path / "off.png")).all()
    assert (a != pixels_of(tmp_path / "base.png")).any()


def test_a_grid_of_scales(adapter, pipelines, tmp_path):
    directory, _ = adapter
    base = pipelines("sd15")
    flags = ["--steps", 2, "--adapter", f"{directory}@2", "--num_images", 2]
    answer = imagine(base, tmp_path / "grid.png", *flags, "--grid", "adapter_scale=0,0.5,1")
    assert answer["files"] == [str(tmp_path / "grid.png")]
    grid = pixels_of(tmp_path / "grid.png")
    assert grid.shape == (16 * 2 + 2, 16 * 3 + 4, 3)
    for column, scale in enumerate((0, 1, 2)):
        flags = ["--steps", 2, "--adapter", f"{directory}@{scale}", "--num_images", 2]
        imagine(base, tmp_path / "one.png", *flags)
        for row in range(2):
            y, x = 18 * row, 18 * column
            part = grid[y : y + 16, x : x + 16]
            assert (part == pixels_of(tmp_path / f"one-{row + 1}.png")).all()


def test_a_sheet_of_prompts(pipelines, tmp_path):
    flags = ["--steps", 1, "--prompt", "a star", "--num_images", 3, "--grid"]
    answer = imagine(pipelines("sd15"), tmp_path / "sheet.png", *flags)
    assert answer["width"] == 16
    assert pixels_of(tmp_path / "sheet.png").shape == (2 * 16 + 2, 3 * 16 + 4, 3)


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "flags, words",
    [
        (["-o", "a.jpg"], ["a.jpg", ".png"]),
        (["-o", "absent/a.png"], ["absent"]),
        (["--width", "15"], ["width", "15", "multiple of 2"]),
        (["--height", "1000000"], ["height", "1000000", "16384"]),
        (["--scheduler", "heun"], ["heun", "euler_ancestral"]),
        (["--grid", "adapter_scale=0,1"], ["--adapter"]),
        (["--grid", "seed=0,1"], ["adapter_scale"]),
        (["--steps", "0"], ["steps"]),
        (["--latents", "absent.safetensors"], ["absent.safetensors"]),
        (["--adapter", "absent"], ["absent"]),
    ],
    ids=str,
)
def test_bad_flags(flags, words, pipelines, tmp_path):
    if "-o" not in flags:
        flags = [*flags, "-o", tmp_path / "a.png"]
    command = ["imagine", "--base_model", pipelines("sd15"), "--prompt", PROMPT]
    error = failure_of(*command, *flags)
    assert all(word in error for word in words), error
    assert not (tmp_path / "a.png").exists()


def test_pipelines_of_another_kind(pipelines, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    flags = ["imagine", "--prompt", "a", "-o", tmp_path / "a.png", "--base_model"]
    assert "FluxPipeline" in failure_of(*flags, base)
    assert "no such directory" in failure_of(*flags, tmp_path / "absent")
    assert "not a pipeline" in failure_of(*flags, pipelines("sd15") / "unet")
    error = failure_of("generate", "--base_model", pipelines("sd15"), "--prompt", "a")
    assert "diffusers pipeline" in error and "shira imagine" in error


def test_an_autoencoder_of_not_a_number_draws_nothing(pipelines, tmp_path):
    shutil.copytree(pipelines("sd15"), tmp_path / "base")
    file = tmp_path / "base" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["decoder.conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(tensors, file)
    flags = ["--prompt", "a", "--steps", 1, "-o", tmp_path / "a.png"]
    assert "not finite" in failure_of("imagine", "--base_model", tmp_path / "base", *flags, rc=1)
    assert not (tmp_path / "a.png").exists()


def test_latents_of_another_shape(pipelines, tmp_path):
    save_file({"latents": torch.zeros(1, 4, 8, 9)}, tmp_path / "l.safetensors")
    flags = ["--prompt", "a", "-o", tmp_path / "a.png", "--latents", tmp_path / "l.safetensors"]
    error = failure_of("imagine", "--base_model", pipelines("sd15"), *flags)
    assert "expected the shape [1, 4, 8, 8]" in error


def test_a_long_prompt_is_cut_with_a_warning(pipelines, tmp_path):
    directory = pipelines("sd15")
    prompt = "a red star " * 40
    expected = load_pipeline(directory)(
        prompt, num_inference_steps=2, generator=torch.Generator("cpu").manual_seed(0)
    ).images[0]
    command = ["imagine", "--base_model", directory, "--prompt", prompt, "--steps", 2]
    result = run_shira(*command, "-o", tmp_path / "a.png")
    assert "longer than the text encoder's 77 tokens" in result.stderr
    assert_equal_pictures(tmp_path / "a.png", expected)
