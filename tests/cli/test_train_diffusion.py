"""`shira train` on diffusers pipelines, judged by a training loop in PyTorch on diffusers' own models."""

import json
import shutil
import subprocess

import pytest
from conftest import BUILD_DIR, failure_of, merged, run_json, run_shira, weights_in

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402
from read_adapter import read_adapter  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

TOLERANCE = 1e-4
FULL = {"adapter": "full", "shira_mask": None, "shira_density": None, "target_modules": None}
CAPTIONS = ["a red circle", "a blue square on the left", "", "a green star, white", "a dog", "a cat"]


def write_pictures(directory, count=6, size=(20, 16), seed=0):
    directory.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.BICUBIC).save(directory / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": CAPTIONS[i % 6]}))
    (directory / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return directory


def write_run(tmp_path, base, **keys):
    if "instance_data_dir" not in keys and not (tmp_path / "pictures").exists():
        write_pictures(tmp_path / "pictures")
    config = {
        "base_model": str(base),
        "train_data_dir": str(tmp_path / "pictures"),
        "resolution": 16,
        "micro_batch_size": 2,
        "max_steps": 5,
        "learning_rate": 0.05,
        "lr_scheduler": "constant",
        "optimizer": "sgd",
        "max_grad_norm": 0,
        "shira_mask": "rand",
        "shira_density": 0.05,
        "target_modules": ["to_q", "to_k", "to_v", "to_out.0", "conv1", "net.2"],
        "logging_steps": 1,
        "num_threads": 1,
        "output_dir": str(tmp_path / "out"),
    } | keys
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}, indent=1))
    return path


def batches_of(run, count, tmp_path):
    out = tmp_path / "batches.safetensors"
    command = [BUILD_DIR / "bin" / "dump_batches", run, str(count), out]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    batches = [{} for _ in range(count)]
    for name, tensor in load_file(out).items():
        number, key = name.split(".")
        batches[int(number)][key] = tensor
    return batches


def metrics_of(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def load_pipeline(base):
    import diffusers

    return diffusers.DiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)


class Reference:
    """The training loop of diffusers' scripts on given batches: masked SGD."""

    def __init__(self, base, prediction=None, snr_gamma=None, prior_loss_weight=1.0):
        from diffusers import DDPMScheduler

        self.pipe = load_pipeline(base)
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)
        if prediction:
            self.scheduler.register_to_config(prediction_type=prediction)
        self.snr_gamma, self.prior_loss_weight = snr_gamma, prior_loss_weight
        self.is_xl = hasattr(self.pipe, "text_encoder_2")
        parts = ["unet", "text_encoder"] + ["text_encoder_2"] * self.is_xl
        self.parameters = {
            f"{part}.{name}": parameter
            for part in parts
            for name, parameter in getattr(self.pipe, part).named_parameters()
        }

    def conditions(self, batch):
        if "context" in batch:
            states, pooled = batch["context"], batch.get("pooled")
        elif not self.is_xl:
            states, pooled = self.pipe.text_encoder(batch["input_ids"])[0], None
        else:
            first = self.pipe.text_encoder(batch["input_ids"], output_hidden_states=True)
            second = self.pipe.text_encoder_2(batch["input_ids_2"], output_hidden_states=True)
            states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
            pooled = second[0]
        added = {"text_embeds": pooled, "time_ids": batch["time_ids"]} if self.is_xl else None
        return {"encoder_hidden_states": states, "added_cond_kwargs": added}

    def loss(self, batch):
        from diffusers.training_utils import compute_snr

        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        output = self.pipe.unet(noisy, timesteps, **self.conditions(batch)).sample
        kind = self.scheduler.config.prediction_type
        target = {
            "epsilon": lambda: noise,
            "v_prediction": lambda: self.scheduler.get_velocity(latents, noise, timesteps),
            "sample": lambda: latents,
        }[kind]()
        loss = (output.float() - target.float()).square().flatten(1).mean(1)
        if self.snr_gamma:
            snr = compute_snr(self.scheduler, timesteps)
            weights = torch.minimum(snr, torch.full_like(snr, self.snr_gamma))
            if kind != "sample":
                weights = weights / (snr if kind == "epsilon" else snr + 1)
            loss = loss * weights
        if "is_prior" not in batch:
            return loss.mean()
        prior = batch["is_prior"]
        return loss[~prior].mean() + self.prior_loss_weight * loss[prior].mean()

    def train(self, batches, positions, learning_rate, text_encoder_lr=None):
        """`positions`: parameter -> flat indices that are trained. The losses."""
        losses = []
        for batch in batches:
            for parameter in self.parameters.values():
                parameter.grad = None
            loss = self.loss(batch)
            loss.backward()
            losses.append(loss.item())
            with torch.no_grad():
                for name, indices in positions.items():
                    parameter = self.parameters[name]
                    is_text = name.startswith("text_encoder") and text_encoder_lr
                    rate = text_encoder_lr if is_text else learning_rate
                    parameter.view(-1)[indices] -= rate * parameter.grad.view(-1)[indices]
        return losses


