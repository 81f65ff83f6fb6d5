// Every dtype's NaN and infinity, wherever they stand.
#include <shira/kernels/finite.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace shira {
namespace {

template <typename Bits>
void expect_found(DType dtype, Bits largest, Bits infinity, Bits nan) {
  for (const std::size_t place : {0, 1, 4095, 4096, 9999}) {
    for (const Bits bad : {infinity, nan, static_cast<Bits>(infinity | (nan ^ infinity))}) {
      std::vector<Bits> values(10'000, largest);
      EXPECT_EQ(first_not_finite(values.data(), dtype, 10'000), -1);
      values[place] = bad;
      values.back() = bad;
      EXPECT_EQ(first_not_finite(values.data(), dtype, 10'000), static_cast<std::int64_t>(place));
    }
  }
}

TEST(FirstNotFinite, FindsTheFirstOfEveryDtype) {
  expect_found<std::uint16_t>(DType::kBF16, 0xFF7F, 0xFF80, 0x7FC0);
  expect_found<std::uint16_t>(DType::kF16, 0x7BFF, 0x7C00, 0xFE00);
  expect_found<std::uint32_t>(DType::kF32, 0x7F7FFFFF, 0xFF800000, 0x7F800001);
  expect_found<std::uint64_t>(DType::kF64, 0xFFEFFFFFFFFFFFFF, 0x7FF0000000000000,
                              0x7FF8000000000000);
}

TEST(FirstNotFinite, WholeNumbersAreFinite) {
  const std::vector<std::int64_t> values{-1, 0x7FF0000000000000};
  EXPECT_EQ(first_not_finite(values.data(), DType::kI64, 2), -1);
  EXPECT_EQ(first_not_finite(nullptr, DType::kF32, 0), -1);
}

}  // namespace
}  // namespace shira
