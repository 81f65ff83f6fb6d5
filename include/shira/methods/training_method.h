// What a way of training hands the trainer: the tensors that the optimiser moves, and what has to
// happen after it moved them.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_adapter.h>
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
  /// Whether the coming forwards are those of a training step: what is random then (dropout) is off
  /// otherwise, as it is at first.
  virtual void set_training(bool /*is_training*/) {}
};

/// A way of training that changes masked entries only: its result is a sparse adapter.
class SHIRA_API SparseTraining : public TrainingMethod {
 public:
  /// Sets the trained entries to the values of `adapter`, whose masks are the trained ones.
  virtual void start_from(const SparseAdapter& adapter) = 0;
  /// The trained weights as they are in the model, bit for bit, as an adapter for the weights that
  /// the model had at first.
  virtual SparseAdapter extract() const = 0;
};

}  // namespace shira