def check_run(tmp_path, base, reference=None, **keys):
    """Five SGD steps equal the reference's, in every loss and every trained value."""
    run = write_run(tmp_path, base, **keys)
    batches = batches_of(run, 5, tmp_path)
    run_shira("train", run)
    adapter = read_adapter(tmp_path / "out")["sparse"]
    reference = reference or Reference(base)
    positions = {name: torch.tensor(np.array(t["positions"])) for name, t in adapter.items()}
    losses = reference.train(batches, positions, 0.05, keys.get("text_encoder_lr"))
    ours = [record["loss"] for record in metrics_of(tmp_path / "out") if "loss" in record]
    assert np.allclose(ours, losses, rtol=TOLERANCE)
    moved = 0.0
    original = Reference(base).parameters
    for name, indices in positions.items():
        expected = reference.parameters[name].detach().view(-1)[indices]
        change = (expected - original[name].detach().view(-1)[indices]).abs().max().item()
        error = (torch.tensor(np.array(adapter[name]["values"])) - expected).abs().max().item()
        moved = max(moved, change)
        assert error <= TOLERANCE * expected.abs().max(), name
    assert moved > 1e-3
    return adapter


@pytest.mark.parametrize("variant", ["sd15", "sd21", "sdxl"])
def test_five_steps_equal_the_reference(variant, pipelines, tmp_path):
    adapter = check_run(tmp_path, pipelines(variant))
    assert all(name.startswith("unet.") for name in adapter)
    assert any(name.endswith("conv1.weight") for name in adapter)


@pytest.mark.parametrize("variant", ["sd15", "sdxl"])
def test_text_encoders_are_trained_when_asked_for(variant, pipelines, tmp_path):
    keys = {"target_modules": ["to_q", "q_proj", "fc1"]} | ({"text_encoder_lr": 0.4} if variant == "sdxl" else {})
    adapter = check_run(tmp_path, pipelines(variant), train_text_encoder=True, **keys)
    parts = {name.split(".")[0] for name in adapter}
    assert parts == {"unet", "text_encoder"} | ({"text_encoder_2"} if variant == "sdxl" else set())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weighting_of_every_prediction(prediction, pipelines, tmp_path):
    base = pipelines("sd15")
    reference = Reference(base, prediction, snr_gamma=5.0)
    check_run(tmp_path, base, reference, prediction_type=prediction, snr_gamma=5.0)


def dreambooth(tmp_path, **keys):
    """Keys of a run on three pictures of a dog, with class pictures in tmp_path/classes."""
    if not (tmp_path / "dog").exists():
        write_pictures(tmp_path / "dog", count=3, seed=1)
        (tmp_path / "dog" / "metadata.jsonl").unlink()
    return {
        "train_data_dir": None,
        "instance_data_dir": str(tmp_path / "dog"),
        "instance_prompt": "a photo of a dog",
        "with_prior_preservation": True,
        "class_data_dir": str(tmp_path / "classes"),
        "class_prompt": "a dog",
        "num_class_images": 3,
    } | keys


