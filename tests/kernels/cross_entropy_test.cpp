// Losses and gradients of rows of logits against their formulas in double precision, on every
// instruction set that there is.
#include "float_array.h"
#include "io/expect_error.h"
#include "only_target.h"

#include <shira/base/error.h>
#include <shira/kernels/cross_entropy.h>

#include <gtest/gtest.h>

#include <algorithm>

namespace shira {
namespace {

struct Operands {
  Operands(DType dtype, std::int64_t rows, std::int64_t classes, double scale = 3.0)
      : shape{dtype, rows, classes}, logits(FloatArray::random(dtype, rows * classes, 1, scale)) {
    for (std::int64_t r = 0; r < rows; ++r) labels.push_back((r * 7 + classes - 1) % classes);
  }
  /// One row.
  Operands(DType dtype, const std::vector<double>& row, std::int64_t label)
      : shape{dtype, 1, static_cast<std::int64_t>(row.size())}, logits(dtype, row), labels{label} {}

  Operands widened() const {
    Operands wide = *this;
    wide.shape.dtype = DType::kF32;
    wide.logits = logits.to(DType::kF32);
    return wide;
  }

  LogitsShape shape;
  FloatArray logits;
  std::vector<std::int64_t> labels;
};

struct Result {
  std::vector<double> losses;
  FloatArray grads;
};

/// By cross_entropy_to_grad; cross_entropy has to give the same losses.
Result computed(const Operands& o) {
  Result result = {std::vector<double>(o.labels.size(), NAN), o.logits};
  cross_entropy_to_grad(o.shape, result.grads.data(), o.labels.data(), result.losses.data());
  std::vector<double> losses(o.labels.size(), NAN);
  cross_entropy(o.shape, o.logits.data(), o.labels.data(), losses.data());
  for (std::size_t r = 0; r < losses.size(); ++r) {
    const bool are_nan = std::isnan(losses[r]) && std::isnan(result.losses[r]);
    EXPECT_TRUE(are_nan || losses[r] == result.losses[r]) << "row " << r << ": " << losses[r];
  }
  return result;
}

/// Against softmax by the differences from the largest logit, whose rounding becomes a relative
/// error of the exponentials.
void expect_losses_and_grads(const Operands& o) {
  const Result got = computed(o);
  const double unit = unit_roundoff(o.shape.dtype);
  const std::size_t classes = o.shape.classes;
  for (std::size_t r = 0; r < o.labels.size(); ++r) {
    const std::size_t begin = r * classes, label = begin + o.labels[r];
    double largest = -INFINITY;
    long double sum = 0.0;
    for (std::size_t k = begin; k < begin + classes; ++k) largest = std::max(largest, o.logits[k]);
    for (std::size_t k = begin; k < begin + classes; ++k)
      sum += std::exp(o.logits[k] - static_cast<long double>(largest));
    const double loss = static_cast<double>(std::log(sum)) + (largest - o.logits[label]);
    const bool is_exact = got.losses[r] == loss;  // infinite ones too
    ASSERT_TRUE(is_exact || std::abs(got.losses[r] - loss) <= unit * (64 + 2 * loss))
        << "row " << r << ": got " << got.losses[r] << ", expected " << loss;
    for (std::size_t k = begin; k < begin + classes; ++k) {
      const double below = o.logits[k] - largest;
      const auto share = static_cast<double>(std::exp(static_cast<long double>(below)) / sum);
      const double relative = unit * (64 + 4 * std::abs(std::max(below, -800.0)));
      ASSERT_NEAR(got.grads[k], k == label ? share - 1 : share,
                  relative * share + (k == label ? unit : 0) + std::ldexp(1.0, -149))
          << "row " << r << ", class " << k - begin;
    }
  }
}

void expect_bfloat16_is_rounded_float32(const Operands& o) {
  const Result got = computed(o), wide = computed(o.widened());
  for (std::size_t r = 0; r < o.labels.size(); ++r) ASSERT_EQ(got.losses[r], wide.losses[r]);
  expect_rounded(got.grads, wide.grads);
}

TEST(CrossEntropyKernel, EqualsItsFormula) {
  on_every_target([] {
    for (const std::int64_t classes : {1, 3, 17, 64, 1000}) {
      for (const std::int64_t rows : {0, 1, 13}) {
        SCOPED_TRACE(testing::Message() << rows << " rows of " << classes);
        expect_losses_and_grads({DType::kF32, rows, classes});
        expect_losses_and_grads({DType::kF64, rows, classes});
        expect_bfloat16_is_rounded_float32({DType::kBF16, rows, classes});
      }
    }
  });
}

TEST(CrossEntropyKernel, TakesLargeLogits) {
  on_every_target([] {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      expect_losses_and_grads({dtype, {1e4, 9999, -1e4}, 1});
      expect_losses_and_grads({dtype, {1e4, 9999, -1e4}, 2});
      expect_losses_and_grads({dtype, {-1e4, -1e4, -10001}, 0});
      expect_losses_and_grads({dtype, {1e30, 0, -1e30}, 0});
      expect_losses_and_grads({dtype, 4, 100, 1e4});
    }
    expect_bfloat16_is_rounded_float32({DType::kBF16, 4, 100, 1e4});
  });
}

TEST(CrossEntropyKernel, AClassOfLogitMinusInfinityHasNoShare) {
  std::vector<double> row(20, 1.0);
  for (const std::size_t k : {3, 19}) row[k] = -INFINITY;
  on_every_target([&] {
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      expect_losses_and_grads({dtype, row, 0});
      expect_losses_and_grads({dtype, row, 3});  // an infinite loss, of gradient -1
    }
    const Result narrow = computed({DType::kBF16, row, 3});
    EXPECT_EQ(narrow.losses[0], INFINITY);
    EXPECT_EQ(narrow.grads[3], -1.0);
    EXPECT_EQ(narrow.grads[19], 0.0);
    EXPECT_NEAR(narrow.grads[0], 1.0 / 18, 1e-3);
  });
}

