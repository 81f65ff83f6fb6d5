// silu(gate) * up against its formula in double precision, on every instruction set that there is.
#include "float_array.h"
#include "io/expect_error.h"
#include "only_target.h"

#include <shira/base/error.h>
#include <shira/kernels/silu_product.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

struct Operands {
  explicit Operands(DType dtype, std::int64_t count)
      : dtype(dtype),
        gate(FloatArray::random(dtype, count, 1, 3.0)),
        up(FloatArray::random(dtype, count, 2)),
        grad(FloatArray::random(dtype, count, 3)) {}

  Operands widened() const {
    Operands wide = *this;
    wide.dtype = DType::kF32;
    wide.gate = gate.to(DType::kF32);
    wide.up = up.to(DType::kF32);
    wide.grad = grad.to(DType::kF32);
    return wide;
  }
  std::int64_t count() const { return static_cast<std::int64_t>(gate.size()); }

  DType dtype;
  FloatArray gate, up, grad;
};

FloatArray forward(const Operands& o) {
  auto out = FloatArray::unset(o.dtype, o.count());
  silu_product(o.dtype, o.count(), o.gate.data(), o.up.data(), out.data());
  return out;
}

struct Grads {
  FloatArray gate, up;
};

Grads backward(const Operands& o) {
  Grads grads = {FloatArray::unset(o.dtype, o.count()), FloatArray::unset(o.dtype, o.count())};
  silu_product_backward(o.dtype, o.count(), o.grad.data(), o.gate.data(), o.up.data(),
                        grads.gate.data(), grads.up.data());
  return grads;
}

/// Expects s * factor, where s was rounded near 0 to a step of the denormals, and the factor's
/// terms are `size` at most.
void expect_near(double got, double s, double factor, double size, const Operands& o,
                 std::size_t k) {
  const double step = o.dtype == DType::kF64 ? std::numeric_limits<double>::denorm_min()
                                             : std::numeric_limits<float>::denorm_min();
  const double error = 16 * unit_roundoff(o.dtype) * s * size + 2 * step * (size + 1);
  ASSERT_NEAR(got, s * factor, error) << "gate " << o.gate[k] << ", up " << o.up[k];
}

void expect_products_and_grads(const Operands& o) {
  const FloatArray got = forward(o);
  const Grads grads = backward(o);
  for (std::size_t k = 0; k < got.size(); ++k) {
    const double x = o.gate[k], up = o.up[k], grad = o.grad[k];
    const double s = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
    expect_near(got[k], s, x * up, std::abs(x * up), o, k);
    expect_near(grads.up[k], s, x * grad, std::abs(x * grad), o, k);
    expect_near(grads.gate[k], s, grad * up * (1 + x * rest),
                std::abs(grad * up) * (1 + std::abs(x)), o, k);
    if (testing::Test::HasFatalFailure()) return;
  }
}

void expect_bfloat16_is_rounded_float32(const Operands& o) {
  const Operands wide = o.widened();
  expect_rounded(forward(o), forward(wide));
  const Grads got = backward(o), expected = backward(wide);
  expect_rounded(got.gate, expected.gate);
  expect_rounded(got.up, expected.up);
}

TEST(SiluProductKernel, EqualsItsFormula) {
  on_every_target([] {
    for (const std::int64_t count : {0, 1, 3, 17, 64, 1000, 16384 + 5}) {
      SCOPED_TRACE(count);
      expect_products_and_grads(Operands(DType::kF32, count));
      expect_products_and_grads(Operands(DType::kF64, count));
      expect_bfloat16_is_rounded_float32(Operands(DType::kBF16, count));
    }
  });
}

/// As many of each gate as there are in a vector, and some behind it.
Operands with_gates(DType dtype, const std::vector<double>& gates) {
  Operands operands(dtype, static_cast<std::int64_t>(gates.size()) * 17);
  for (std::size_t k = 0; k < operands.gate.size(); ++k) {
    operands.gate.set(k, gates[k % gates.size()]);
  }
  return operands;
}

TEST(SiluProductKernel, TakesGatesOfEverySize) {
  const std::vector<double> gates = {0.0,    -0.0,  1e-41,  -1e-41, 1e-20,  20.0,  -20.0,  80.0,
                                     -80.0,  88.5,  -88.5,  100.0,  -100.0, 104.5, -104.5, 150.0,
                                     -150.0, 200.0, -200.0, 1e4,    -1e4,   1e30,  -1e30};
  on_every_target([&] {
    expect_products_and_grads(with_gates(DType::kF32, gates));
    expect_products_and_grads(with_gates(DType::kF64, gates));
    expect_bfloat16_is_rounded_float32(with_gates(DType::kBF16, gates));
  });
}

TEST(SiluProductKernel, OfBfloat16DoesNotLeaveItsLimits) {
  // silu lies between -0.2785 and max(gate, 0).
  on_every_target([] {
    Operands operands = with_gates(DType::kBF16, {-3e38, -1e4, -300, -200, -110, -90, 90, 1e4});
    for (std::size_t k = 0; k < operands.up.size(); ++k) operands.up.set(k, 1.0);
    const FloatArray got = forward(operands);
    for (std::size_t k = 0; k < got.size(); ++k) {
      ASSERT_GE(got[k], -0.279) << "gate " << operands.gate[k];
      ASSERT_LE(got[k], std::max(operands.gate[k], 0.0)) << "gate " << operands.gate[k];
    }
  });
}

TEST(SiluProductKernel, PassesNanOn) {
  on_every_target([] {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      Operands operands(dtype, 40);
      for (const std::size_t k : {5, 39}) operands.gate.set(k, NAN);
      operands.up.set(7, NAN);
      const FloatArray got = forward(operands);
      const Grads grads = backward(operands);
      for (std::size_t k = 0; k < got.size(); ++k) {
        const bool is_gate_nan = k == 5 || k == 39;
        ASSERT_EQ(std::isnan(got[k]), is_gate_nan || k == 7) << "element " << k;
        ASSERT_EQ(std::isnan(grads.gate[k]), is_gate_nan || k == 7) << "element " << k;
        ASSERT_EQ(std::isnan(grads.up[k]), is_gate_nan) << "element " << k;
      }
    }
  });
}

TEST(SiluProductKernel, RefusesOtherDtypes) {
  std::vector<std::uint16_t> halves(4);
  void* data = halves.data();
  expect_error<ShapeError>([&] { silu_product(DType::kF16, 4, data, data, data); },
                           {"silu_product", "F16", "expected F32, F64 or BF16"});
  expect_error<ShapeError>(
      [&] { silu_product_backward(DType::kF16, 4, data, data, data, data, data); },
      {"silu_product_backward", "F16"});
}

}  // namespace
}  // namespace shira
