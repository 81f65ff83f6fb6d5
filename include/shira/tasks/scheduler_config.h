// What a pipeline's scheduler_config.json says about noise: how much a training image got at each
// timestep, what the model predicts, and how diffusers' schedulers sample.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// What the model's output stands for: the noise, the clean sample, or the velocity
/// sqrt(abar) * noise - sqrt(1 - abar) * sample (Salimans and Ho 2022, section 2.4).
enum class PredictionType { kEpsilon, kSample, kVPrediction };

/// By diffusers' names: epsilon, sample, v_prediction.
SHIRA_API const std::map<std::string, PredictionType>& prediction_types();

/// Which timesteps n inference steps take (Lin et al. 2023, table 2).
enum class TimestepSpacing { kLeading, kTrailing, kLinspace };

/// The keys of scheduler_config.json in diffusers' spelling. An absent key has the default that all
/// of diffusers' classes share, or no value where they differ: a file for one class serves another,
/// as in diffusers' B.from_config(A.config).
struct SchedulerConfig {
  /// "PNDMScheduler"; may be one that we lack. model_index.json's, where that says another.
  std::string class_name = {};

  // The forward process.
  std::int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  std::string beta_schedule = "linear";    // or scaled_linear, squaredcos_cap_v2
  std::vector<double> trained_betas = {};  // one a timestep; empty: from the schedule
  bool rescale_betas_zero_snr = false;     // the last timestep is pure noise
  PredictionType prediction_type = PredictionType::kEpsilon;

  // All samplers.
  std::optional<TimestepSpacing> timestep_spacing = {};  // leading (DDPM, DDIM, PNDM) or linspace
  std::int64_t steps_offset = 0;                         // added to leading timesteps

  // DDPM, DDIM, PNDM.
  bool clip_sample = true;
  double clip_sample_range = 1.0;
  std::optional<bool> set_alpha_to_one = {};  // DDIM: true, PNDM: false
  bool skip_prk_steps = false;
  std::string variance_type = {};  // DDPM: fixed_small

  // Euler and DPM-Solver++.
  bool use_karras_sigmas = false;
  std::optional<double> sigma_min = {};  // of the Karras sigmas; none: the schedule's
  std::optional<double> sigma_max = {};
  std::string final_sigmas_type = "zero";  // or sigma_min
  std::int64_t solver_order = 2;
  std::string algorithm_type = "dpmsolver++";
  std::string solver_type = "midpoint";
  bool lower_order_final = true;
  bool euler_at_final = false;
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();

  // What some samplers of diffusers do and ours do not: refused by the samplers that it concerns.
  bool thresholding = false;
  bool use_exponential_sigmas = false;
  bool use_beta_sigmas = false;
  bool use_lu_lambdas = false;
  bool use_flow_sigmas = false;
  bool use_dynamic_shifting = false;
  std::string interpolation_type = "linear";
  std::string timestep_type = "discrete";
};

/// Reads a scheduler_config.json; Python's raw Infinity and NaN are understood. IoError when it is
/// no JSON object; one ConfigError with everything that no scheduler here could use.
SHIRA_API SchedulerConfig read_scheduler_config(const std::filesystem::path& file);

}  // namespace shira
