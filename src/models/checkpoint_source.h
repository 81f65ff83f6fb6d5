// The tensors of a checkpoint as a model's parameters: mapped where nobody writes and the dtype is
// right, owned copies elsewhere.
#pragma once

#include <shira/io/checkpoint_files.h>
#include <shira/models/load_options.h>
#include <shira/models/part_builder.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>

namespace shira::detail {

/// The dtype of the tensor `name`; where that is missing any other's: the fit check then reports
/// everything. IoError when there is no tensor.
torch::ScalarType stored_dtype(const CheckpointFiles& files, const std::string& name);

/// Gives a model its tensors and remembers what did not fit.
class CheckpointSource {
 public:
  using Predicate = std::function<bool(const std::string&)>;

  /// What `options` leave open: the parameters that are `writable`, the dtype of the tensor
  /// `main_tensor` (stored_dtype). `files` is borrowed. IoError when they hold no tensor.
  CheckpointSource(const CheckpointFiles& files, const LoadOptions& options, Predicate writable,
                   const std::string& main_tensor);

  /// take, for a model's constructor, which must not outlive this.
  ParameterSource parameters();
  /// The tensor, or an empty-handed stand-in of that shape for what does not fit.
  torch::Tensor take(const std::string& name, at::IntArrayRef shape);

  /// One IoError with everything that was missing or mis-shaped, and what the checkpoint has beyond
  /// the model, unless `is_ignored`.
  void check_all(const Predicate& is_ignored = [](const std::string&) { return false; });

 private:
  void add_problem(const std::string& name, const std::string& what);
  torch::Tensor reject(const std::string& name, at::IntArrayRef shape, const std::string& why);

  const CheckpointFiles& files_;
  Predicate writable_;
  torch::ScalarType dtype_;
  std::set<std::string> taken_;
  static constexpr std::int64_t kMostListed = 20;
  std::string problems_;  // the first of them
  std::int64_t count_ = 0;
};

}  // namespace shira::detail
