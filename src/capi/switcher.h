// Owns what is applied to described weights: the twin of sparse/adapter_switcher.h without
// LibTorch.
#pragma once

#include "patch.h"

#include <shira/kernels/switch_lock.h>

#include <memory>
#include <vector>

namespace shira::capi {

class Switcher {
 public:
  explicit Switcher(BaseTensors tensors);
  Switcher(const Switcher&) = delete;
  Switcher& operator=(const Switcher&) = delete;

  Lease lease() { return Lease(lock_); }
  Patch resolve(const std::vector<ScaledAdapter>& adapters, bool force);
  void apply(const Patch& patch);
  void switch_to(const Patch& patch);
  void revert();
  bool is_applied();

 private:
  void switch_locked(std::shared_ptr<const PatchEntries> to);

  std::shared_ptr<const BaseTensors> tensors_;
  std::shared_ptr<const PatchEntries> none_ = std::make_shared<const PatchEntries>();
  std::shared_ptr<const PatchEntries> applied_ = none_;
  SwitchLock lock_;
};

}  // namespace shira::capi
