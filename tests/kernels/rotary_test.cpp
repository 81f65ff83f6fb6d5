// Rotated heads against the turning of pairs in double precision, on every instruction set that
// there is; and through them, how a bfloat16 result is rounded.
#include "float_array.h"
#include "io/expect_error.h"
#include "only_target.h"

#include <shira/base/error.h>
#include <shira/kernels/rotary.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

struct Operands {
  Operands(DType dtype, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
           std::int64_t table_rows)
      : shape{dtype, tokens, heads, head_dim, table_rows},
        x(FloatArray::random(dtype, tokens * heads * head_dim, 1)),
        cos(FloatArray::random(dtype, table_rows * head_dim, 2)),
        sin(FloatArray::random(dtype, table_rows * head_dim, 3)) {}

  Operands widened() const {
    Operands wide = *this;
    wide.shape.dtype = DType::kF32;
    wide.x = x.to(DType::kF32);
    wide.cos = cos.to(DType::kF32);
    wide.sin = sin.to(DType::kF32);
    return wide;
  }

  RotaryShape shape;
  FloatArray x, cos, sin;
};

FloatArray rotated(const Operands& o, Turn turn) {
  auto out = FloatArray::unset(o.shape.dtype, static_cast<std::int64_t>(o.x.size()));
  rotate(o.shape, o.x.data(), o.cos.data(), o.sin.data(), turn, out.data());
  return out;
}

void expect_turned(const Operands& o, Turn turn) {
  const FloatArray got = rotated(o, turn);
  const std::size_t head_dim = o.shape.head_dim, half = head_dim / 2;
  for (std::size_t head = 0; head < got.size() / head_dim; ++head) {
    const std::size_t table = head / o.shape.heads % o.shape.table_rows * head_dim;
    for (std::size_t i = 0; i < half; ++i) {
      const std::size_t at = head * head_dim + i;
      const double c = o.cos[table + i];
      const double s = turn == Turn::kForward ? o.sin[table + i] : -o.sin[table + i];
      const double first = o.x[at], second = o.x[at + half];
      const double error = 4 * unit_roundoff(o.shape.dtype) * (std::abs(first) + std::abs(second)) *
                           (std::abs(c) + std::abs(s));
      ASSERT_NEAR(got[at], first * c - second * s, error) << "head " << head << ", pair " << i;
      ASSERT_NEAR(got[at + half], second * c + first * s, error);
    }
  }
}

TEST(RotaryKernel, TurnsEveryPairByItsTokensAngle) {
  on_every_target([] {
    for (const std::int64_t head_dim : {2, 6, 34, 128, 1000}) {
      for (const std::int64_t tokens : {0, 1, 35}) {
        for (const std::int64_t table_rows : {1, 7, 35}) {
          SCOPED_TRACE(testing::Message() << tokens << " tokens, head_dim " << head_dim << ", "
                                          << table_rows << " rows of the tables");
          for (const Turn turn : {Turn::kForward, Turn::kBack}) {
            expect_turned({DType::kF32, tokens, 3, head_dim, table_rows}, turn);
            expect_turned({DType::kF64, tokens, 3, head_dim, table_rows}, turn);
            const Operands narrow(DType::kBF16, tokens, 3, head_dim, table_rows);
            expect_rounded(rotated(narrow, turn), rotated(narrow.widened(), turn));
          }
        }
      }
    }
  });
}

TEST(RotaryKernel, InPlaceGivesTheSame) {
  on_every_target([] {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      Operands o(dtype, 5, 2, 42, 5);
      const FloatArray expected = rotated(o, Turn::kForward);
      rotate(o.shape, o.x.data(), o.cos.data(), o.sin.data(), Turn::kForward, o.x.data());
      for (std::size_t k = 0; k < o.x.size(); ++k) ASSERT_EQ(o.x[k], expected[k]);
    }
  });
}

/// first * 1 + little * 1, a sum that float32 holds exactly, as a bfloat16; both as vectors and as
/// the single lanes behind them.
void expect_sum(double first, double little, double expected) {
  constexpr std::int64_t kPairs = 19;
  Operands o(DType::kBF16, 1, 1, 2 * kPairs, 1);
  for (std::size_t i = 0; i < kPairs; ++i) {
    o.x.set(i, first);
    o.x.set(kPairs + i, little);
    o.cos.set(i, 1.0);
    o.sin.set(i, -1.0);
  }
  const FloatArray got = rotated(o, Turn::kForward);
  for (std::size_t i = 0; i < kPairs; ++i) {
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got[i])) << "pair " << i << ": " << got[i];
    } else {
      EXPECT_EQ(got[i], expected) << "pair " << i;
    }
  }
}

TEST(RotaryKernel, RoundsToTheNearestBfloat16AndTiesToEven) {
  const double step = std::ldexp(1.0, -7);  // from 1 to the next one
  const double largest = 2 * (1 - std::ldexp(1.0, -8)) * std::ldexp(1.0, 127);
  const double denormal = std::ldexp(1.0, -133);  // the smallest
  on_every_target([&] {
    expect_sum(1, step / 2, 1);
    expect_sum(1 + step, step / 2, 1 + 2 * step);
    expect_sum(1, step / 2 + step / 256, 1 + step);
    expect_sum(1 + step, step / 2 - step / 256, 1 + step);
    expect_sum(-1, -step / 2, -1);
    expect_sum(-1 - step, -step / 2, -1 - 2 * step);
    expect_sum(2 - step, step / 2, 2);  // into the next binade
    expect_sum(3 * denormal, 4 * denormal, 7 * denormal);
    expect_sum(largest, std::ldexp(1.0, 118), largest);
    expect_sum(largest, std::ldexp(1.0, 119), INFINITY);
    expect_sum(-largest, -std::ldexp(1.0, 119), -INFINITY);
    expect_sum(INFINITY, 1, INFINITY);
    expect_sum(INFINITY, -INFINITY, NAN);
    expect_sum(NAN, 1, NAN);
  });
}

TEST(RotaryKernel, RefusesWhatItCannotTurn) {
  const std::vector<float> values(12);
  std::vector<float> out(12);
  const auto call = [&](const RotaryShape& shape) {
    rotate(shape, values.data(), values.data(), values.data(), Turn::kForward, out.data());
  };
  expect_error<ShapeError>([&] { call({DType::kF16, 1, 1, 4, 1}); }, {"rotate", "F16"});
  expect_error<ShapeError>([&] { call({DType::kF32, 1, 1, 3, 1}); }, {"rotate", "head_dim 3"});
  expect_error<ShapeError>([&] { call({DType::kF32, 1, 1, 4, 0}); }, {"rotate", "0 rows"});
}

}  // namespace
}  // namespace shira
