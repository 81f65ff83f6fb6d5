#include "reference_state.h"

#include <shira/base/error.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace detail {
namespace {

constexpr std::string_view kGradPrefix = "grad.";
constexpr double kSmallestScale = 1e-6;  // of a reference that is zero, or nearly

}  // namespace

torch::Tensor ReferenceState::require(const std::string& name) const {
  SHIRA_CHECK(IoError, has(name), path(), ": no tensor '", name,
              "'. Is this a reference state (scripts/make_reference_state.py, "
              "scripts/make_unet_reference.py) of this model's family?");
  return map_tensor(file_.view(name));
}

torch::Tensor ReferenceState::require_integers(const std::string& name) const {
  const torch::Tensor tensor = require(name);
  SHIRA_CHECK(IoError, c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/false), path(),
              ": ", name, " must be integers. Got ", torch_dtype_name(tensor.scalar_type()), ".");
  return tensor.to(torch::kInt64);
}

torch::Tensor ReferenceState::require_numbers(const std::string& name) const {
  const torch::Tensor tensor = require(name).to(torch::kFloat32);
  SHIRA_CHECK(IoError, tensor.isfinite().all().item<bool>(), path(), ": ", name,
              " holds values that are not finite.");
  return tensor;
}

void Comparison::add(const std::string& name, const torch::Tensor& ours,
                     const torch::Tensor& expected) {
  SHIRA_CHECK(IoError, ours.sizes() == expected.sizes(), name, ": the reference has shape ",
              expected.sizes(), ", the model ", ours.sizes(), ".");
  const torch::Tensor reference = expected.to(torch::kFloat64).reshape({-1});
  const torch::Tensor error = (ours.detach().to(torch::kFloat64).reshape({-1}) - reference).abs();
  TensorDifference difference{name, error.max().item<double>(),
                              reference.abs().max().item<double>(), false};
  const bool finite =
      std::isfinite(difference.max_abs_error) && std::isfinite(difference.max_abs_reference);
  difference.passed =
      finite && difference.max_abs_error <=
                    tolerance_ * std::max(difference.max_abs_reference, kSmallestScale);
  report_.tensors.push_back(difference);
}

void Comparison::add_loss(const torch::Tensor& loss) {
  if (reference_.has("loss")) add("loss", loss.flatten(), reference_.require("loss").flatten());
}

void Comparison::add_gradients(const std::vector<NamedTensor>& parameters) {
  for (const std::string& name : reference_.names()) {
    if (!name.starts_with(kGradPrefix)) continue;
    const std::string parameter_name = name.substr(kGradPrefix.size());
    const auto found =
        std::find_if(parameters.begin(), parameters.end(),
                     [&](const auto& parameter) { return parameter.first == parameter_name; });
    SHIRA_CHECK(IoError, found != parameters.end(), name, ": the model has no parameter ",
                parameter_name, ".");
    const torch::Tensor& parameter = found->second;
    const torch::Tensor grad =
        parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter);
    add(name, grad, reference_.require(name));
  }
}

VerifyReport Comparison::report() const {
  SHIRA_CHECK(IoError, !report_.tensors.empty(), reference_.path(),
              ": holds neither outputs, loss nor gradients.");
  return report_;
}

}  // namespace detail

double TensorDifference::relative() const {
  return max_abs_reference > 0.0 ? max_abs_error / max_abs_reference : max_abs_error;
}

bool VerifyReport::passed() const {
  return std::all_of(tensors.begin(), tensors.end(),
                     [](const TensorDifference& tensor) { return tensor.passed; });
}

}  // namespace shira
