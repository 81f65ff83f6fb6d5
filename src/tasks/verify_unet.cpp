// The reference's loss is the mean squared error of output and target.
#include "reference_state.h"

#include <shira/base/error.h>
#include <shira/methods/full_training.h>
#include <shira/tasks/verify.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

/// The conditions that this model takes; the forward pass checks their shapes.
UnetConditions read_conditions(const detail::ReferenceState& reference, const UnetConfig& config) {
  UnetConditions conditions;
  conditions.context = reference.require_numbers("encoder_hidden_states");
  if (config.addition_time_width > 0) {
    conditions.text_embeds = reference.require_numbers("text_embeds");
    conditions.time_ids = reference.require_numbers("time_ids");
  }
  if (config.class_embedding != ClassEmbedding::kNone) {
    conditions.class_labels = reference.require_numbers("class_labels");
  }
  return conditions;
}

}  // namespace

VerifyReport verify(Unet& model, const std::filesystem::path& path, double tolerance) {
  const detail::ReferenceState reference(path);
  const UnetConditions conditions = read_conditions(reference, model->config);
  const torch::Tensor sample = reference.require_numbers("sample");
  const torch::Tensor timesteps = reference.require_numbers("timesteps");
  const torch::Tensor target = reference.require_numbers("target");
  FullTraining training(*model);
  const torch::Tensor output = model->forward(sample, timesteps, conditions);
  SHIRA_CHECK(IoError, target.sizes() == output.sizes(), reference.path(),
              ": target must have the output's shape ", output.sizes(), ". Got ", target.sizes(),
              ".");
  const torch::Tensor loss = at::mse_loss(output, target);
  loss.backward();

  detail::Comparison comparison(reference, tolerance);
  if (reference.has("output")) comparison.add("output", output, reference.require("output"));
  comparison.add_loss(loss);
  comparison.add_gradients(training.parameters());
  return comparison.report();
}

}  // namespace shira
