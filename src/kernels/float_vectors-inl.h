// Vectors of float or double over arrays of F32, BF16 or F64, for kernels that Highway compiles
// once for each instruction set (its name for such headers: included again for each).
#if defined(SHIRA_KERNELS_FLOAT_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_KERNELS_FLOAT_VECTORS_INL_H
#undef SHIRA_KERNELS_FLOAT_VECTORS_INL_H
#else
#define SHIRA_KERNELS_FLOAT_VECTORS_INL_H
#endif

#include <shira/base/dtype.h>
#include <shira/base/error.h>

#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;
#if HWY_TARGET != HWY_SCALAR
using FloatPairs = hn::Repartition<double, Floats>;  // to move two floats as one
#endif

/// What is computed in: float for bfloat16, otherwise the type itself.
template <typename T>
using Computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Items of type T as what is computed in, one a lane.
template <class D, typename T>
HWY_INLINE hn::Vec<D> load(D d, const T* from) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    return hn::LoadU(d, from);
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), from));
  }
}

/// To nearest bfloat16, ties to even, still as float. (Highway's own conversion cuts off or rounds,
/// by version; of what this gives, both make the same.)
template <class D>
HWY_INLINE hn::Vec<D> round_to_bfloat16(D d, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> bits_of;
  const auto bits = hn::BitCast(bits_of, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(bits_of, 1U));
  const auto up = hn::Add(bits, hn::Add(hn::Set(bits_of, 0x7FFFU), odd));
  const auto quiet = hn::Or(bits, hn::Set(bits_of, 0x400000U));
  const auto chosen = hn::IfThenElse(hn::RebindMask(bits_of, hn::IsNaN(value)), quiet, up);
  return hn::BitCast(d, hn::And(chosen, hn::Set(bits_of, 0xFFFF0000U)));
}

/// `value` with the precision of T.
template <typename T, class D>
HWY_INLINE hn::Vec<D> rounded_as(D d, hn::Vec<D> value) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    return value;
  } else {
    return round_to_bfloat16(d, value);
  }
}

template <class D, typename T>
HWY_INLINE void store(D d, hn::Vec<D> value, T* to) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    hn::StoreU(value, d, to);
  } else {
    const hn::Rebind<T, D> narrow;
    hn::StoreU(hn::DemoteTo(narrow, round_to_bfloat16(d, value)), narrow, to);
  }
}

/// Calls body(d, i) for [0, count): with whole vectors, then with one lane an item.
template <typename T, class Body>
HWY_INLINE void for_each_vector(std::int64_t count, const Body& body) {
  const hn::ScalableTag<Computed<T>> d;
  const hn::CappedTag<Computed<T>, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  for (; i < count; ++i) body(one, i);
}

/// The sum over [0, count) of terms(d, i), a vector of terms from i on.
template <typename T, class Terms>
HWY_INLINE Computed<T> sum_vectors(std::int64_t count, const Terms& terms) {
  const hn::ScalableTag<Computed<T>> d;
  const hn::CappedTag<Computed<T>, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sums = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) sums = hn::Add(sums, terms(d, i));
  Computed<T> sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < count; ++i) sum += hn::GetLane(terms(one, i));
  return sum;
}

/// Calls run(T()) with the type of `dtype`.
template <class Run>
void with_vector_type(const char* function, DType dtype, const Run& run) {
  switch (dtype) {
    case DType::kF32: return run(float());
    case DType::kF64: return run(double());
    case DType::kBF16: return run(hwy::bfloat16_t());
    default:
      throw ShapeError(detail::concat(function, ": got dtype ", dtype_name(dtype),
                                      ", expected F32, F64 or BF16"));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace shira
HWY_AFTER_NAMESPACE();

#endif
