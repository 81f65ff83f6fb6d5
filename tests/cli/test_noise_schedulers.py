"""Noise schedulers: every sample of a trajectory, and the forward process, equal those of diffusers."""

import itertools
import json
import subprocess

import diffusers
import numpy as np
import pytest
import torch
from conftest import BUILD_DIR, shared_file
from diffusers.training_utils import compute_snr

CLASSES = {
    "ddpm": diffusers.DDPMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
}
SPACINGS = ["leading", "trailing", "linspace"]
LATENTS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
TOLERANCE = 1e-5  # of the largest value

# As they stand in the pipelines' directories on the hub.
SD21 = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.8.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
SDXL = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}


def combinations(**values):
    """Every combination of the values, as dictionaries."""
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


class Cases:
    """Cases for run_schedulers, all of them answered by one process."""

    def __init__(self, directory):
        self.directory = directory
        self.lines = []

    def write(self, config):
        path = self.directory / f"{len(self.lines)}.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return str(path)

    def add(self, config, **line):
        self.lines.append({"config": self.write(config), "dtype": "float32"} | line)

    def answers(self):
        program = [str(BUILD_DIR / "bin" / "run_schedulers")]
        lines = "".join(json.dumps(line) + "\n" for line in self.lines)
        result = subprocess.run(program, input=lines, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def cases(tmp_path):
    return Cases(tmp_path)


def load(name, path):
    """diffusers' scheduler; an empty name takes the class of the file, another is made from that one."""
    config = json.loads(open(path).read())
    own = getattr(diffusers, config["_class_name"]) if "_class_name" in config else CLASSES[name]
    scheduler = own.from_config(own.load_config(path))
    return scheduler if name == "" else CLASSES[name].from_config(scheduler.config)


def diffusers_trajectory(config, name, steps, dtype):
    scheduler = load(name, config)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):  # or it looks the first timestep up, and takes its second place
        scheduler.set_begin_index(0)
    generator = torch.Generator("cpu").manual_seed(0)
    draws = {"generator": generator} if isinstance(scheduler, (diffusers.DDPMScheduler, diffusers.EulerAncestralDiscreteScheduler)) else {}
    x = torch.randn((2, 2, 3), generator=generator, dtype=getattr(torch, dtype)) * scheduler.init_noise_sigma
    samples = []
    for t in scheduler.timesteps:
        output = torch.sin(scheduler.scale_model_input(x, t) + float(t) / 1000)
        x = scheduler.step(output, t, x, **draws).prev_sample
        samples.append(x.float().flatten().tolist())
    return {
        "timesteps": scheduler.timesteps.tolist(),
        "init_noise_sigma": float(scheduler.init_noise_sigma),
        "samples": samples,
    }


def difference(answer, expected):
    """What is different, or None."""
    if "error" in answer:
        return answer["error"]
    if len(answer["timesteps"]) != len(expected["timesteps"]):
        return f"timesteps {answer['timesteps']}, expected {expected['timesteps']}"
    if not np.allclose(answer["timesteps"], expected["timesteps"], rtol=1e-6, atol=1e-4):
        return f"timesteps {answer['timesteps']}, expected {expected['timesteps']}"
    if abs(answer["init_noise_sigma"] / expected["init_noise_sigma"] - 1) > 1e-6:
        return f"init_noise_sigma {answer['init_noise_sigma']}, expected {expected['init_noise_sigma']}"
    ours = np.array(answer["samples"], dtype=float)
    peer = np.array(expected["samples"], dtype=float)
    assert np.isfinite(peer).all(), "the reference is not finite: the case says nothing"
    worst = (np.abs(ours - peer).max(axis=1) / np.abs(peer).max(axis=1)).tolist()
    return None if max(worst) <= TOLERANCE else f"samples differ by {worst}"


def expect_equal(cases):
    answers = cases.answers()
    assert len(answers) == len(cases.lines) > 0
    different = []
    for line, answer in zip(cases.lines, answers, strict=True):
        what = difference(answer, diffusers_trajectory(**line))
        if what:
            different.append((line, open(line["config"]).read(), what))
    assert not different, f"{len(different)} of {len(answers)}, the first: {different[0]}"


# --------------------------------------------------------------------------- trajectories

