// How much two random adapters interfere, by kind and dimension: the experiment of SHiRA's figures
// 4 and 9. Prints one JSON object; scripts/plot_orthogonality.py draws it (docs/orthogonality.md).
//
// usage: benchmark_orthogonality [LARGEST_DIMENSION] [SEEDS]; OMP_NUM_THREADS sets the threads
#include "timing.h"

#include <shira/sparse/mask_builders.h>
#include <shira/sparse/orthogonality.h>

#include <ATen/Functions.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <functional>
#include <utility>

namespace {

using shira::LowRank;
using shira::MaskBuilder;
using shira::Orthogonality;
using shira::SparseTensor;
using shira::StructAxis;
using shira::WeightChange;

constexpr double kDensity = 0.01;

using Pair = std::pair<WeightChange, WeightChange>;
/// Two adapters of a weight (dimension, dimension), from a seed.
using MakePair = std::function<Pair(std::int64_t dimension, std::int64_t seed)>;

// ---- the adapters: every entry that is not zero by design is a standard normal number, or, of a
// product, scaled to a root mean square of 1

SparseTensor masked_normal(const MaskBuilder& builder, const torch::Tensor& weight) {
  shira::SparseMask mask = builder("weight", weight);
  torch::Tensor values = at::randn({mask.nnz()}, torch::kFloat64);
  return {std::move(mask), std::move(values), std::nullopt};
}

Pair wm_pair(std::int64_t dimension, std::int64_t second_band) {
  const torch::Tensor base = at::randn({dimension, dimension});
  return {masked_normal(shira::wm_mask({.density = kDensity}, 0), base),
          masked_normal(shira::wm_mask({.density = kDensity}, second_band), base)};
}

Pair rand_pair(std::int64_t dimension, std::int64_t seed) {
  const torch::Tensor base = at::empty({dimension, dimension});
  const auto first = static_cast<std::uint64_t>(2 * seed);
  return {masked_normal(shira::rand_mask({.density = kDensity}, first), base),
          masked_normal(shira::rand_mask({.density = kDensity}, first + 1), base)};
}

/// The second adapter's rows lie halfway between the first one's.
Pair struct_pair(std::int64_t dimension) {
  const torch::Tensor base = at::empty({dimension, dimension});
  const double rows = kDensity * static_cast<double>(dimension) - 1.0;  // beside the diagonal
  const auto offset = static_cast<std::int64_t>(static_cast<double>(dimension) / 2.0 /
                                                std::max(1.0, std::round(rows)));
  const auto builder = [](std::int64_t shift) {
    return shira::struct_mask({.density = kDensity}, StructAxis::kRow, shift);
  };
  return {masked_normal(builder(0), base), masked_normal(builder(offset), base)};
}

/// The rank at which both factors together have the budget's entries.
std::int64_t lora_rank(std::int64_t dimension) {
  return std::max<std::int64_t>(1, std::llround(kDensity * static_cast<double>(dimension) / 2.0));
}

/// The quarter of the entries that is largest by magnitude; zeros elsewhere.
torch::Tensor keep_quarter(const torch::Tensor& factor) {
  const auto mask = shira::mask_of_largest(factor, factor.numel() / 4).to_dense();
  return factor * mask;
}

/// LoRA, or with factors of four times its rank that are pruned to its number of entries.
LowRank lora(std::int64_t dimension, bool sparse) {
  const std::int64_t rank = lora_rank(dimension) * (sparse ? 4 : 1);
  torch::Tensor b = at::randn({dimension, rank}, torch::kFloat64);
  torch::Tensor a = at::randn({rank, dimension}, torch::kFloat64);
  if (sparse) {
    b = keep_quarter(b);
    a = keep_quarter(a);
  }
  // ||B A||^2 = <B^T B, A A^T>
  const double norm = std::sqrt((b.t().mm(b) * a.mm(a.t())).sum().item<double>());
  return {b, a, static_cast<double>(dimension) / norm};
}

Pair dense_pair(std::int64_t dimension) {
  return {at::randn({dimension, dimension}), at::randn({dimension, dimension})};
}

struct Kind {
  const char* name;
  std::int64_t costly_from;  // the dimension from which fewer seeds are run
  std::int64_t least_seeds;
  MakePair make;
};

const std::array<Kind, 7>& kinds() {
  static const std::array<Kind, 7> all{{
      {"wm, overlapping", 4096, 10, [](auto n, auto) { return wm_pair(n, 0); }},
      {"wm, not overlapping", 4096, 10, [](auto n, auto) { return wm_pair(n, 1); }},
      {"struct, offset", 4096, 10, [](auto n, auto) { return struct_pair(n); }},
      {"rand", 4096, 10, [](auto n, auto seed) { return rand_pair(n, seed); }},
      {"dense", 1024, 2, [](auto n, auto) { return dense_pair(n); }},
      {"sparse-LoRA", 4096, 10, [](auto n, auto) { return Pair{lora(n, true), lora(n, true)}; }},
      {"LoRA", 4096, 10, [](auto n, auto) { return Pair{lora(n, false), lora(n, false)}; }},
  }};
  return all;
}

// ---- what is measured

/// Entries that are stored: those of the factors for a product.
std::int64_t stored_entries(const WeightChange& change) {
  if (const auto* sparse = std::get_if<SparseTensor>(&change)) return sparse->mask.nnz();
  if (const auto* low = std::get_if<LowRank>(&change)) {
    return (low->b.count_nonzero() + low->a.count_nonzero()).item<std::int64_t>();
  }
  return std::get<torch::Tensor>(change).numel();
}

double norm_of(const WeightChange& change, std::int64_t dimension) {
  if (const auto* sparse = std::get_if<SparseTensor>(&change)) {
    return sparse->values.norm().item<double>();
  }
  if (std::holds_alternative<LowRank>(change)) return static_cast<double>(dimension);  // see lora
  return std::get<torch::Tensor>(change).to(torch::kFloat64).norm().item<double>();
}

/// Mean and standard deviation over the seeds.
struct Sample {
  std::vector<double> values;

