// LoRA and DoRA (https://huggingface.co/papers/2106.09685, 2402.09353) as PEFT trains them: the
// base stays as it is, two thin factors a layer are trained beside it, and for DoRA the norms of
// the adapted weight's rows. Also the way to use such an adapter without merging it.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/targets.h>
#include <shira/methods/training_method.h>
#include <shira/sparse/lora_adapter.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace shira {

class LoraPlug;

struct LoraOptions {
  std::int64_t r = 8;
  double alpha = 8.0;
  double dropout = 0.0;     // of the factors' input, while training
  bool use_rslora = false;  // scaling alpha / sqrt(r) instead of alpha / r
  bool use_dora = false;
  std::uint64_t seed = 0;  // of the initial values
};

/// The factors that training starts with, float32 (float64 for a float64 weight): A uniform between
/// -1 / sqrt(in) and 1 / sqrt(in), as PEFT's kaiming_uniform(sqrt(5)) has it, from the Philox
/// stream of (seed, "<name>.lora_A"); B zero; DoRA's magnitudes the norms of the weight's rows.
/// `name` is the weight's own. ConfigError for DoRA on a weight with a row of zeros.
SHIRA_API LoraTensor initial_factors(const std::string& name, const torch::Tensor& weight,
                                     const LoraOptions& options);

/// The parameters that LoRA (or DoRA) of rank r trains beside a weight (out, in) or (out, in, kh,
/// kw).
SHIRA_API std::int64_t count_factors(at::IntArrayRef weight, std::int64_t r, bool use_dora);

/// Adds "<layer>.lora_A.weight" (r, in), "<layer>.lora_B.weight" (out, r), of a convolution
/// (r, in, kh, kw) and (out, r, 1, 1), and for DoRA
/// "<layer>.lora_magnitude_vector" (out).
SHIRA_API void append_factors(const std::string& layer, const LoraTensor& factors,
                              std::vector<NamedTensor>& parameters);

/// The factors sit in the sockets of the target layers until this object goes out of scope; the
/// weights are never written, and may lie in a mapped file. y = x W^T + b + scaling * B A drop(x),
/// summed in the factors' dtype and rounded to the weight's; for DoRA the rows of the sum
/// W + scaling * B A are brought to their magnitudes, their norms being constants in backward.
class SHIRA_API LoraTraining : public TrainingMethod {
 public:
  /// With initial factors. ConfigError for a float16 base.
  LoraTraining(std::vector<LayerTarget> targets, const LoraOptions& options);
  /// With the factors of `adapter`, on the layers it names: to train on, or under a NoGradGuard to
  /// use it unmerged. ConfigError for a layer that the model does not have, ShapeError for factors
  /// that do not fit.
  LoraTraining(const torch::nn::Module& model, const LoraAdapter& adapter, double dropout = 0.0);
  ~LoraTraining() override;
  LoraTraining(const LoraTraining&) = delete;
  LoraTraining& operator=(const LoraTraining&) = delete;

  /// As append_factors names them, layer by layer.
  std::vector<NamedTensor> parameters() const override;
  /// Renews DoRA's norms.
  void publish() override;
  void set_training(bool is_training) override;

  /// The factors as they are now.
  LoraAdapter extract() const;

 private:
  struct Layer {
    LayerTarget target;
    std::shared_ptr<LoraPlug> plug;
  };
  void add(LayerTarget target, const LoraTensor& factors);
  void plug_in();

  double dropout_;
  bool use_rslora_;
  std::vector<Layer> layers_;
};

}  // namespace shira
