// An allocation that fails must leave by an exception: sentencepiece had overwritten the flag of
// LibTorch that says so (src/text/sentencepiece_backend.cpp).
#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <gtest/gtest.h>

namespace {

TEST(Allocation, ThatFailsIsAnException) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer ends the process where an allocation fails";
#endif
  EXPECT_THROW(at::empty({std::int64_t{1} << 60}, at::kByte), c10::Error);
}

}  // namespace