  std::string json() const {
    double sum = 0.0;
    for (const double value : values) sum += value;
    const double mean = sum / static_cast<double>(values.size());
    double squares = 0.0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const double freedom = std::max(1.0, static_cast<double>(values.size()) - 1.0);
    std::ostringstream out;
    out << std::setprecision(8) << "{\"mean\": " << mean
        << ", \"sd\": " << std::sqrt(squares / freedom) << "}";
    return out.str();
  }
};

struct Measured {
  std::int64_t entries = 0;
  double spectral_error = 0.0;  // the largest, relative
  Sample spectral;
  Sample frobenius;
  Sample relative;  // Frobenius / (||A1|| ||A2||)
  Sample ratio;
};

void measure(const Pair& pair, std::int64_t dimension, Measured& into) {
  const auto& [first, second] = pair;
  const Orthogonality result = shira::orthogonality(first, second);
  into.entries = stored_entries(first);
  into.spectral_error =
      std::max(into.spectral_error, result.spectral.error / result.spectral.value);
  into.spectral.values.push_back(result.spectral.value);
  into.frobenius.values.push_back(result.frobenius);
  into.relative.values.push_back(result.frobenius /
                                 (norm_of(first, dimension) * norm_of(second, dimension)));
  into.ratio.values.push_back(result.ratio());
}

/// As many as asked for, fewer where the work per seed (a cube) is more than at `costly_from`.
std::int64_t seeds_for(const Kind& kind, std::int64_t dimension, std::int64_t seeds) {
  const double factor = static_cast<double>(kind.costly_from) / static_cast<double>(dimension);
  const auto affordable =
      static_cast<std::int64_t>(static_cast<double>(seeds) * std::pow(factor, 3));
  return std::min(seeds, std::max(kind.least_seeds, affordable));
}

void print_measured(const Kind& kind, std::int64_t dimension, const Measured& measured) {
  std::cout << "  {\"kind\": \"" << kind.name << "\", \"dimension\": " << dimension
            << ", \"seeds\": " << measured.ratio.values.size()
            << ", \"entries\": " << measured.entries
            << ", \"spectral_error\": " << measured.spectral_error
            << ",\n   \"awom_spectral\": " << measured.spectral.json()
            << ", \"awom_frobenius\": " << measured.frobenius.json()
            << ",\n   \"awom_relative\": " << measured.relative.json()
            << ", \"awor\": " << measured.ratio.json() << "}";
}

void run(const Kind& kind, std::int64_t dimension, std::int64_t seeds) {
  Measured measured;
  const double elapsed = shira::benchmarks::milliseconds([&] {
    for (std::int64_t seed = 0; seed < seeds_for(kind, dimension, seeds); ++seed) {
      at::manual_seed(static_cast<std::uint64_t>(seed));
      measure(kind.make(dimension, seed), dimension, measured);
    }
  });
  std::cerr << dimension << " " << kind.name << ": " << elapsed / 1000 << " s\n";
  print_measured(kind, dimension, measured);
}

/// "2025-12-31"
std::string today() {
  const std::time_t now = std::time(nullptr);
  std::ostringstream out;
  out << std::put_time(std::gmtime(&now), "%Y-%m-%d");
  return out.str();
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t largest = argc > 1 ? std::stoll(argv[1]) : 8192;
  const std::int64_t seeds = argc > 2 ? std::stoll(argv[2]) : 50;
  std::cout << "{\"date\": \"" << today() << "\", \"machine\": \"" << shira::benchmarks::machine()
            << "\", \"density\": " << kDensity << ",\n \"results\": [\n";
  bool first = true;
  for (std::int64_t dimension = 128; dimension <= largest; dimension *= 2) {
    for (const Kind& kind : kinds()) {
      std::cout << (std::exchange(first, false) ? "" : ",\n");
      run(kind, dimension, seeds);
    }
  }
  std::cout << "\n]}\n";
}