def test_dreambooth_with_prior_preservation(pipelines, tmp_path):
    base = pipelines("sd15")
    more = {"num_class_images": 4, "prior_loss_weight": 0.7, "cache_latents": True, "center_crop": True}
    keys = dreambooth(tmp_path, **more)
    run_shira("train", write_run(tmp_path, base, **keys, max_steps=1))  # makes the class's pictures
    made = sorted(path.name for path in (tmp_path / "classes").iterdir())
    assert made == [f"class-{i}.png" for i in range(4)]
    for path in (tmp_path / "out").rglob("*"):
        path.unlink() if path.is_file() else None
    batches = batches_of(write_run(tmp_path, base, **keys, output_dir=str(tmp_path / "b")), 2, tmp_path)
    assert batches[0]["is_prior"].tolist() == [False, False, True, True]
    keys["output_dir"] = str(tmp_path / "second")
    (tmp_path / "second").mkdir()
    reference = Reference(base, prior_loss_weight=0.7)
    run = write_run(tmp_path, base, **keys)
    batches = batches_of(run, 5, tmp_path)
    run_shira("train", run)
    adapter = read_adapter(tmp_path / "second")["sparse"]
    positions = {name: torch.tensor(np.array(t["positions"])) for name, t in adapter.items()}
    losses = reference.train(batches, positions, 0.05)
    ours = [r["loss"] for r in metrics_of(tmp_path / "second") if "loss" in r]
    assert np.allclose(ours, losses, rtol=TOLERANCE)


def test_class_pictures_take_free_names_and_the_bases_own_scheduler(pipelines, tmp_path):
    base = pipelines("sd15")
    (tmp_path / "classes").mkdir()
    for name in ("class-1.png", "class-2.png"):
        shutil.copy(write_pictures(tmp_path / name, count=1) / "0.png", tmp_path / "classes" / name)
    before = {path.name: path.read_bytes() for path in (tmp_path / "classes").iterdir()}
    result = run_shira("train", write_run(tmp_path, base, **dreambooth(tmp_path, max_steps=1), prediction_type="v_prediction"))
    assert "prediction_type" in result.stderr and "scheduler_config.json" in result.stderr
    after = {path.name: path.read_bytes() for path in (tmp_path / "classes").iterdir()}
    made = after.pop("class-0.png")
    assert after == before
    size = ["--width", 16, "--height", 16, "--seed", 0, "-o", tmp_path / "own.png"]
    run_shira("imagine", "--base_model", base, "--prompt", "a dog", *size)
    assert (tmp_path / "own.png").read_bytes() == made


def test_what_a_run_cannot_use_is_found_before_class_pictures_are_made(pipelines, tmp_path):
    base = pipelines("sd15")
    keys = dreambooth(tmp_path, max_steps=1)
    error = failure_of("train", write_run(tmp_path, base, **keys | {"class_data_dir": keys["instance_data_dir"]}))
    assert "directory of their own" in error
    assert "no_such" in failure_of("train", write_run(tmp_path, base, **keys, target_modules=["no_such"]))
    error = failure_of("config", "validate", write_run(tmp_path, base, **keys, aspect_ratio_buckets=True), rc=2)
    assert "aspect_ratio_buckets" in error and "with_prior_preservation" in error
    (tmp_path / "dog" / "1.png").write_bytes(b"")
    assert "1.png" in failure_of("train", write_run(tmp_path, base, **keys))
    assert not list((tmp_path / "classes").glob("*"))
    error = failure_of("mask", write_run(tmp_path, base, **keys, shira_mask="grad", on_corrupt_image="skip"))
    assert "`shira train` makes them" in error


def test_a_pipeline_of_a_foreign_scheduler_draws_its_pictures_with_another(pipelines, tmp_path):
    shutil.copytree(pipelines("sd15"), tmp_path / "base")
    for file, keys in (
        ("model_index.json", {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}),
        ("scheduler/scheduler_config.json", {"_class_name": "UniPCMultistepScheduler"}),
    ):
        path = tmp_path / "base" / file
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    keys = dreambooth(tmp_path, num_class_images=1, max_steps=1, validation_prompts=["a dog"], eval_steps=1, seed=0)
    result = run_shira("train", write_run(tmp_path, tmp_path / "base", **keys))
    assert "UniPCMultistepScheduler is not supported; this run draws its pictures with dpmpp_2m" in result.stderr
    samples = tmp_path / "out" / "samples" / "step-1.png"
    flags = ["--width", 16, "--height", 16, "--steps", 25, "--scheduler", "dpmpp_2m", "-o", tmp_path / "a.png"]
    flags += ["--base_model", tmp_path / "base", "--prompt", "a dog", "--adapter", tmp_path / "out"]
    run_shira("imagine", *flags)
    assert np.array_equal(Image.open(samples), Image.open(tmp_path / "a.png"))


