// at::_fused_adamw_ is nine times as fast as torch::optim::AdamW on the CPU, which walks over each
// tensor several times.
#include <shira/train/optimizer.h>

#include <ATen/Functions.h>

#include <algorithm>

namespace shira {
namespace {

/// Norms and biases are not decayed, as in transformers' Trainer.
bool is_decayed(const std::string& name) {
  return name.find("norm") == std::string::npos && !name.ends_with(".bias");
}

double lr_factor_of(const std::string& name, const OptimizerOptions& options) {
  for (const auto& [prefix, factor] : options.lr_factors) {
    if (name.starts_with(prefix)) return factor;
  }
  return 1.0;
}

/// Parameters that share weight decay and learning rate.
struct ParameterGroup {
  double weight_decay = 0.0;
  double lr_factor = 1.0;
  std::vector<std::string> names = {};
  std::vector<torch::Tensor> parameters = {};

  void add(const NamedTensor& parameter) {
    names.push_back(parameter.first);
    parameters.push_back(parameter.second);
  }

  std::vector<torch::Tensor> grads() const {
    std::vector<torch::Tensor> grads;
    for (const torch::Tensor& parameter : parameters) grads.push_back(parameter.grad());
    return grads;
  }
};

std::vector<ParameterGroup> group_parameters(const std::vector<NamedTensor>& parameters,
                                             const OptimizerOptions& options) {
  std::vector<ParameterGroup> groups;
  for (const NamedTensor& parameter : parameters) {
    const double decay = is_decayed(parameter.first) ? options.weight_decay : 0.0;
    const double factor = lr_factor_of(parameter.first, options);
    auto group = std::ranges::find_if(groups, [&](const ParameterGroup& other) {
      return other.weight_decay == decay && other.lr_factor == factor;
    });
    if (group == groups.end()) group = groups.insert(group, {decay, factor});
    group->add(parameter);
  }
  return groups;
}

class AdamW : public Optimizer {
 public:
  AdamW(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options)
      : options_(options) {
    for (ParameterGroup& group : group_parameters(parameters, options)) {
      Moments moments;
      for (const torch::Tensor& parameter : group.parameters) {
        moments.exp_avg.push_back(at::zeros_like(parameter));
        moments.exp_avg_sq.push_back(at::zeros_like(parameter));
        moments.steps.push_back(at::zeros({}, parameter.options().dtype(torch::kFloat32)));
      }
      groups_.push_back({std::move(group), std::move(moments)});
    }
  }

  void step(double learning_rate) override {
    torch::NoGradGuard no_grad;
    for (auto& [group, moments] : groups_) {
      for (torch::Tensor& step : moments.steps) step.add_(1);  // the kernel expects the new count
      at::_fused_adamw_(group.parameters, group.grads(), moments.exp_avg, moments.exp_avg_sq,
                        /*max_exp_avg_sqs=*/{}, moments.steps, learning_rate * group.lr_factor,
                        options_.adam_beta1, options_.adam_beta2, group.weight_decay,
                        options_.adam_epsilon,
                        /*amsgrad=*/false, /*maximize=*/false);
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> state;
    for (const auto& [group, moments] : groups_) {
      for (std::size_t i = 0; i < group.names.size(); ++i) {
        state.emplace_back("exp_avg." + group.names[i], moments.exp_avg[i]);
        state.emplace_back("exp_avg_sq." + group.names[i], moments.exp_avg_sq[i]);
        state.emplace_back("step." + group.names[i], moments.steps[i]);
      }
    }
    return state;
  }

 private:
  struct Moments {
    std::vector<torch::Tensor> exp_avg, exp_avg_sq, steps;
  };

  OptimizerOptions options_;
  std::vector<std::pair<ParameterGroup, Moments>> groups_;
};

class Sgd : public Optimizer {
 public:
  Sgd(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options)
      : groups_(group_parameters(parameters, options)) {}

  void step(double learning_rate) override {
    torch::NoGradGuard no_grad;
    for (ParameterGroup& group : groups_) {
      at::_fused_sgd_(group.parameters, group.grads(), /*momentum_buffer_list=*/{},
                      group.weight_decay, /*momentum=*/0.0, learning_rate * group.lr_factor,
                      /*dampening=*/0.0,
                      /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  std::vector<NamedTensor> state() const override { return {}; }

 private:
  std::vector<ParameterGroup> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const std::vector<NamedTensor>& parameters,
                                      const OptimizerOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

std::unique_ptr<Optimizer> make_sgd(const std::vector<NamedTensor>& parameters,
                                    const OptimizerOptions& options) {
  return std::make_unique<Sgd>(parameters, options);
}

}  // namespace shira
