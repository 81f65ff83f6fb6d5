// at::linear computes float32 products by MKL, which uses AVX2 at most on processors that are not
// Intel's; oneDNN, in the same library, uses AVX-512 on all of them: 2.2 times as fast on a Zen 5.
// at::linear takes oneDNN for reduced precision only; the operator that torch.compile calls always.
#include <shira/base/error.h>
#include <shira/sparse/fast_linear.h>

#include <ATen/Functions.h>
#include <ATen/Version.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace shira {
namespace {

/// Below this many rows reading the 16-bit weight once beats converting it.
constexpr std::int64_t kFewRows = 12;

/// Below either, oneDNN's preparation (some 10 microseconds, or a copy of the weight) outweighs its
/// speed.
constexpr std::int64_t kFewOneDnnRows = 8;
constexpr std::int64_t kFewOneDnnTerms = 2'000'000;

bool has_avx512() {
  static const bool has = at::get_cpu_capability().starts_with("AVX512");
  return has;
}

std::int64_t row_count(const torch::Tensor& input) { return input.numel() / input.size(-1); }

/// Whether `weight`'s dtype is emulated in products with `input`.
bool is_emulated(const torch::Tensor& weight, const torch::Tensor& input) {
  const bool slow_dtype = weight.scalar_type() == torch::kFloat16 ||
                          (weight.scalar_type() == torch::kBFloat16 && !has_avx512());
  return slow_dtype && weight.is_cpu() && row_count(input) > kFewRows;
}

bool is_intel() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

/// "mkldnn::_linear_pointwise", where oneDNN is faster than MKL and this LibTorch has it.
const std::optional<c10::OperatorHandle>& onednn_linear() {
  static const auto found =
      has_avx512() && !is_intel()
          ? c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", /*overload=*/""})
          : std::nullopt;
  return found;
}

bool suits_onednn(const torch::Tensor& weight, const torch::Tensor& input) {
  return weight.is_cpu() && weight.scalar_type() == torch::kFloat32 &&
         input.scalar_type() == torch::kFloat32 && row_count(input) >= kFewOneDnnRows &&
         row_count(input) * weight.numel() >= kFewOneDnnTerms && onednn_linear().has_value();
}

torch::Tensor linear_by_onednn(const torch::Tensor& input, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
  // (X, W, B, attr, scalars, algorithm): no function is applied to the result.
  torch::jit::Stack stack = {input.contiguous(),
                             weight,
                             bias.defined() ? c10::IValue(bias) : c10::IValue(),
                             "none",
                             c10::List<std::optional<at::Scalar>>(),
                             std::string()};
  onednn_linear()->callBoxed(stack);
  return stack.front().toTensor();
}

torch::Tensor linear_in_own_dtype(const torch::Tensor& input, const torch::Tensor& weight,
                                  const torch::Tensor& bias) {
  if (suits_onednn(weight, input)) return linear_by_onednn(input, weight, bias);
  return at::linear(input, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

}  // namespace

torch::Tensor fast_linear(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias) {
  torch::NoGradGuard no_grad;
  if (!is_emulated(weight, input)) return linear_in_own_dtype(input, weight, bias);
  const torch::Tensor wide_bias = bias.defined() ? bias.to(torch::kFloat32) : bias;
  return linear_in_own_dtype(input.to(torch::kFloat32), weight.to(torch::kFloat32), wide_bias)
      .to(weight.scalar_type());
}

}  // namespace shira
