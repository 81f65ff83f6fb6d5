// What a way of training hands the trainer: the tensors that the optimiser moves, and what has to
// happen after it moved them.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/tensor_file.h>

#include <vector>

namespace shira {

class SHIRA_API TrainingMethod {
 public:
  virtual ~TrainingMethod() = default;
  /// The trained tensors: leaves that require gradients, named by the parameter they stand for.
  virtual std::vector<NamedTensor> parameters() const = 0;
  /// Brings the model up to date with the parameters; called after each optimiser step and after a
  /// checkpoint was restored.
  virtual void publish() = 0;
};

}  // namespace shira
