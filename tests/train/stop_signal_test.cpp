// Signals are raised in this process; those that end it, in a death test's child.
#include <shira/base/error.h>
#include <shira/train/stop_signal.h>

#include <gtest/gtest.h>

#include <csignal>

namespace shira {
namespace {

volatile std::sig_atomic_t outer_handler_calls = 0;
void count_call(int) { outer_handler_calls = outer_handler_calls + 1; }

class StopSignalOf : public ::testing::TestWithParam<int> {};

TEST_P(StopSignalOf, FirstSignalIsOnlyNoted) {
  const StopSignal stop;
  EXPECT_EQ(stop.requested(), 0);
  std::raise(GetParam());
  EXPECT_EQ(stop.requested(), GetParam());
}

TEST_P(StopSignalOf, SecondSignalOfTheKindEndsTheProcess) {
  const auto raise_twice = [] {
    const StopSignal stop;
    std::raise(GetParam());
    std::raise(GetParam());
  };
  EXPECT_EXIT(raise_twice(), ::testing::KilledBySignal(GetParam()), "");
}

TEST_P(StopSignalOf, DestructorRestoresTheOldHandler) {
  const auto before = std::signal(GetParam(), count_call);
  outer_handler_calls = 0;
  {
    const StopSignal stop;
    std::raise(GetParam());
    EXPECT_EQ(outer_handler_calls, 0);
  }
  std::raise(GetParam());
  EXPECT_EQ(outer_handler_calls, 1);
  std::signal(GetParam(), before);
}

INSTANTIATE_TEST_SUITE_P(Both, StopSignalOf, ::testing::Values(SIGINT, SIGTERM));

TEST(StopSignal, TheFirstOfTwoKindsCounts) {
  const StopSignal stop;
  std::raise(SIGTERM);
  std::raise(SIGINT);
  EXPECT_EQ(stop.requested(), SIGTERM);
}

TEST(StopSignal, ANewOneStartsWithoutARequest) {
  {
    const StopSignal stop;
    std::raise(SIGINT);
  }
  EXPECT_EQ(StopSignal().requested(), 0);
}

TEST(StopSignal, ASecondOneBesideALivingOneIsAnError) {
  const StopSignal stop;
  EXPECT_THROW(StopSignal(), Error);
}

}  // namespace
}  // namespace shira
