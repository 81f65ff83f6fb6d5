// Where training batches come from, whatever they are made of.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace shira {

/// Tensors by name, as the objective expects them.
using Batch = std::map<std::string, torch::Tensor>;

/// Every batch is a function of (seed, epoch, number), so that a resumed run needs no state to go
/// on where it stopped.
class SHIRA_API BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Epochs may differ.
  virtual std::int64_t batches_in_epoch(std::int64_t epoch) = 0;
  /// `number` counts from 0.
  virtual Batch batch(std::int64_t epoch, std::int64_t number) = 0;
  /// Tells a resumed run that its data are the same.
  virtual std::uint64_t fingerprint() const = 0;
};

}  // namespace shira