/// One of `value` among ordinary logits, at every place of a row in turn.
void expect_nan_row(DType dtype, double value) {
  constexpr std::size_t kClasses = 37;
  for (std::size_t place = 0; place < kClasses; ++place) {
    Operands operands(dtype, 3, kClasses);
    operands.logits.set(kClasses + place, value);
    const Result got = computed(operands);
    ASSERT_TRUE(std::isnan(got.losses[1])) << value << " at " << place << ": " << got.losses[1];
    for (std::size_t k = 0; k < got.grads.size(); ++k) {
      ASSERT_TRUE(k / kClasses == 1 || !std::isnan(got.grads[k])) << "element " << k;
    }
    ASSERT_TRUE(std::isnan(got.grads[kClasses + place])) << value << " at " << place;
    ASSERT_TRUE(std::isnan(got.grads[kClasses + operands.labels[1]])) << value << " at " << place;
  }
}

TEST(CrossEntropyKernel, NanAndInfinityMakeTheRowsLossNan) {
  on_every_target([] {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      expect_nan_row(dtype, NAN);
      expect_nan_row(dtype, INFINITY);
      const Result none = computed({dtype, std::vector<double>(5, -INFINITY), 2});
      EXPECT_TRUE(std::isnan(none.losses[0]));
    }
  });
}

TEST(CrossEntropyKernel, RefusesALabelThatIsNoClassAndTouchesNothing) {
  for (const std::int64_t label : {-100, -1, 4}) {
    Operands operands(DType::kF32, 3, 4);
    operands.labels[2] = label;
    const Operands before = operands;
    std::vector<double> losses(3, 5.0);
    expect_error<ShapeError>(
        [&] {
          cross_entropy_to_grad(operands.shape, operands.logits.data(), operands.labels.data(),
                                losses.data());
        },
        {"cross_entropy", "label " + std::to_string(label), "expected 0 to 3"});
    EXPECT_EQ(losses, std::vector<double>(3, 5.0));
    for (std::size_t k = 0; k < 12; ++k) EXPECT_EQ(operands.logits[k], before.logits[k]);
  }
}

TEST(CrossEntropyKernel, RefusesOtherDtypes) {
  const std::vector<std::uint16_t> halves(4);
  const std::int64_t label = 0;
  double loss = 0.0;
  expect_error<ShapeError>(
      [&] { cross_entropy({DType::kF16, 1, 4}, halves.data(), &label, &loss); },
      {"cross_entropy", "F16", "expected F32, F64 or BF16"});
}

}  // namespace
}  // namespace shira
