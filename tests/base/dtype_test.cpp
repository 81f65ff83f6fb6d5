#include <shira/base/dtype.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

TEST(DType, AWiderFloatHoldsWhatANarrowerOneWas) {
  for (const DType narrow : {DType::kF32, DType::kBF16, DType::kF16}) {
    EXPECT_TRUE(holds_exactly(DType::kF64, narrow));
    EXPECT_FALSE(holds_exactly(narrow, DType::kF64));
  }
  for (const DType narrow : {DType::kBF16, DType::kF16}) {
    EXPECT_TRUE(holds_exactly(DType::kF32, narrow));
    EXPECT_FALSE(holds_exactly(narrow, DType::kF32));
  }
}

TEST(DType, BF16AndF16HoldEachOthersValuesNot) {
  EXPECT_FALSE(holds_exactly(DType::kBF16, DType::kF16));  // 1 + 2^-10
  EXPECT_FALSE(holds_exactly(DType::kF16, DType::kBF16));  // 2^100
}

TEST(DType, WhatIsOnlyCopiedHoldsItselfAlone) {
  for (const DType dtype : {DType::kI8, DType::kF8E4M3, DType::kF8E5M2, DType::kI64}) {
    EXPECT_FALSE(is_weight_dtype(dtype));
    EXPECT_TRUE(holds_exactly(dtype, dtype));
    EXPECT_FALSE(holds_exactly(DType::kF64, dtype));
    EXPECT_FALSE(holds_exactly(dtype, DType::kF16));
  }
}

}  // namespace
}  // namespace shira
