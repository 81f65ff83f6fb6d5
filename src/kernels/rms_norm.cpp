// A row is read twice, the second time from the cache. The scale is computed anew for the backward
// pass rather than kept.
#include <shira/kernels/parallel.h>
#include <shira/kernels/rms_norm.h>

#include <cmath>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/rms_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_RMS_NORM_ONCE
#define SHIRA_KERNELS_RMS_NORM_ONCE
namespace shira::detail {

struct NormOperands {
  NormShape shape;
  const void* grad;  // may be null
  const void* x;
  const void* weight;
  double eps;
  void* out;
};

}  // namespace shira::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

template <typename T>
Computed<T> norm_scale(const T* x, std::int64_t width, double eps) {
  const Computed<T> squares = sum_vectors<T>(width, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto value = load(d, x + i);
    return hn::Mul(value, value);
  });
  const Computed<T> mean = squares / static_cast<Computed<T>>(width);
  return 1 / std::sqrt(mean + static_cast<Computed<T>>(eps));
}

template <typename T>
void norm_row(const T* x, const T* weight, std::int64_t width, double eps, T* out) {
  const Computed<T> scale = norm_scale(x, width, eps);
  for_each_vector<T>(width, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto normed = rounded_as<T>(d, hn::Mul(load(d, x + i), hn::Set(d, scale)));
    store(d, hn::Mul(load(d, weight + i), normed), out + i);
  });
}

template <typename T>
void norm_row_backward(const T* grad, const T* x, const T* weight, std::int64_t width, double eps,
                       T* x_grad) {
  const Computed<T> scale = norm_scale(x, width, eps);
  const Computed<T> products = sum_vectors<T>(width, [&](auto d, std::int64_t i) HWY_ATTR {
    return hn::Mul(hn::Mul(load(d, grad + i), load(d, weight + i)), load(d, x + i));
  });
  const Computed<T> pull = products * scale * scale * scale / static_cast<Computed<T>>(width);
  for_each_vector<T>(width, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto direct = hn::Mul(hn::Mul(load(d, grad + i), load(d, weight + i)), hn::Set(d, scale));
    store(d, hn::NegMulAdd(load(d, x + i), hn::Set(d, pull), direct), x_grad + i);
  });
}

/// Forward where there is no gradient.
void norm_rows(const detail::NormOperands& operands, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = operands.shape.width;
  with_vector_type("rms_norm", operands.shape.dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const auto* grad = static_cast<const T*>(operands.grad);
    const auto* x = static_cast<const T*>(operands.x);
    const auto* weight = static_cast<const T*>(operands.weight);
    auto* out = static_cast<T*>(operands.out);
    for (std::int64_t at = begin * width; at < end * width; at += width) {
      if (grad == nullptr) {
        norm_row(x + at, weight, width, operands.eps, out + at);
      } else {
        norm_row_backward(grad + at, x + at, weight, width, operands.eps, out + at);
      }
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shira
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {
namespace {

HWY_EXPORT(norm_rows);

void run_rows(const detail::NormOperands& operands) {
  parallel_chunks(operands.shape.rows, grain_of(operands.shape.width),
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    HWY_DYNAMIC_DISPATCH(norm_rows)(operands, begin, end);
                  });
}

}  // namespace

void rms_norm(const NormShape& shape, const void* x, const void* weight, double eps, void* out) {
  run_rows({shape, nullptr, x, weight, eps, out});
}

void rms_norm_backward(const NormShape& shape, const void* grad, const void* x, const void* weight,
                       double eps, void* x_grad) {
  run_rows({shape, grad, x, weight, eps, x_grad});
}

}  // namespace shira
#endif  // HWY_ONCE
