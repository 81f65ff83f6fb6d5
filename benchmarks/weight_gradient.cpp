// The gradient of a weight's masked entries (sampled_weight_grad) against what others do for it,
// the dense product grad^T input in the operands' dtype (LibTorch's, or in float32 oneDNN's where
// that is faster), and against the limit of doing only what is needed at those speeds: the larger
// of the time for its multiplications at the speed of the dense product and of the time to read the
// operands once at the speed of a copy, both measured in the same run.
//
// usage: benchmark_weight_gradient [--quick] [--tokens 512,2048] [--threads N] [--json FILE]
#include "json.h"

#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sampled_weight_grad.h>

#include <ATen/Functions.h>
#include <torch/types.h>

#include <CLI/CLI.hpp>

#include <vector>

namespace {

using namespace shira;
using namespace shira::benchmarks;

struct Options {
  std::int64_t dimension = 4096;
  std::vector<std::int64_t> tokens = {64, 512, 2048, 8192};
  std::vector<double> densities = {0.001, 0.01, 0.05, 0.1};
  int rounds = 5;
  int threads = 2;
  std::string json;
};

struct Mask {
  std::string name;
  double density;
  torch::Tensor indices;
};

std::vector<Mask> make_masks(const Options& options) {
  const torch::Tensor weight = at::empty({options.dimension, options.dimension});
  std::vector<Mask> masks;
  for (const double density : options.densities) {
    masks.push_back({"rand", density, rand_mask({.density = density}, 1)("", weight).indices()});
  }
  for (const auto& [name, axis] :
       {std::pair{"struct row", StructAxis::kRow}, {"struct column", StructAxis::kColumn}}) {
    masks.push_back({name, 0.01, struct_mask({.density = 0.01}, axis)("", weight).indices()});
  }
  return masks;
}

double copy_bytes_per_ms(int rounds) {
  const torch::Tensor from = at::zeros({1 << 28}, torch::kInt8), to = at::zeros_like(from);
  const Contender copy = {"copy", [&] { return milliseconds([&] { to.copy_(from); }); }};
  return 2.0 * static_cast<double>(from.numel()) / alternate({copy}, rounds)[0].least();
}

/// Milliseconds of the entries' multiplications alone, or of reading the operands once.
double limit(const Options& options, const Mask& mask, double dense_ms, double operand_bytes,
             double bytes_per_ms) {
  const double entries = static_cast<double>(options.dimension * options.dimension);
  const double nnz = static_cast<double>(mask.indices.numel());
  return std::max(dense_ms * nnz / entries, (operand_bytes + 8.0 * nnz) / bytes_per_ms);
}

void measure(const Options& options, const std::vector<Mask>& masks, std::int64_t tokens,
             torch::ScalarType dtype, double bytes_per_ms, Json& results) {
  const torch::Tensor grad = at::randn({tokens, options.dimension}).to(dtype);
  const torch::Tensor input = at::randn({tokens, options.dimension}).to(dtype);
  std::vector<Contender> contenders = {
      {"at::mm", [&] { return milliseconds([&] { at::mm(grad.t(), input); }); }},
      {"ours, dense", [&] { return milliseconds([&] { dense_weight_grad(grad, input); }); }}};
  for (const Mask& mask : masks) {
    contenders.push_back(
        {mask.name,
         [&] { return milliseconds([&] { sampled_weight_grad(grad, input, mask.indices); }); }});
  }
  const std::vector<Timings> timings = alternate(contenders, options.rounds);
  const Timings& dense = timings[timings[1].median() < timings[0].median() ? 1 : 0];
  std::cout << tokens << " tokens, " << options.dimension << " x " << options.dimension << ", "
            << dtype << ": at::mm " << timings[0].text() << ", dense_weight_grad "
            << timings[1].text() << "\n";
  for (std::size_t i = 0; i < masks.size(); ++i) {
    const Timings& ours = timings[i + 2];
    const double least = limit(options, masks[i], dense.median(),
                               static_cast<double>(grad.nbytes() + input.nbytes()), bytes_per_ms);
    std::cout << "  " << masks[i].name << " " << masks[i].density << ": " << ours.text()
              << ", dense / this " << rounded(dense.median() / ours.median()) << ", this / limit "
              << rounded(ours.median() / least) << "\n";
    results.push_back(with_timings({{"tokens", tokens},
                                    {"dtype", toString(dtype)},
                                    {"mask", masks[i].name},
                                    {"density", masks[i].density},
                                    {"dense_ms", rounded(dense.median())},
                                    {"mm_ms", rounded(timings[0].median())},
                                    {"limit_ms", rounded(least)}},
                                   ours));
  }
}

void run(const Options& options) {
  at::set_num_threads(options.threads);
  std::cout << machine() << ", " << options.rounds
            << " rounds; milliseconds as median and spread\n";
  const std::vector<Mask> masks = make_masks(options);
  const double bytes_per_ms = copy_bytes_per_ms(options.rounds);
  Json results = Json::array();
  for (const std::int64_t tokens : options.tokens) {
    for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
      measure(options, masks, tokens, dtype, bytes_per_ms, results);
    }
  }
  Json facts = machine_json();
  facts.update(Json{{"rounds", options.rounds},
                    {"dimension", options.dimension},
                    {"copy_gigabytes_per_second", rounded(bytes_per_ms / 1e6)}});
  if (!options.json.empty()) write_results(options.json, facts, results);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool quick = false;
  CLI::App app("The gradient of masked entries against the dense product.");
  app.add_flag("--quick", quick, "small operands: only shows that everything runs");
  app.add_option("--dimension", options.dimension, "of the square weight")
      ->check(CLI::PositiveNumber);
  app.add_option("--tokens", options.tokens, "")->delimiter(',');
  app.add_option("--densities", options.densities, "")->delimiter(',');
  app.add_option("--rounds", options.rounds, "timed runs of each")->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "");
  app.add_option("--json", options.json, "a file for the results");
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    options.dimension = 128;
    options.tokens = {8, 64};
    options.rounds = 2;
  }
  try {
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