PREDICTIONS = {
    "ddpm": ["epsilon", "v_prediction", "sample"],
    "ddim": ["epsilon", "v_prediction", "sample"],
    "pndm": ["epsilon", "v_prediction"],
    "euler": ["epsilon", "v_prediction", "sample"],
    "euler_ancestral": ["epsilon", "v_prediction"],
    "dpmpp_2m": ["epsilon", "v_prediction", "sample"],
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_spacing_prediction_type_and_number_of_steps(name, cases):
    for config in combinations(timestep_spacing=SPACINGS, prediction_type=PREDICTIONS[name], steps_offset=[0, 1]):
        for steps in (1, 2, 7, 16, 50):
            cases.add(LATENTS | {"skip_prk_steps": True} | config, name=name, steps=steps)
    expect_equal(cases)


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_those_of_the_class(name, cases):
    for config in ({"skip_prk_steps": True}, {"skip_prk_steps": True, "beta_schedule": "squaredcos_cap_v2"}):
        for class_name in ({}, {"_class_name": CLASSES[name].__name__}):
            for steps in (3, 20):
                cases.add(config | class_name, name=name if not class_name else "", steps=steps)
    expect_equal(cases)


@pytest.mark.parametrize("name", CLASSES)
def test_schedules_of_betas(name, cases):
    betas = np.linspace(1e-4, 0.3, 40).tolist()
    for config in (
        {"beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 333},
        {"trained_betas": betas, "num_train_timesteps": 40},
        {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.03, "num_train_timesteps": 100},
    ):
        for steps, spacing in itertools.product((5, 16), SPACINGS):
            cases.add(config | {"skip_prk_steps": True, "timestep_spacing": spacing}, name=name, steps=steps)
    expect_equal(cases)


@pytest.mark.parametrize("name", CLASSES)
def test_zero_snr(name, cases):
    for spacing, steps in itertools.product(SPACINGS, (1, 7, 50)):
        config = LATENTS | {
            "rescale_betas_zero_snr": True,
            "timestep_spacing": spacing,
            "prediction_type": "v_prediction",
            "skip_prk_steps": True,
        }
        cases.add(config, name=name, steps=steps)
    expect_equal(cases)


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_clipped_samples(name, cases):
    for config in combinations(clip_sample=[True], clip_sample_range=[1.0, 0.3], set_alpha_to_one=[True, False]):
        cases.add(LATENTS | config, name=name, steps=7)
    expect_equal(cases)


@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_the_alpha_after_the_last_step(name, cases):
    for config in combinations(set_alpha_to_one=[True, False], timestep_spacing=SPACINGS):
        cases.add(LATENTS | config | {"skip_prk_steps": True}, name=name, steps=7)
    expect_equal(cases)


def test_variances_of_ddpm(cases):
    for variance_type in ("fixed_small", "fixed_small_log", "fixed_large"):
        for spacing in SPACINGS:
            config = LATENTS | {"variance_type": variance_type, "timestep_spacing": spacing}
            cases.add(config, name="ddpm", steps=9)
    expect_equal(cases)


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m"])
def test_karras_sigmas(name, cases):
    choices = combinations(
        timestep_spacing=SPACINGS,
        final_sigmas_type=["zero", "sigma_min"],
        beta_schedule=["scaled_linear", "squaredcos_cap_v2"],
    )
    for config, steps in itertools.product(choices, (1, 2, 7, 30)):
        cases.add(LATENTS | config | {"use_karras_sigmas": True}, name=name, steps=steps)
        cases.add(LATENTS | config, name=name, steps=steps)
    limits = {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 9.5}
    cases.add(LATENTS | limits, name=name, steps=10)
    cases.add(LATENTS | {"use_karras_sigmas": True, "rescale_betas_zero_snr": True}, name=name, steps=10)
    expect_equal(cases)


def test_orders_and_ends_of_dpm_solver(cases):
    choices = combinations(
        solver_order=[1, 2, 3],
        solver_type=["midpoint", "heun"],
        lower_order_final=[True, False],
        euler_at_final=[True, False],
        final_sigmas_type=["zero", "sigma_min"],
    )
    for config, steps in itertools.product(choices, (1, 2, 3, 14, 15)):
        cases.add(LATENTS | config, name="dpmpp_2m", steps=steps)
    expect_equal(cases)


def test_clipped_lambda(cases):
    for clip, spacing in itertools.product(("-5.1", "-1.5", "-Infinity"), SPACINGS):
        keys = f'"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "{spacing}"'
        cases.add(f'{{{keys}, "lambda_min_clipped": {clip}}}', name="dpmpp_2m", steps=12)
    expect_equal(cases)


@pytest.mark.parametrize("name", CLASSES)
def test_bfloat16(name, cases):
    for prediction_type in PREDICTIONS[name]:
        config = LATENTS | {"skip_prk_steps": True, "prediction_type": prediction_type}
        cases.add(config, name=name, steps=10, dtype="bfloat16")
    expect_equal(cases)


def test_no_step_at_timestep_minus_one(cases):
    """61 trailing steps of 1000 are 62 in diffusers: numpy.arange rounds, and the last timestep is -1."""
    cases.add({"timestep_spacing": "trailing"}, name="ddim", steps=61)
    expected = diffusers_trajectory(**cases.lines[0])
    assert expected["timesteps"].pop() == -1
    del expected["samples"][-1]
    assert difference(cases.answers()[0], expected) is None


# ----------------------------------------------------------------- configs of pipelines


@pytest.mark.parametrize("pipeline", ["SD-1.5", "SD-2.1", "SDXL"])
def test_every_sampler_takes_over_the_keys_of_a_pipeline(pipeline, cases):
    if pipeline == "SD-1.5":
        config = shared_file("data/sd_configs/sd15/scheduler/scheduler_config.json").read_text()
    else:
        config = SD21 if pipeline == "SD-2.1" else SDXL
    for name in ("", *CLASSES):
        for steps in (7, 30):
            cases.add(config, name=name, steps=steps)
    expect_equal(cases)


@pytest.mark.parametrize("saved", CLASSES)
def test_files_that_diffusers_saves_are_read(saved, cases, tmp_path):
    options = {"skip_prk_steps": True} if saved == "pndm" else {}
    CLASSES[saved](**options).save_pretrained(tmp_path / "saved")
    config = (tmp_path / "saved" / "scheduler_config.json").read_text()
    for name in ("", *(set(CLASSES) - {"pndm"})):
        cases.add(config, name=name, steps=5)
    expect_equal(cases)


def test_files_of_other_classes_serve_ours(cases):
    for other in ("UniPCMultistepScheduler", "DEISMultistepScheduler", "HeunDiscreteScheduler"):
        config = getattr(diffusers, other)(timestep_spacing="trailing").config
        keys = {key: value for key, value in config.items() if not key.startswith("_use")}
        keys.pop("algorithm_type", None)  # diffusers refuses its own "deis" in DPMSolverMultistepScheduler
        for name in set(CLASSES) - {"pndm"}:
            cases.add(json.dumps(keys | {"_class_name": other}), name=name, steps=5)
    expect_equal(cases)


# ------------------------------------------------------------------------ forward process


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_forward_process_equals_that_of_ddpm(dtype, cases):
    timesteps = [0, 1, 40, 99]
    choices = combinations(
        beta_schedule=["linear", "scaled_linear", "squaredcos_cap_v2"],
        rescale_betas_zero_snr=[True, False],
        num_train_timesteps=[100, 1000],
    )
    for config in choices:
        cases.add(config, timesteps=timesteps, dtype=dtype)
    for line, answer in zip(cases.lines, cases.answers(), strict=True):
        assert "error" not in answer, answer
        scheduler = load("ddpm", line["config"])
        generator = torch.Generator("cpu").manual_seed(0)
        samples = torch.randn((len(timesteps), 2, 3), generator=generator, dtype=getattr(torch, dtype))
        noise = torch.randn(samples.shape, generator=generator, dtype=samples.dtype)
        t = torch.tensor(timesteps)
        expected = {
            "alphas_cumprod": scheduler.alphas_cumprod,
            "noisy": scheduler.add_noise(samples, noise, t),
            "velocity": scheduler.get_velocity(samples, noise, t),
            "snr": compute_snr(scheduler, t),
        }
        for key, peer in expected.items():
            assert answer[key] == peer.float().flatten().tolist(), (key, line)


# -------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "name, config, says",
    [
        ("ddpm", {"variance_type": "learned_range"}, "variance_type"),
        ("ddpm", {"thresholding": True}, "thresholding"),
        ("ddim", {"thresholding": True}, "thresholding"),
        ("ddim", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, "timestep 999 holds no signal"),
        ("ddim", {"steps_offset": 999}, "steps_offset"),
        ("pndm", {}, "skip_prk_steps"),
        ("pndm", {"skip_prk_steps": True, "prediction_type": "sample"}, "prediction_type"),
        ("euler", {"use_beta_sigmas": True}, "use_beta_sigmas"),
        ("euler", {"interpolation_type": "log_linear"}, "interpolation_type"),
        ("euler", {"timestep_type": "continuous", "prediction_type": "v_prediction"}, "timestep_type"),
        ("euler_ancestral", {"prediction_type": "sample"}, "prediction_type"),
        ("dpmpp_2m", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type"),
        ("dpmpp_2m", {"solver_order": 4}, "solver_order"),
        ("dpmpp_2m", {"use_flow_sigmas": True}, "use_flow_sigmas"),
        ("dpmpp_2m", {"lambda_min_clipped": 20.0}, "Take fewer"),
        ("", {"_class_name": "LCMScheduler"}, "'LCMScheduler' is not supported; --scheduler takes ddpm, ddim"),
        ("dpm", {}, "'dpm' is not supported; --scheduler takes ddpm, ddim"),
    ],
)
def test_what_a_sampler_cannot_honour_is_refused(name, config, says, cases):
    cases.add(config, name=name, steps=10)
    assert says in cases.answers()[0]["error"]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("steps", [0, -1, 1001, 2**40])
def test_impossible_numbers_of_steps_are_refused(name, steps, cases):
    cases.add({"skip_prk_steps": True}, name=name, steps=steps)
    assert "expected between 1 and 1000 steps" in cases.answers()[0]["error"]


@pytest.mark.parametrize("name", CLASSES)
def test_every_possible_number_of_steps_is_run_or_refused(name, cases):
    for spacing, steps in itertools.product(SPACINGS, range(1, 41)):
        config = {"skip_prk_steps": True, "num_train_timesteps": 40, "timestep_spacing": spacing}
        cases.add(config, name=name, steps=steps)
    for line, answer in zip(cases.lines, cases.answers(), strict=True):
        if "error" in answer:
            assert "Take fewer" in answer["error"] and name == "dpmpp_2m", answer
            continue
        extra = 1 if name == "pndm" and line["steps"] > 1 else 0
        assert len(answer["timesteps"]) == line["steps"] + extra
        assert all(np.isfinite(sample).all() for sample in answer["samples"]), line

