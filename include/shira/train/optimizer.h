// AdamW (Loshchilov and Hutter 2019) and SGD over the trained tensors, on LibTorch's fused kernels.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/tensor_file.h>

#include <torch/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shira {

struct OptimizerOptions {
  double weight_decay = 0.0;  // not on norms and biases
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  /// Times the learning rate, for parameters whose names begin with the key.
  std::map<std::string, double> lr_factors = {};
};

class SHIRA_API Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step from the parameters' gradients; every parameter has one.
  virtual void step(double learning_rate) = 0;
  /// The tensors that a checkpoint must hold, live: restoring copies into them.
  virtual std::vector<NamedTensor> state() const = 0;
};

SHIRA_API std::unique_ptr<Optimizer> make_adamw(const std::vector<NamedTensor>& parameters,
                                                const OptimizerOptions& options);
SHIRA_API std::unique_ptr<Optimizer> make_sgd(const std::vector<NamedTensor>& parameters,
                                              const OptimizerOptions& options);

}  // namespace shira
