// Entries of a product against sums formed in double precision, on every instruction set that
// there is.
#include "io/expect_error.h"
#include "only_target.h"

#include <shira/base/error.h>
#include <shira/kernels/sampled_product.h>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace shira {
namespace {

std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

/// The upper halves, which are bfloat16, and the floats made to equal them.
std::vector<std::uint16_t> cut_to_bfloat16(std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (float& value : values) {
    halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U));
    value = std::bit_cast<float>(static_cast<std::uint32_t>(halves.back()) << 16U);
  }
  return halves;
}

struct Shape {
  std::int64_t tokens, rows, columns;
  double density;
};

std::vector<std::int32_t> random_indices(const Shape& shape) {
  std::mt19937 random(7);
  std::bernoulli_distribution chosen(shape.density);
  std::vector<std::int32_t> indices;
  for (std::int32_t i = 0; i < shape.rows * shape.columns; ++i) {
    if (chosen(random)) indices.push_back(i);
  }
  return indices;
}

void expect_sums(const Shape& shape, DType dtype) {
  std::vector<float> left = random_floats(shape.tokens * shape.rows, 1);
  std::vector<float> right = random_floats(shape.tokens * shape.columns, 2);
  const bool is_narrow = dtype == DType::kBF16;
  const auto left_halves = is_narrow ? cut_to_bfloat16(left) : std::vector<std::uint16_t>();
  const auto right_halves = is_narrow ? cut_to_bfloat16(right) : std::vector<std::uint16_t>();
  const void* left_data = is_narrow ? static_cast<const void*>(left_halves.data()) : left.data();
  const void* right_data = is_narrow ? static_cast<const void*>(right_halves.data()) : right.data();
  const std::vector<std::int32_t> indices = random_indices(shape);
  std::vector<float> got(indices.size(), NAN);
  sampled_product({left_data, dtype, shape.rows}, {right_data, dtype, shape.columns}, shape.tokens,
                  indices, got.data());
  for (std::size_t k = 0; k < indices.size(); ++k) {
    double expected = 0.0, magnitude = 0.0;
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      const double term = static_cast<double>(left[t * shape.rows + indices[k] / shape.columns]) *
                          right[t * shape.columns + indices[k] % shape.columns];
      expected += term;
      magnitude += std::abs(term);
    }
    ASSERT_NEAR(got[k], expected, 1e-6 * magnitude) << "entry " << k;
  }
}

TEST(SampledProduct, EqualsTheSumsOfItsDefinition) {
  const std::vector<Shape> shapes = {
      {1, 1, 1, 1.0},      {3, 5, 7, 1.0},        {4, 16, 16, 0.5},
      {63, 33, 65, 0.3},   {128, 40, 300, 0.1},   {129, 300, 40, 0.1},
      {300, 130, 19, 0.9}, {140, 20, 4100, 0.01}, {7, 3, 2050, 1.0}};
  on_every_target([&] {
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(testing::Message()
                   << shape.tokens << " tokens, " << shape.rows << " x " << shape.columns);
      expect_sums(shape, DType::kF32);
      expect_sums(shape, DType::kBF16);
    }
  });
}

TEST(SampledProduct, OfNoTokensIsZero) {
  const std::vector<std::int32_t> indices = {0, 3};
  std::vector<float> got(2, NAN);
  sampled_product({nullptr, DType::kF32, 2}, {nullptr, DType::kF32, 2}, 0, indices, got.data());
  EXPECT_EQ(got, std::vector<float>(2, 0.0F));
}

TEST(SampledProduct, RefusesWhatItCannotMultiply) {
  const std::vector<double> values(4);
  const std::vector<float> floats(4);
  std::vector<float> out(1);
  const auto call = [&](TokenMatrix left, std::vector<std::int32_t> indices) {
    sampled_product(left, {floats.data(), DType::kF32, 2}, 2, indices, out.data());
  };
  expect_error<ShapeError>([&] { call({values.data(), DType::kF64, 2}, {0}); }, {"dtype F64"});
  expect_error<ShapeError>([&] { call({floats.data(), DType::kF32, 2}, {4}); }, {"(2, 2)"});
  expect_error<ShapeError>([&] { call({floats.data(), DType::kF32, 2}, {-1}); }, {"(2, 2)"});
}

}  // namespace
}  // namespace shira
