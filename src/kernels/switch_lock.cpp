#include <shira/base/error.h>
#include <shira/kernels/switch_lock.h>

#include <algorithm>
#include <atomic>

namespace shira {

std::uint64_t SwitchLock::this_thread() {
  static std::atomic<std::uint64_t> threads = 0;
  thread_local const std::uint64_t number = ++threads;
  return number;
}

void SwitchLock::lock_shared() {
  const std::uint64_t thread = this_thread();
  std::unique_lock hold(mutex_);
  // A thread that holds a lease gets another at once: the waiting switch waits for it anyway.
  changed_.wait(hold,
                [&] { return !switching_ && (waiting_switches_ == 0 || holds_lease(thread)); });
  leases_.push_back(thread);
}

void SwitchLock::unlock_shared(std::uint64_t taker) {
  const std::lock_guard hold(mutex_);
  const auto lease = std::find(leases_.begin(), leases_.end(), taker);
  if (lease != leases_.end()) leases_.erase(lease);
  changed_.notify_all();
}

void SwitchLock::lock() {
  std::unique_lock hold(mutex_);
  SHIRA_CHECK(Error, !holds_lease(this_thread()),
              "this thread holds a lease on the weights that it is about to switch. Release "
              "the lease first.");
  ++waiting_switches_;
  changed_.wait(hold, [&] { return !switching_ && leases_.empty(); });
  --waiting_switches_;
  switching_ = true;
}

void SwitchLock::unlock() {
  const std::lock_guard hold(mutex_);
  switching_ = false;
  changed_.notify_all();
}

bool SwitchLock::holds_lease(std::uint64_t thread) const {
  return std::find(leases_.begin(), leases_.end(), thread) != leases_.end();
}

}  // namespace shira
