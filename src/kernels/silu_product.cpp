// silu(x) = x * s with s = 1 / (1 + exp(-x)); its derivative is s * (1 + x * (1 - s)). Bound by
// memory: what LibTorch does in two passes forward and five backward takes one each.
#include <shira/kernels/parallel.h>
#include <shira/kernels/silu_product.h>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/silu_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_SILU_PRODUCT_ONCE
#define SHIRA_KERNELS_SILU_PRODUCT_ONCE
namespace shira::detail {

struct SiluOperands {
  DType dtype;
  const void* grad;
  const void* gate;
  const void* up;
  void* out;  // forward, or the gate's gradient
  void* up_grad;
};

}  // namespace shira::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

/// 1 / (1 + exp(-x)) by exp(-|x|): what Highway gives for exp(105) and above is not an exponential.
template <class D>
HWY_INLINE hn::Vec<D> sigmoid(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto small = hn::Exp(d, hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), small, one), hn::Add(one, small));
}

void silu_product_part(const detail::SiluOperands& operands, std::int64_t begin, std::int64_t end) {
  with_vector_type("silu_product", operands.dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto* gate = static_cast<const T*>(operands.gate) + begin;
    const auto* up = static_cast<const T*>(operands.up) + begin;
    auto* out = static_cast<T*>(operands.out) + begin;
    for_each_vector<T>(end - begin, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto x = load(d, gate + i);
      store(d, hn::Mul(hn::Mul(x, sigmoid(d, x)), load(d, up + i)), out + i);
    });
  });
}

void silu_product_part_backward(const detail::SiluOperands& operands, std::int64_t begin,
                                std::int64_t end) {
  with_vector_type("silu_product_backward", operands.dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto* grad = static_cast<const T*>(operands.grad) + begin;
    const auto* gate = static_cast<const T*>(operands.gate) + begin;
    const auto* up = static_cast<const T*>(operands.up) + begin;
    auto* gate_grad = static_cast<T*>(operands.out) + begin;
    auto* up_grad = static_cast<T*>(operands.up_grad) + begin;
    for_each_vector<T>(end - begin, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto one = hn::Set(d, hn::TFromD<decltype(d)>{1});
      const auto g = load(d, grad + i), x = load(d, gate + i);
      const auto s = sigmoid(d, x);
      const auto slope = hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
      store(d, hn::Mul(hn::Mul(g, load(d, up + i)), slope), gate_grad + i);
      store(d, hn::Mul(g, hn::Mul(x, s)), up_grad + i);
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shira
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {
namespace {

HWY_EXPORT(silu_product_part);
HWY_EXPORT(silu_product_part_backward);

}  // namespace

void silu_product(DType dtype, std::int64_t count, const void* gate, const void* up, void* out) {
  const detail::SiluOperands operands = {dtype, nullptr, gate, up, out, nullptr};
  parallel_chunks(count, grain_of(1), [&](std::int64_t begin, std::int64_t end, std::int64_t) {
    HWY_DYNAMIC_DISPATCH(silu_product_part)(operands, begin, end);
  });
}

void silu_product_backward(DType dtype, std::int64_t count, const void* grad, const void* gate,
                           const void* up, void* gate_grad, void* up_grad) {
  const detail::SiluOperands operands = {dtype, grad, gate, up, gate_grad, up_grad};
  parallel_chunks(count, grain_of(1), [&](std::int64_t begin, std::int64_t end, std::int64_t) {
    HWY_DYNAMIC_DISPATCH(silu_product_part_backward)(operands, begin, end);
  });
}

}  // namespace shira
#endif  // HWY_ONCE
