// Kernels that Highway compiles for several instruction sets are tested on each.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdint>

namespace shira {

/// Restricts Highway to one instruction set while it lives.
struct OnlyTarget {
  explicit OnlyTarget(std::int64_t target) { hwy::GetChosenTarget().Update(target); }
  ~OnlyTarget() { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

/// Calls body() once for each instruction set that this machine has; failures name it.
template <typename Body>
void on_every_target(const Body& body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const OnlyTarget only(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
}

}  // namespace shira
