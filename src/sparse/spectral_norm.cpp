// Lanczos with full reorthogonalisation (Golub and Van Loan, "Matrix Computations", 4th ed.,
// section 10.1-10.3) on M^T M, whose largest eigenvalue is the square that is looked for. A Ritz
// pair's residual bounds the distance to an eigenvalue.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/sparse/spectral_norm.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace shira {
namespace {

constexpr std::int64_t kMostSteps = 400;
constexpr std::int64_t kStepsACheck = 8;
constexpr double kTolerance = 1e-7;

torch::Tensor start_vector(std::int64_t size) {
  PhiloxStream stream(0, "spectral_norm");
  torch::Tensor start = at::empty({size}, torch::kFloat64);
  auto* values = start.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < size; ++i) values[i] = stream.next_double() - 0.5;
  return start / start.norm();
}

/// The tridiagonal matrix that the iteration builds.
struct Tridiagonal {
  std::vector<double> diagonal;
  std::vector<double> beside;  // the last one belongs to the next row

  /// The largest eigenvalue, and the residual of its Ritz vector.
  std::pair<double, double> largest() const {
    const auto size = static_cast<std::int64_t>(diagonal.size());
    torch::Tensor dense = at::zeros({size, size}, torch::kFloat64);
    auto entries = dense.accessor<double, 2>();
    for (std::int64_t i = 0; i < size; ++i) {
      entries[i][i] = diagonal[static_cast<std::size_t>(i)];
      if (i > 0) entries[i][i - 1] = entries[i - 1][i] = beside[static_cast<std::size_t>(i - 1)];
    }
    const auto [values, vectors] = at::linalg_eigh(dense);  // rising
    const double weight = vectors.index({size - 1, size - 1}).item<double>();
    return {values.index({size - 1}).item<double>(), std::abs(beside.back() * weight)};
  }
};

/// |s - value| for a singular value s with |s^2 - square| <= residual.
SpectralNorm from_square(double square, double residual) {
  const double value = std::sqrt(std::max(square, 0.0));
  return {value, value > 0 ? residual / value : std::sqrt(residual)};
}

}  // namespace

SpectralNorm spectral_norm(const torch::Tensor& matrix) {
  SHIRA_CHECK(ShapeError, matrix.dim() == 2 && matrix.numel() > 0,
              "[spectral_norm] expected a matrix. Got shape ", matrix.sizes(), ".");
  return {at::linalg_svdvals(matrix.detach().to(torch::kFloat64)).max().item<double>(), 0.0};
}

SpectralNorm spectral_norm(std::int64_t size,
                           const std::function<torch::Tensor(const torch::Tensor&)>& gram) {
  torch::NoGradGuard no_grad;
  const std::int64_t most = std::min(size, kMostSteps);
  torch::Tensor basis = at::empty({most, size}, torch::kFloat64);
  torch::Tensor vector = start_vector(size);
  Tridiagonal tridiagonal;
  for (std::int64_t step = 0;; ++step) {
    basis.select(0, step).copy_(vector);
    torch::Tensor next = gram(vector);
    tridiagonal.diagonal.push_back(vector.dot(next).item<double>());
    const torch::Tensor seen = basis.narrow(0, 0, step + 1);
    for (int pass = 0; pass < 2; ++pass) next = next - seen.t().mv(seen.mv(next));
    tridiagonal.beside.push_back(next.norm().item<double>());
    const bool last = step + 1 == most;
    // Nothing new: the seen directions hold all that can be reached.
    const bool closed =
        tridiagonal.beside.back() <= 1e-14 * *std::ranges::max_element(tridiagonal.diagonal);
    if (last || closed || (step + 1) % kStepsACheck == 0) {
      const auto [square, residual] = tridiagonal.largest();
      const bool converged = residual <= kTolerance * square;
      if (last || closed || converged) return from_square(square, residual);
    }
    vector = next / tridiagonal.beside.back();
  }
}

}  // namespace shira
