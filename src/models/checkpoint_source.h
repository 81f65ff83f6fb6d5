// The tensors of a checkpoint as a model's parameters: mapped where nobody writes and the dtype is
// right, owned copies elsewhere.
#pragma once

#include <shira/io/checkpoint_files.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace shira::detail {

/// Gives a model its tensors and remembers what did not fit.
class CheckpointSource {
 public:
  /// `writable`: the parameters, by name, that are copied in any case. `files` is borrowed.
  CheckpointSource(const CheckpointFiles& files, std::function<bool(const std::string&)> writable,
                   torch::ScalarType dtype)
      : files_(files), writable_(std::move(writable)), dtype_(dtype) {}

  /// The tensor, or an empty-handed stand-in of that shape for what does not fit.
  torch::Tensor take(const std::string& name, at::IntArrayRef shape);

  /// One IoError with everything that was missing or mis-shaped, and what the checkpoint has beyond
  /// the model, unless `is_ignored`.
  void check_all(const std::function<bool(const std::string&)>& is_ignored);

 private:
  void add_problem(const std::string& name, const std::string& what);
  torch::Tensor reject(const std::string& name, at::IntArrayRef shape, const std::string& why);

  const CheckpointFiles& files_;
  std::function<bool(const std::string&)> writable_;
  torch::ScalarType dtype_;
  std::set<std::string> taken_;
  static constexpr std::int64_t kMostListed = 20;
  std::string problems_;  // the first of them
  std::int64_t count_ = 0;
};

}  // namespace shira::detail
