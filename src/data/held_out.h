// Which samples are kept for validation.
#pragma once

#include <cstdint>
#include <vector>

namespace shira {

/// Marks `val_set_size` of `total` samples (below 1: that share, at least one; from 1: that many),
/// chosen by `seed`. ConfigError when nothing would be left to train on.
std::vector<bool> choose_held_out(std::int64_t total, double val_set_size, std::uint64_t seed);

}  // namespace shira