def test_layers_of_a_text_encoder_want_it_to_be_trained(pipelines, tmp_path):
    base, hint = pipelines("sd15"), "train_text_encoder: true"
    error = failure_of("train", write_run(tmp_path, base, target_modules=["q_proj"]))
    assert hint in error and "to_out.0" in error and "net.2" in error
    run_shira("train", write_run(tmp_path, base, train_text_encoder=True, target_modules=["to_q", "q_proj"], max_steps=1))
    keys = {"adapter_dir": str(tmp_path / "out"), "output_dir": str(tmp_path / "next"), "shira_mask": None, "shira_density": None}
    assert hint in failure_of("train", write_run(tmp_path, base, **keys))


def test_repeats_in_an_epoch_have_crops_of_their_own(pipelines, tmp_path):
    keys = dreambooth(tmp_path, num_class_images=9, micro_batch_size=1, max_steps=1)
    write_pictures(tmp_path / "classes", count=9, size=(40, 16))
    run = write_run(tmp_path, pipelines("sdxl"), **keys, resolution=16)
    for i in range(3):
        Image.effect_noise((40, 16), 50).convert("RGB").save(tmp_path / "dog" / f"{i}.png")
    crops = {tuple(batch["time_ids"][0, 2:4].tolist()) for batch in batches_of(run, 9, tmp_path)}
    assert len(crops) > 3  # each of the three pictures comes three times


def test_latents_and_text_states_are_those_of_diffusers(pipelines, tmp_path):
    base = pipelines("sd15")
    keys = {"micro_batch_size": 6, "center_crop": True, "noise_offset": 0.1}
    run = write_run(tmp_path, base, **keys)
    batch = batches_of(run, 1, tmp_path)[0]
    cached = batches_of(write_run(tmp_path, base, **keys, cache_latents=True), 1, tmp_path)[0]
    assert all(torch.equal(batch[name], cached[name]) for name in batch)
    pipe = load_pipeline(base)
    rows = {}
    for i in range(6):  # 20 x 16 is cropped in the middle to 16 x 16
        picture = Image.open(tmp_path / "pictures" / f"{i}.png").crop((2, 0, 18, 16))
        pixels = torch.from_numpy(np.array(picture)).movedim(2, 0).float() / 127.5 - 1
        with torch.no_grad():
            moments = pipe.vae.encode(pixels[None]).latent_dist
        ids = pipe.tokenizer(CAPTIONS[i], padding="max_length", truncation=True, return_tensors="pt")
        with torch.no_grad():
            rows[i] = (moments, pipe.text_encoder(ids.input_ids)[0][0])
    found = []
    for latents, context in zip(batch["latents"], batch["context"]):
        distances = {i: (context - states).abs().max().item() for i, (_, states) in rows.items()}
        i = min(distances, key=distances.get)
        assert distances[i] < 1e-4
        found.append(i)
        moments = rows[i][0]
        normal = (latents / pipe.vae.config.scaling_factor - moments.mean[0]) / moments.std[0]
        assert normal.abs().max() < 6 and 0.5 < normal.std() < 1.5
    assert sorted(found) == list(range(6))


def test_captions_are_left_out_by_chance(pipelines, tmp_path):
    base = pipelines("sd15")
    run = write_run(tmp_path, base, micro_batch_size=6, proportion_empty_prompts=0.5)
    empty = load_pipeline(base)
    ids = empty.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        states = empty.text_encoder(ids)[0][0]
    left_out = [
        (context - states).abs().max() < 1e-5
        for batch in batches_of(run, 10, tmp_path)
        for context in batch["context"]
    ]
    assert 15 < sum(left_out) < 50  # one caption in six is empty anyway


# ---------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize("mask", ["struct", "wm", "grad", "snip"])
def test_every_mask(mask, pipelines, tmp_path):
    keys = {"shira_calibration_batches": 2} if mask in ("grad", "snip") else {}
    check_run(tmp_path, pipelines("sd15"), shira_mask=mask, **keys)


