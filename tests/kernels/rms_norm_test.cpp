// The norm of rows against its formula in double precision, on every instruction set that there is.
#include "float_array.h"
#include "io/expect_error.h"
#include "only_target.h"

#include <shira/base/error.h>
#include <shira/kernels/rms_norm.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

constexpr double kEps = 1e-5;

/// x, the weight and the result's gradient of one shape.
struct Operands {
  Operands(DType dtype, std::int64_t rows, std::int64_t width)
      : shape{dtype, rows, width},
        x(FloatArray::random(dtype, rows * width, 1)),
        weight(FloatArray::random(dtype, width, 2)),
        grad(FloatArray::random(dtype, rows * width, 3)) {}

  /// The same values in float32.
  Operands widened() const {
    Operands wide = *this;
    wide.shape.dtype = DType::kF32;
    wide.x = x.to(DType::kF32);
    wide.weight = weight.to(DType::kF32);
    wide.grad = grad.to(DType::kF32);
    return wide;
  }

  NormShape shape;
  FloatArray x, weight, grad;
};

FloatArray forward(const Operands& o) {
  auto out = FloatArray::unset(o.shape.dtype, o.shape.rows * o.shape.width);
  rms_norm(o.shape, o.x.data(), o.weight.data(), kEps, out.data());
  return out;
}

FloatArray backward(const Operands& o) {
  auto out = FloatArray::unset(o.shape.dtype, o.shape.rows * o.shape.width);
  rms_norm_backward(o.shape, o.grad.data(), o.x.data(), o.weight.data(), kEps, out.data());
  return out;
}

/// Of row `r`.
double scale_of(const Operands& o, std::int64_t r) {
  double squares = 0.0;
  for (std::int64_t i = 0; i < o.shape.width; ++i) {
    const double value = o.x[r * o.shape.width + i];
    squares += value * value;
  }
  return 1.0 / std::sqrt(squares / static_cast<double>(o.shape.width) + kEps);
}

/// Within `error`, relative, and `step`, absolute.
void expect_norms(const Operands& o, double error, double step = 0.0) {
  const FloatArray got = forward(o);
  for (std::int64_t r = 0; r < o.shape.rows; ++r) {
    const double scale = scale_of(o, r);
    for (std::int64_t i = 0; i < o.shape.width; ++i) {
      const std::size_t k = r * o.shape.width + i;
      const double expected = o.weight[i] * o.x[k] * scale;
      ASSERT_NEAR(got[k], expected, error * std::abs(expected) + step) << "row " << r << ", " << i;
    }
  }
}

void expect_norm_grads(const Operands& o, double error) {
  const FloatArray got = backward(o);
  const auto width = static_cast<double>(o.shape.width);
  for (std::int64_t r = 0; r < o.shape.rows; ++r) {
    const std::size_t begin = r * o.shape.width;
    double mean = 0.0, magnitude = 0.0;
    for (std::int64_t i = 0; i < o.shape.width; ++i) {
      const double product = o.grad[begin + i] * o.weight[i] * o.x[begin + i];
      mean += product / width;
      magnitude += std::abs(product) / width;
    }
    const double scale = scale_of(o, r);
    for (std::int64_t i = 0; i < o.shape.width; ++i) {
      const double direct = scale * o.weight[i] * o.grad[begin + i];
      const double pull = o.x[begin + i] * scale * scale * scale;
      ASSERT_NEAR(got[begin + i], direct - pull * mean,
                  error * (std::abs(direct) + std::abs(pull) * magnitude))
          << "row " << r << ", " << i;
    }
  }
}

/// A float32 norm rounded before the weight as after it.
void expect_bfloat16_is_rounded_float32(const Operands& o) {
  Operands wide = o.widened();
  const FloatArray weight = wide.weight;
  wide.weight = FloatArray(DType::kF32, std::vector<double>(weight.size(), 1.0));
  FloatArray expected = forward(wide);
  for (std::size_t k = 0; k < expected.size(); ++k) {
    const float normed = nearest_bfloat16(static_cast<float>(expected[k]));
    expected.set(k, static_cast<float>(weight[k % weight.size()]) * normed);
  }
  expect_rounded(forward(o), expected);
  expect_rounded(backward(o), backward(o.widened()));
}

TEST(RmsNormKernel, EqualsItsFormula) {
  on_every_target([] {
    for (const std::int64_t width : {1, 3, 17, 64, 1000}) {
      for (const std::int64_t rows : {0, 1, 35}) {
        SCOPED_TRACE(testing::Message() << rows << " rows of " << width);
        for (const DType dtype : {DType::kF32, DType::kF64}) {
          const Operands operands(dtype, rows, width);
          expect_norms(operands, 32 * unit_roundoff(dtype));
          expect_norm_grads(operands, 64 * unit_roundoff(dtype));
        }
        expect_bfloat16_is_rounded_float32({DType::kBF16, rows, width});
      }
    }
  });
}

TEST(RmsNormKernel, TakesDenormalAndLargeNumbers) {
  on_every_target([] {
    for (const double size : {1e-41, 1e-38, 1e-20, 1e15}) {
      SCOPED_TRACE(size);
      for (const DType dtype : {DType::kF32, DType::kF64}) {
        Operands operands(dtype, 2, 17);
        operands.x = FloatArray::random(dtype, 34, 4, size);
        // Half a step of the denormals is lost before the weight and after it.
        const double step = dtype == DType::kF32 ? std::numeric_limits<float>::denorm_min() : 0.0;
        expect_norms(operands, 32 * unit_roundoff(dtype), 2 * step);
      }
      Operands operands(DType::kBF16, 2, 17);
      operands.x = FloatArray::random(DType::kBF16, 34, 4, size);
      expect_bfloat16_is_rounded_float32(operands);
    }
  });
}

TEST(RmsNormKernel, ANanSpoilsItsOwnRowAlone) {
  on_every_target([] {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      for (const std::size_t place : {17, 30, 33}) {  // of three rows of 17, the second
        Operands operands(dtype, 3, 17);
        operands.x.set(place, NAN);
        const FloatArray norms = forward(operands), grads = backward(operands);
        for (std::size_t k = 0; k < norms.size(); ++k) {
          ASSERT_EQ(std::isnan(norms[k]), k / 17 == 1) << "element " << k;
          ASSERT_EQ(std::isnan(grads[k]), k / 17 == 1) << "element " << k;
        }
      }
    }
  });
}

TEST(RmsNormKernel, RefusesOtherDtypes) {
  const std::vector<std::uint16_t> halves(4);
  std::vector<std::uint16_t> out(4);
  const NormShape shape = {DType::kF16, 2, 2};
  expect_error<ShapeError>([&] { rms_norm(shape, halves.data(), halves.data(), kEps, out.data()); },
                           {"rms_norm", "F16", "expected F32, F64 or BF16"});
  expect_error<ShapeError>(
      [&] {
        rms_norm_backward(shape, halves.data(), halves.data(), halves.data(), kEps, out.data());
      },
      {"rms_norm", "F16"});
}

}  // namespace
}  // namespace shira
