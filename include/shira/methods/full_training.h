// `adapter: full`: every parameter is trained, as in ordinary fine-tuning or pretraining.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/training_method.h>

#include <torch/nn/module.h>

#include <vector>

namespace shira {

/// Makes every parameter of a float32 (or float64) model require gradients until it goes out of
/// scope; a tensor that two modules share is trained once. ConfigError for a narrower model: small
/// updates would be rounded away.
class SHIRA_API FullTraining : public TrainingMethod {
 public:
  explicit FullTraining(const torch::nn::Module& model);
  ~FullTraining() override;
  FullTraining(const FullTraining&) = delete;
  FullTraining& operator=(const FullTraining&) = delete;

  std::vector<NamedTensor> parameters() const override { return parameters_; }
  void publish() override {}  // the parameters are the model's own

 private:
  std::vector<NamedTensor> parameters_;
};

}  // namespace shira
