// A plug in each target's socket forms the dense gradient of its weight during backward and adds it
// to the score: autograd itself never holds a gradient of a weight.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/train/calibration.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <span>

namespace shira {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the layer makes of its input; backward adds abs(dW), summed over one batch, to `score`, of
/// the weight's shape in float32. `trigger` is a leaf that requires a gradient, so that the first
/// layer has a backward too.
class ScoringFunction : public torch::autograd::Function<ScoringFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& /*trigger*/, const torch::Tensor& score,
                               const nn::Layer* layer) {
    context->save_for_backward({input});
    context->saved_data["score"] = score;
    context->saved_data["layer"] = reinterpret_cast<std::int64_t>(layer);
    return layer->frozen(input, layer->bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const torch::Tensor input = context->get_saved_variables()[0];
    const auto* layer = reinterpret_cast<const nn::Layer*>(context->saved_data["layer"].toInt());
    const torch::Tensor grad = layer->weight_grad(grads[0], input);
    context->saved_data["score"].toTensor().add_(grad.abs_());
    torch::Tensor input_grad;
    if (context->needs_input_grad(0)) input_grad = layer->input_grad(grads[0], input);
    return {input_grad, {}, {}, {}};
  }
};

class ScoringPlug : public nn::LayerPlug {
 public:
  explicit ScoringPlug(const torch::Tensor& weight)
      : score_(at::zeros(weight.sizes(), weight.options().dtype(torch::kFloat32))),
        trigger_(at::zeros({0}, weight.options()).requires_grad_()) {}

  torch::Tensor forward(const torch::Tensor& input, const nn::Layer& layer) override {
    return ScoringFunction::apply(input, trigger_, score_, &layer);
  }

  const torch::Tensor& score() const { return score_; }

 private:
  torch::Tensor score_;
  torch::Tensor trigger_;
};

/// Scoring plugs in the sockets of some targets, for as long as this lives.
class ScoringPlugs {
 public:
  explicit ScoringPlugs(std::span<const LayerTarget> targets)
      : targets_(targets.begin(), targets.end()) {
    for (LayerTarget& target : targets_) {
      plugs_.push_back(std::make_shared<ScoringPlug>(target.layer->weight));
      target.layer->plug = plugs_.back();
    }
  }
  ~ScoringPlugs() {
    for (LayerTarget& target : targets_) target.layer->plug.reset();
  }
  ScoringPlugs(const ScoringPlugs&) = delete;
  ScoringPlugs& operator=(const ScoringPlugs&) = delete;

  const torch::Tensor& score(std::size_t i) const { return plugs_[i]->score(); }

 private:
  std::vector<LayerTarget> targets_;
  std::vector<std::shared_ptr<ScoringPlug>> plugs_;
};

double score_bytes(const LayerTarget& target) {
  return static_cast<double>(target.layer->weight.numel()) * sizeof(float);
}

/// How many targets from `begin` on fit the memory; at least one.
std::size_t group_size(const std::vector<LayerTarget>& targets, std::size_t begin, double memory) {
  double used = score_bytes(targets[begin]);
  std::size_t end = begin + 1;
  while (end < targets.size() && used + score_bytes(targets[end]) <= memory) {
    used += score_bytes(targets[end++]);
  }
  return end - begin;
}

void run_batches(Objective& objective, BatchSource& data, std::int64_t batches) {
  std::int64_t epoch = 0, number = 0;
  for (std::int64_t i = 0; i < batches; ++i, ++number) {
    if (number == data.batches_in_epoch(epoch)) {
      ++epoch;
      number = 0;
    }
    const Batch batch = data.batch(epoch, number);
    const torch::Tensor sum = objective.loss_sum(batch);
    SHIRA_CHECK(Error, std::isfinite(sum.item<double>()), "calibration: the loss of batch ", number,
                " is ", sum.item<double>(), ". Look at this batch, or at the base's weights.");
    const std::int64_t terms = std::max<std::int64_t>(objective.term_count(batch), 1);
    (sum / static_cast<double>(terms)).backward();
  }
}

SparseMask scored_mask(const LayerTarget& target, const torch::Tensor& score,
                       const MaskBudget& budget, CalibrationScore kind) {
  torch::NoGradGuard no_grad;
  const torch::Tensor& weight = target.layer->weight;
  if (kind == CalibrationScore::kSnip) score.mul_(weight.to(torch::kFloat32).abs());
  SHIRA_CHECK(Error, score.isfinite().all().item<bool>(), "calibration: the gradients of ",
              target.parameter_name(), " are not finite. Set base_dtype to float32 or bfloat16.");
  return mask_of_largest(score.cpu(), mask_nnz(budget, weight.sizes()));
}

}  // namespace

MaskMap calibrate_masks(const std::vector<LayerTarget>& targets, Objective& objective,
                        BatchSource& data, const MaskBudget& budget,
                        const CalibrationOptions& options) {
  MaskMap masks;
  for (std::size_t begin = 0; begin < targets.size();) {
    const std::size_t count = group_size(targets, begin, options.memory_bytes);
    const std::span<const LayerTarget> group(&targets[begin], count);
    log_info(detail::concat("calibrating layers ", begin + 1, " to ", begin + count, " of ",
                            targets.size(), " on ", options.batches, " batches"));
    const ScoringPlugs plugs(group);
    run_batches(objective, data, options.batches);
    for (std::size_t i = 0; i < count; ++i) {
      masks.emplace(group[i].parameter_name(),
                    scored_mask(group[i], plugs.score(i), budget, options.score));
    }
    begin += count;
  }
  return masks;
}

}  // namespace shira
