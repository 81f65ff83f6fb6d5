// Both halves of a head are read and written once; LibTorch's form takes five passes.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/rotary.h>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/rotary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_ROTARY_ONCE
#define SHIRA_KERNELS_ROTARY_ONCE
namespace shira::detail {

struct RotaryOperands {
  RotaryShape shape;
  const void* x;
  const void* cos;
  const void* sin;
  double sign;  // of the sine
  void* out;
};

}  // namespace shira::detail
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

template <typename T>
void rotate_head(const T* x, const T* cos, const T* sin, double sign, std::int64_t half, T* out) {
  for_each_vector<T>(half, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto first = load(d, x + i), second = load(d, x + half + i);
    const auto c = load(d, cos + i);
    const auto s = hn::Mul(load(d, sin + i), hn::Set(d, static_cast<Computed<T>>(sign)));
    store(d, hn::NegMulAdd(second, s, hn::Mul(first, c)), out + i);
    store(d, hn::MulAdd(first, s, hn::Mul(second, c)), out + half + i);
  });
}

void rotate_tokens(const detail::RotaryOperands& operands, std::int64_t begin, std::int64_t end) {
  const RotaryShape& shape = operands.shape;
  with_vector_type("rotate", shape.dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    for (std::int64_t token = begin; token < end; ++token) {
      const std::int64_t table = token % shape.table_rows * shape.head_dim;
      for (std::int64_t head = 0; head < shape.heads; ++head) {
        const std::int64_t at = (token * shape.heads + head) * shape.head_dim;
        rotate_head(static_cast<const T*>(operands.x) + at,
                    static_cast<const T*>(operands.cos) + table,
                    static_cast<const T*>(operands.sin) + table, operands.sign, shape.head_dim / 2,
                    static_cast<T*>(operands.out) + at);
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

HWY_EXPORT(rotate_tokens);

}  // namespace

void rotate(const RotaryShape& shape, const void* x, const void* cos, const void* sin, Turn turn,
            void* out) {
  SHIRA_CHECK(ShapeError, shape.head_dim % 2 == 0 && (shape.tokens == 0 || shape.table_rows > 0),
              "rotate: got head_dim ", shape.head_dim, " and ", shape.table_rows,
              " rows of the tables, expected an even head_dim and at least one row");
  const double sign = turn == Turn::kForward ? 1.0 : -1.0;
  const detail::RotaryOperands operands = {shape, x, cos, sin, sign, out};
  parallel_chunks(shape.tokens, grain_of(shape.heads * shape.head_dim),
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    HWY_DYNAMIC_DISPATCH(rotate_tokens)(operands, begin, end);
                  });
}

}  // namespace shira
#endif  // HWY_ONCE