def test_hooks_equal_packed_training(pipelines, tmp_path):
    base = pipelines("sd15")
    check_run(tmp_path, base, shira_training="hooks")


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapter", ["lora", "dora", "wm_dora"])
def test_baselines_lower_the_loss(adapter, checkpointing, pipelines, tmp_path):
    run = write_run(
        tmp_path,
        pipelines("sd15"),
        adapter=adapter,
        optimizer="adamw",
        learning_rate=5e-3,
        shira_mask=None,
        shira_density=0.2 if adapter == "wm_dora" else None,
        gradient_checkpointing=checkpointing,
        val_set_size=2,
        max_steps=30,
    )
    answer = run_shira("train", run, "--json").json
    assert answer["eval_loss"] < answer["first_eval_loss"]


def assert_close_and_changed(ours, theirs, before):
    """Every weight of `theirs` to a float32 rounding, some not as before."""
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-6, atol=1e-6, msg=name)
    return {name.split(".")[0] for name in theirs if not torch.equal(theirs[name], before[name])}


def test_a_trained_shira_is_a_directory_for_peft_of_each_component(pipelines, tmp_path):
    peft = pytest.importorskip("peft")
    base = pipelines("sd15")
    run = write_run(
        tmp_path,
        base,
        export_formats=["shira", "peft"],
        target_modules=["to_q", "net.2", "q_proj"],
        train_text_encoder=True,
    )
    run_shira("train", run)
    ours = merged(base, tmp_path / "merged", tmp_path / "out")
    pipe, theirs = load_pipeline(base), {}
    folders = {file.parent for file in (tmp_path / "out").glob("*/*/adapter_config.json")}
    assert {folder.name for folder in folders} == {"unet", "text_encoder"}
    for folder in folders:
        model = peft.PeftModel.from_pretrained(getattr(pipe, folder.name), folder).merge_and_unload()
        theirs |= {f"{folder.name}.{name}": t for name, t in model.state_dict().items()}
    assert assert_close_and_changed(ours, theirs, weights_in(base)) == {"unet", "text_encoder"}


def test_a_trained_lora_is_a_file_for_diffusers(pipelines, tmp_path):
    pytest.importorskip("peft")
    base = pipelines("sd15")
    run = write_run(
        tmp_path,
        base,
        adapter="lora",
        lora_r=2,
        shira_mask=None,
        shira_density=None,
        target_modules=["to_q", "conv1", "q_proj"],
        train_text_encoder=True,
    )
    run_shira("train", run)
    ours = merged(base, tmp_path / "merged", tmp_path / "out")
    pipe = load_pipeline(base)
    pipe.load_lora_weights(tmp_path / "out")
    pipe.fuse_lora(components=["unet", "text_encoder"])
    pipe.unload_lora_weights()
    theirs = {f"{part}.{name}": t for part in ("unet", "text_encoder") for name, t in getattr(pipe, part).state_dict().items()}
    assert assert_close_and_changed(ours, theirs, weights_in(base)) == {"unet", "text_encoder"}


def test_full_training_writes_a_pipeline(pipelines, tmp_path):
    base = pipelines("sd15", "float16")
    run = write_run(
        tmp_path,
        base,
        adapter="full",
        shira_mask=None,
        shira_density=None,
        target_modules=None,
        train_text_encoder=True,
        learning_rate=1e-2,
        max_steps=2,
    )
    run_shira("train", run)
    pipe = load_pipeline(tmp_path / "out")
    before, after = (
        load_file(directory / "unet" / "diffusion_pytorch_model.safetensors")
        for directory in (base, tmp_path / "out")
    )
    assert {t.dtype for t in after.values()} == {torch.float16} and before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    text = [load_file(d / "text_encoder" / "model.safetensors") for d in (base, tmp_path / "out")]
    assert any((text[0][name] != text[1][name]).any() for name in text[0])
    vae = [load_file(d / "vae" / "diffusion_pytorch_model.safetensors") for d in (base, tmp_path / "out")]
    assert all(torch.equal(vae[0][name], vae[1][name]) for name in vae[0])
    out = tmp_path / "picture.png"
    flags = ["--prompt", "a dog", "--steps", 2, "--base_dtype", "float32", "-o", out]
    run_shira("imagine", "--base_model", tmp_path / "out", *flags)
    expected = pipe("a dog", num_inference_steps=2, generator=torch.Generator("cpu").manual_seed(0))
    difference = np.asarray(Image.open(out)).astype(int) - np.asarray(expected.images[0]).astype(int)
    assert np.abs(difference).max() <= 1


