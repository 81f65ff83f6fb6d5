// A row of logits stays in the second-level cache while it is read for its largest value, for the
// sum of exponentials and, with a gradient, once more.
#include <shira/base/error.h>
#include <shira/kernels/cross_entropy.h>
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/cross_entropy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_CROSS_ENTROPY_ONCE
#define SHIRA_KERNELS_CROSS_ENTROPY_ONCE
namespace shira::detail {

struct CrossEntropyOperands {
  LogitsShape shape;
  const void* logits;
  const std::int64_t* labels;
  double* losses;
  void* grads;  // may be null, or the logits
};

}  // namespace shira::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

template <typename T>
Computed<T> largest(const T* row, std::int64_t count) {
  const hn::ScalableTag<Computed<T>> d;
  const hn::CappedTag<Computed<T>, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto most = hn::Set(d, -std::numeric_limits<Computed<T>>::infinity());
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) most = hn::Max(most, load(d, row + i));
  Computed<T> result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < count; ++i) result = std::max(result, hn::GetLane(load(one, row + i)));
  return result;
}

/// NaN when there is one in the row, which neither a maximum nor Highway's exponential tells of.
template <typename T>
Computed<T> sum_of_exp(const T* row, std::int64_t count, Computed<T> shift) {
  return sum_vectors<T>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto shifted = hn::Sub(load(d, row + i), hn::Set(d, shift));
    return hn::IfThenElse(hn::IsNaN(shifted), shifted, hn::Exp(d, shifted));
  });
}

template <typename T>
void softmax(const T* row, std::int64_t count, Computed<T> shift, Computed<T> sum, T* out) {
  for_each_vector<T>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto exp = hn::Exp(d, hn::Sub(load(d, row + i), hn::Set(d, shift)));
    store(d, hn::Mul(exp, hn::Set(d, 1 / sum)), out + i);
  });
}

template <typename T>
void cross_entropy_row(const T* row, std::int64_t classes, std::int64_t label, double* loss,
                       T* grad) {
  const hn::CappedTag<Computed<T>, 1> one;
  const Computed<T> shift = largest(row, classes);
  const Computed<T> sum = sum_of_exp(row, classes, shift);
  const Computed<T> chosen = hn::GetLane(load(one, row + label)) - shift;
  *loss = static_cast<double>(std::log(sum) - chosen);
  if (grad == nullptr) return;
  softmax(row, classes, shift, sum, grad);
  store(one, hn::Set(one, std::exp(chosen) / sum - 1), grad + label);
}

void cross_entropy_rows(const detail::CrossEntropyOperands& operands, std::int64_t begin,
                        std::int64_t end) {
  with_vector_type("cross_entropy", operands.shape.dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const std::int64_t classes = operands.shape.classes;
    auto* grads = static_cast<T*>(operands.grads);
    for (std::int64_t row = begin; row < end; ++row) {
      cross_entropy_row(static_cast<const T*>(operands.logits) + row * classes, classes,
                        operands.labels[row], operands.losses + row,
                        grads == nullptr ? nullptr : grads + row * classes);
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

HWY_EXPORT(cross_entropy_rows);

void run_rows(const detail::CrossEntropyOperands& operands) {
  for (std::int64_t row = 0; row < operands.shape.rows; ++row) {
    const std::int64_t label = operands.labels[row];
    SHIRA_CHECK(ShapeError, label >= 0 && label < operands.shape.classes,
                "cross_entropy: got label ", label, ", expected 0 to ", operands.shape.classes - 1);
  }
  parallel_chunks(operands.shape.rows, grain_of(operands.shape.classes),
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    HWY_DYNAMIC_DISPATCH(cross_entropy_rows)(operands, begin, end);
                  });
}

}  // namespace

void cross_entropy(const LogitsShape& shape, const void* logits, const std::int64_t* labels,
                   double* losses) {
  run_rows({shape, logits, labels, losses, nullptr});
}

void cross_entropy_to_grad(const LogitsShape& shape, void* logits, const std::int64_t* labels,
                           double* losses) {
  run_rows({shape, logits, labels, losses, logits});
}

}  // namespace shira
#endif  // HWY_ONCE
