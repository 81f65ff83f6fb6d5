// Who waits for whom: switches are exclusive and come before new leases, leases are shared.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/switch_lock.h>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace shira {
namespace {

using namespace std::chrono_literals;

/// Long enough for another thread to get stuck, short against a test.
constexpr auto kMoment = 50ms;

bool is_done(const std::future<void>& future, std::chrono::milliseconds within) {
  return future.wait_for(within) == std::future_status::ready;
}

std::future<void> switch_on_another_thread(SwitchLock& lock) {
  return std::async(std::launch::async, [&lock] { const std::lock_guard switching(lock); });
}

TEST(SwitchLock, ASwitchWaitsForTheLeasesUnderWay) {
  SwitchLock lock;
  std::optional<Lease> lease(std::in_place, lock);
  const auto switched = switch_on_another_thread(lock);
  EXPECT_FALSE(is_done(switched, kMoment));
  lease.reset();
  EXPECT_TRUE(is_done(switched, 10s));
}

TEST(SwitchLock, LeasesAreShared) {
  SwitchLock lock;
  const Lease lease(lock);
  const auto other = std::async(std::launch::async, [&lock] { const Lease second(lock); });
  EXPECT_TRUE(is_done(other, 10s));
}

TEST(SwitchLock, NewLeasesWaitForASwitchThatWaits) {
  SwitchLock lock;
  std::optional<Lease> lease(std::in_place, lock);
  std::atomic<bool> has_switched = false;
  const auto switched = std::async(std::launch::async, [&] {
    const std::lock_guard switching(lock);
    has_switched = true;
  });
  ASSERT_FALSE(is_done(switched, kMoment));
  const auto reader = std::async(std::launch::async, [&] {
    const Lease late(lock);
    EXPECT_TRUE(has_switched) << "the reader came first";
  });
  EXPECT_FALSE(is_done(reader, kMoment));
  lease.reset();
  EXPECT_TRUE(is_done(switched, 10s));
  EXPECT_TRUE(is_done(reader, 10s));
}

/// With a lock that lets readers in whenever others read, no switch would ever happen here: one of
/// the readers always holds a lease.
TEST(SwitchLock, SwitchesHappenUnderConstantReaders) {
  SwitchLock lock;
  std::atomic<bool> is_over = false;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      while (!is_over) {
        const Lease lease(lock);
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const auto switched = switch_on_another_thread(lock);
    ASSERT_TRUE(is_done(switched, 10s)) << "switch " << i;
  }
  is_over = true;
}

TEST(SwitchLock, SwitchingUnderOnesOwnLeaseIsAnErrorNotADeadlock) {
  SwitchLock lock;
  {
    const Lease lease(lock);
    expect_error<Error>([&] { lock.lock(); }, {"holds a lease"});
  }
  const std::lock_guard switching(lock);  // the refused one left nothing behind
}

TEST(SwitchLock, AThreadThatHoldsALeaseGetsAnotherThoughASwitchWaits) {
  SwitchLock lock;
  std::optional<Lease> outer(std::in_place, lock);
  const auto switched = switch_on_another_thread(lock);
  ASSERT_FALSE(is_done(switched, kMoment));
  {
    const Lease inner(lock);
  }
  EXPECT_FALSE(is_done(switched, kMoment)) << "the outer lease is still there";
  outer.reset();
  EXPECT_TRUE(is_done(switched, 10s));
}

/// A lease taken here and given back elsewhere was this thread's: switching works afterwards.
TEST(SwitchLock, ALeaseMayEndOnAnotherThread) {
  SwitchLock lock;
  Lease kept(lock);
  {
    Lease lease(lock);
    std::jthread([moved = std::move(lease)] {}).join();
  }  // what is left of it gives nothing back
  expect_error<Error>([&] { lock.lock(); }, {"holds a lease"});  // `kept`
  std::jthread([moved = std::move(kept)] {}).join();
  const std::lock_guard switching(lock);
}

TEST(SwitchLock, SwitchesAreExclusive) {
  SwitchLock lock;
  int inside = 0;
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        const std::lock_guard switching(lock);
        EXPECT_EQ(++inside, 1);
        --inside;
      }
    });
  }
}

}  // namespace
}  // namespace shira
