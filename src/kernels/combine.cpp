// Every position walks through the contributions once; a position's place in each is found by
// walking along, so that parts of the union can be formed independently.
#include "float_items.h"

#include <shira/kernels/combine.h>
#include <shira/kernels/finite.h>
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <iterator>
#include <type_traits>

namespace shira {
namespace {

using detail::load_item;
using detail::store_item;

constexpr std::int64_t kCombineGrain = 16384;

double load_double(const Contribution& from, std::size_t k) {
  double value = 0.0;
  detail::with_float_type("combine", from.dtype, [&](auto type) {
    value = static_cast<double>(load_item<decltype(type)>(from.values, k));
  });
  return value;
}

/// PEFT's merge: the base in float32 (float64 for a float64 base) and the scaled delta in the same.
template <typename T>
T add_delta(T base, double delta, double scale) {
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  return static_cast<T>(static_cast<Wide>(base) +
                        static_cast<Wide>(delta) * static_cast<Wide>(scale));
}

/// A position's sum as it goes through the contributions.
template <typename T>
class Sum {
 public:
  Sum(T base, DType dtype) : base_(base), dtype_(dtype), sum_(static_cast<double>(base)) {}

  void add(const Contribution& from, std::size_t k) {
    const double value = load_double(from, k);
    if (from.is_delta) {
      only_ = add_delta(base_, value, from.scale);
    } else {  // a NaN would lose bits on the way through double
      only_ = from.dtype == dtype_ ? load_item<T>(from.values, k) : static_cast<T>(value);
    }
    has_only_ = count_++ == 0 && (from.is_delta || from.is_copy());
    sum_ += (from.is_delta ? value : value - static_cast<double>(base_)) * from.scale;
  }

  T result() const {
    if (count_ == 0) return base_;
    return has_only_ ? only_ : static_cast<T>(sum_);
  }

 private:
  T base_;
  DType dtype_;  // T's
  double sum_;
  T only_{};  // the result if nothing else acts here
  bool has_only_ = false;
  int count_ = 0;
};

/// Where each contribution's first index of at least `index` stands.
std::vector<std::size_t> positions_at(std::span<const Contribution> contributions,
                                      std::int32_t index) {
  std::vector<std::size_t> positions;
  for (const Contribution& one : contributions) {
    const auto found = std::lower_bound(one.indices.begin(), one.indices.end(), index);
    positions.push_back(static_cast<std::size_t>(found - one.indices.begin()));
  }
  return positions;
}

template <typename T>
void combine_part(std::span<const std::int32_t> indices, const void* base, DType dtype,
                  std::span<const Contribution> contributions, std::size_t begin, std::size_t end,
                  void* out) {
  std::vector<std::size_t> positions = positions_at(contributions, indices[begin]);
  for (std::size_t k = begin; k < end; ++k) {
    Sum<T> sum(load_item<T>(base, k), dtype);
    for (std::size_t i = 0; i < contributions.size(); ++i) {
      const Contribution& one = contributions[i];
      std::size_t& at = positions[i];
      if (at < one.indices.size() && one.indices[at] == indices[k]) sum.add(one, at++);
    }
    store_item<T>(out, k, sum.result());
  }
}

}  // namespace

std::vector<std::int32_t> union_of_indices(std::span<const Contribution> contributions) {
  std::vector<std::int32_t> all;
  for (const Contribution& one : contributions) {
    std::vector<std::int32_t> both;
    both.reserve(all.size() + one.indices.size());
    std::set_union(all.begin(), all.end(), one.indices.begin(), one.indices.end(),
                   std::back_inserter(both));
    all = std::move(both);
  }
  return all;
}

void combine(std::span<const std::int32_t> indices, const void* base, DType dtype,
             std::span<const Contribution> contributions, void* out) {
  detail::with_float_type("combine", dtype, [&](auto type) {
    parallel_chunks(std::ssize(indices), kCombineGrain,
                    [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                      combine_part<decltype(type)>(indices, base, dtype, contributions,
                                                   static_cast<std::size_t>(begin),
                                                   static_cast<std::size_t>(end), out);
                    });
  });
}

void check_sum(std::string_view name, const void* base, const void* sum, DType dtype,
               std::int64_t count) {
  const bool overflows =
      first_not_finite(sum, dtype, count) >= 0 && first_not_finite(base, dtype, count) < 0;
  SHIRA_CHECK(ShapeError, !overflows, name, name.empty() ? "" : ": ", "the sums overflow ",
              dtype_name(dtype), ". Choose smaller scales.");
}

}  // namespace shira
