// Who may use a model's weights while others switch them: any number of threads that compute, or
// one that switches.
#pragma once

#include <shira/base/export.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace shira {

/// A shared lock that prefers the writer: once a switch waits, new leases wait for it, so that it
/// is done as soon as the computations under way are, however many come after them. (A
/// std::shared_mutex promises no such thing, and glibc's lets writers starve.)
class SHIRA_API SwitchLock {
 public:
  /// A lease: the weights stay as they are until unlock_shared. A thread may take several.
  void lock_shared();
  /// Gives back one lease that the thread `taker` took.
  void unlock_shared(std::uint64_t taker = this_thread());

  /// Waits for all leases and for other switches. Error when this thread holds a lease, which it
  /// would wait for forever.
  void lock();
  void unlock();

 private:
  friend class Lease;
  /// A number of this thread alone, unlike a std::thread::id, which another thread gets later.
  static std::uint64_t this_thread();
  bool holds_lease(std::uint64_t thread) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> leases_;  // who holds them
  int waiting_switches_ = 0;
  bool switching_ = false;
};

/// Holds a lease of `lock` until it goes out of scope, on whichever thread that is.
class SHIRA_API Lease {
 public:
  explicit Lease(SwitchLock& lock) : lock_(&lock) { lock.lock_shared(); }
  ~Lease() {
    if (lock_ != nullptr) lock_->unlock_shared(taker_);
  }
  Lease(Lease&& other) noexcept
      : lock_(std::exchange(other.lock_, nullptr)), taker_(other.taker_) {}
  Lease& operator=(Lease&&) = delete;

 private:
  SwitchLock* lock_;
  std::uint64_t taker_ = SwitchLock::this_thread();
};

}  // namespace shira
