// A reference state: what transformers or diffusers computed on given inputs, in a file.
#pragma once

#include <shira/io/safetensors.h>
#include <shira/sparse/tensor_file.h>
#include <shira/tasks/verify.h>

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace shira::detail {

/// A reference file, its tensors read on demand.
class ReferenceState {
 public:
  explicit ReferenceState(const std::filesystem::path& path) : file_(path) {}

  std::string path() const { return file_.path().string(); }
  std::vector<std::string> names() const { return file_.names(); }
  bool has(const std::string& name) const { return file_.contains(name); }

  /// IoError where it is missing.
  torch::Tensor require(const std::string& name) const;
  /// int64. IoError unless it holds integers.
  torch::Tensor require_integers(const std::string& name) const;
  /// float32. IoError unless it holds finite numbers.
  torch::Tensor require_numbers(const std::string& name) const;

 private:
  SafetensorsFile file_;
};

/// Collects the differences between a model and a reference state.
class Comparison {
 public:
  Comparison(const ReferenceState& reference, double tolerance)
      : reference_(reference), tolerance_(tolerance) {}

  /// IoError where the shapes differ.
  void add(const std::string& name, const torch::Tensor& ours, const torch::Tensor& expected);
  /// Against the reference's `name` of one element, where it is there.
  void add_loss(const torch::Tensor& loss);
  /// Every grad.<parameter> that is there. IoError for a parameter that the model has not.
  void add_gradients(const std::vector<NamedTensor>& parameters);

  /// IoError where the reference held nothing to compare with.
  VerifyReport report() const;

 private:
  const ReferenceState& reference_;
  double tolerance_;
  VerifyReport report_;
};

}  // namespace shira::detail