def test_a_resumed_run_equals_an_uninterrupted_one(pipelines, tmp_path):
    base = pipelines("sd15")
    keys = {"optimizer": "adamw", "learning_rate": 1e-3, "save_steps": 2, "val_set_size": 1}
    keys |= {"validation_prompts": ["a dog", "a cat"], "eval_steps": 3, "random_flip": True}
    run_shira("train", write_run(tmp_path, base, **keys))
    again = tmp_path / "again"
    run = write_run(tmp_path, base, **keys, output_dir=str(again))
    run_shira("train", run, "--set", "max_steps=3", "--set", "lr_scheduler=constant")
    for path in again.glob("adapter_*"):
        path.unlink()
    run_shira("train", run, "--resume")
    whole, resumed = (read_adapter(d)["sparse"] for d in (tmp_path / "out", again))
    for name in whole:
        assert np.array_equal(whole[name]["values"], resumed[name]["values"]), name
    samples = sorted(path.name for path in (again / "samples").iterdir())
    assert samples == ["step-0.png", "step-3.png", "step-5.png"]
    assert Image.open(again / "samples" / "step-5.png").size == (2 * 16 + 2, 16)
    records = [record for record in metrics_of(again) if "sample" in record]
    assert records[-1] == {"step": 5, "prompt": "a dog | a cat", "sample": "samples/step-5.png"}


@pytest.mark.parametrize(
    "key, value", [("snr_gamma", 3), ("noise_offset", 0.1), ("proportion_empty_prompts", 0.5), ("prediction_type", "sample")]
)
def test_a_resumed_run_must_have_the_same_objective(key, value, pipelines, tmp_path):
    run = write_run(tmp_path, pipelines("sd15"), max_steps=1, save_steps=1)
    run_shira("train", run)
    error = failure_of("train", run, "--resume", "--set", f"{key}={value}", "--set", "max_steps=2")
    assert key in error and "another run" in error


