#include "held_out.h"

#include <shira/base/error.h>
#include <shira/kernels/philox.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

std::int64_t count_held_out(double val_set_size, std::int64_t total) {
  if (val_set_size <= 0.0) return 0;
  const auto samples = static_cast<double>(total);
  if (val_set_size >= 1.0) return static_cast<std::int64_t>(std::min(val_set_size, samples));
  return std::max<std::int64_t>(1, std::llround(val_set_size * samples));
}

}  // namespace

std::vector<bool> choose_held_out(std::int64_t total, double val_set_size, std::uint64_t seed) {
  const std::int64_t held_out = count_held_out(val_set_size, total);
  SHIRA_CHECK(ConfigError, held_out < total, "val_set_size ", val_set_size, " takes ", held_out,
              " of ", total, " samples: none is left to train on.");
  PhiloxStream stream(seed, "validation split");
  const auto order = random_permutation(stream, total);
  std::vector<bool> is_held_out(static_cast<std::size_t>(total));
  for (std::int64_t i = 0; i < held_out; ++i) is_held_out[order[i]] = true;
  return is_held_out;
}

}  // namespace shira