def test_full_training_keeps_its_prediction_type(pipelines, tmp_path):
    keys = FULL | {"max_steps": 1}
    keys |= {"prediction_type": "v_prediction", "validation_prompts": ["a cat"], "eval_steps": 1, "seed": 0}
    run_shira("train", write_run(tmp_path, pipelines("sd15"), **keys))
    size = ["--width", 16, "--height", 16, "--steps", 25, "-o", tmp_path / "a.png"]
    run_shira("imagine", "--base_model", tmp_path / "out", "--prompt", "a cat", *size)
    assert np.array_equal(Image.open(tmp_path / "a.png"), Image.open(tmp_path / "out" / "samples" / "step-1.png"))
    scheduler = json.loads((tmp_path / "out" / "scheduler" / "scheduler_config.json").read_text())
    before = json.loads((pipelines("sd15") / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler == before | {"prediction_type": "v_prediction"}


def test_full_training_in_another_dtype_says_so_to_transformers(pipelines, tmp_path):
    from transformers import CLIPTextModel

    keys = FULL | {"max_steps": 1}
    base = pipelines("sd15", "float16")
    run_shira("train", write_run(tmp_path, base, **keys, train_text_encoder=True, base_dtype="float32"))
    encoders = [CLIPTextModel.from_pretrained(d / "text_encoder", dtype="auto") for d in (base, tmp_path / "out")]
    assert [encoder.dtype for encoder in encoders] == [torch.float16, torch.float32]


def test_a_base_of_fp16_variants_is_saved_without_the_variant(pipelines, tmp_path):
    shutil.copytree(pipelines("sd15", "float16"), tmp_path / "base")
    for file in (tmp_path / "base").glob("*/*.safetensors"):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    keys = FULL | {"max_steps": 1}
    run_shira("train", write_run(tmp_path, tmp_path / "base", **keys, base_dtype="float16"))
    assert not list((tmp_path / "out").glob("*/*fp16*"))
    load_pipeline(tmp_path / "out")


def test_a_base_that_a_run_wrote_gives_its_pipeline_alone(pipelines, tmp_path):
    keys = FULL
    run_shira("train", write_run(tmp_path, pipelines("sd15"), **keys, max_steps=2, save_steps=1))
    assert {"checkpoint-1", "metrics.jsonl"} <= {path.name for path in (tmp_path / "out").iterdir()}
    second = tmp_path / "second"
    run_shira("train", write_run(tmp_path, tmp_path / "out", **keys, max_steps=1, output_dir=str(second)))
    assert [record["step"] for record in metrics_of(second) if "loss" in record] == [1]
    assert [path.name for path in second.glob("checkpoint-*")] == ["checkpoint-1"]
    assert not (second / "checkpoint-1" / "config.yaml").exists()


# ------------------------------------------------------------------------------ other commands


def test_dry_run_and_mask_name_targets_and_pictures(pipelines, tmp_path):
    run = write_run(tmp_path, pipelines("sd15"))
    dry = run_shira("train", run, "--dry_run", "--json").json
    pipe = load_pipeline(pipelines("sd15"))
    assert dry["total_parameters"] == sum(p.numel() for p in pipe.unet.parameters())
    assert dry["training_samples"] == 6 and dry["total_steps"] == 5
    assert dry["memory_bytes"]["cache"] == 0
    cached = run_shira("train", run, "--dry_run", "--json", "--set", "cache_latents=true").json["memory_bytes"]
    assert cached["cache"] == 6 * 2 * 4 * 4 * 8 * 8  # mean and logvar, 4 bytes, 4 channels of 8x8
    assert [picture["size"] for picture in dry["batch"]] == [[16, 16], [16, 16]]
    assert {picture["caption"] for picture in dry["batch"]} <= set(CAPTIONS)
    assert not (tmp_path / "out").exists()
    mask = run_shira("mask", run, "--json").json
    assert mask["nnz"] == dry["trained_parameters"] and mask["total_parameters"] == dry["total_parameters"]
    assert "a red circle" in run_shira("train", run, "--dry_run", "--set", "micro_batch_size=6").stdout


def test_verify_with_an_adapter_equals_diffusers_with_its_merge(pipelines, tmp_path):
    from make_unet_reference import make_unet_reference

    base, out, state = pipelines("sdxl"), tmp_path / "out", tmp_path / "state.safetensors"
    run_shira("train", write_run(tmp_path, base, learning_rate=0.3, train_text_encoder=True, target_modules=["to_q", "conv1", "fc1"]))
    run_shira("merge", "--base_model", base, "--adapter", out, "-o", tmp_path / "merged")
    make_unet_reference(tmp_path / "merged" / "unet", state)
    assert run_json("verify", "--base_model", base, "--adapter", out, "--reference", state)["passed"]
    assert run_shira("verify", "--base_model", base, "--reference", state, check=False).rc == 1
    assert "model_index.json" in failure_of("verify", "--base_model", base / "unet", "--adapter", out, "--reference", state)


def test_errors_of_pictures(pipelines, tmp_path):
    base = pipelines("sd15")
    run = write_run(tmp_path, base)
    (tmp_path / "pictures" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    error = failure_of("train", run)
    assert "3.png" in error and "PNG" in error and not (tmp_path / "out").exists()
    result = run_shira("train", write_run(tmp_path, base, on_corrupt_image="skip"))
    assert "3.png" in result.stderr
    shutil.copy(tmp_path / "pictures" / "2.png", tmp_path / "pictures" / "3.png")
    deeper = write_pictures(tmp_path / "pictures" / "more", count=2)
    result = run_shira("train", run, "--dry_run")
    assert '"more": 2 pictures' in result.stderr and "not read" in result.stderr
    shutil.rmtree(deeper)
    keys = {"output_dir": str(tmp_path / "o"), "train_data_dir": str(tmp_path / "absent")}
    assert "absent" in failure_of("train", write_run(tmp_path, base, **keys))
    error = failure_of("train", write_run(tmp_path, base, resolution=15, output_dir=str(tmp_path / "o")))
    assert "15" in error and "multiple" in error
    error = failure_of("train", write_run(tmp_path, base, train_text_encoder=True, target_modules=["to_q"]), "--dry_run")
    assert "train_text_encoder" in error and "q_proj" in error
    error = failure_of("train", write_run(tmp_path, base, image_background="pink", output_dir=str(tmp_path / "o")))
    assert "pink" in error and "#rrggbb" in error
