// One layer: writing an adapter's entries (scatter), exchanging them with the base's (swap) and
// going from one adapter to another (scatter_both), against fusing a LoRA adapter, as PEFT does it
// (W += s (B @ A)) and as one product (addmm_); LibTorch's own index operations, and as a floor the
// same cache lines touched once. The paper's figure 7 (appendix C).
//
// Hot: one weight again and again. Cold: 50 different weights (fewer of the largest), each with its
// own adapters, in rotation, the caches emptied before every run. All run in turn.
//
// usage: benchmark_switch [--quick] [--json FILE]; --help for the rest
#include "caches.h"
#include "json.h"
#include "timing.h"

#include <shira/kernels/scatter.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/types.h>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>

namespace {

using namespace shira::benchmarks;
using torch::Tensor;

constexpr double kScale = 1e-3;   // of LoRA: small enough that no repetition overflows
constexpr double kMemory = 12e9;  // for the weights of one dimension and dtype

struct Options {
  std::vector<std::int64_t> dimensions = {512, 1024, 2048, 4096, 8192};
  std::vector<double> densities = {0.001, 0.005, 0.01, 0.02, 0.05};
  std::vector<std::int64_t> ranks = {8, 16, 32, 64, 128};
  std::int64_t weights = 50;
  std::int64_t evicted = evicted_bytes();
  double run_ms = 60;  // a cold run goes through the weights until this time is over
  int rounds = 5;
  int threads = at::get_num_threads();
  std::string json;
};

/// Two adapters' entries on one weight.
struct SparseEntries {
  Tensor indices, values;              // (nnz) int32; of the weight's dtype
  Tensor other_indices, other_values;  // the second adapter's
  Tensor lines, both_lines;            // the cache lines under the first one's and under all
  Tensor long_indices;                 // for LibTorch's operations, at the main density alone
};

struct LowRank {
  Tensor b, a;                // (out, r), (r, in) float32: PEFT keeps adapters so for any base
  Tensor b_narrow, a_narrow;  // in the weight's dtype, for addmm_
};

struct Layer {
  Tensor weight;
  std::vector<SparseEntries> sparse;  // one for each density
  std::vector<LowRank> low_rank;      // one for each rank
};

/// Every entry with probability `density`, sorted.
Tensor random_indices(std::int64_t numel, double density) {
  const auto tries = static_cast<std::int64_t>(1.2 * density * static_cast<double>(numel)) + 64;
  const Tensor gaps = at::empty({tries}, torch::kInt64).geometric_(density);
  const Tensor positions = gaps.cumsum(0) - 1;
  return positions.masked_select(positions < numel).to(torch::kInt32);
}

/// The density that ratios are given for.
double main_density(const Options& options) {
  const bool has_one_percent = std::ranges::count(options.densities, 0.01) > 0;
  return has_one_percent ? 0.01 : options.densities.front();
}

/// The rank that ratios are given for.
std::int64_t main_rank(const Options& options) {
  const bool has_64 = std::ranges::count(options.ranks, 64) > 0;
  return has_64 ? 64 : options.ranks.back();
}

SparseEntries make_entries(const Options& options, const Tensor& weight, double density) {
  SparseEntries entries;
  entries.indices = random_indices(weight.numel(), density);
  entries.values = at::ones(entries.indices.sizes(), weight.options());
  entries.other_indices = random_indices(weight.numel(), density);
  entries.other_values = at::zeros(entries.other_indices.sizes(), weight.options());
  entries.lines = lines_under(entries.indices, weight.element_size());
  const Tensor both = at::cat({entries.indices, entries.other_indices});
  entries.both_lines = lines_under(std::get<0>(both.sort()), weight.element_size());
  if (density == main_density(options)) entries.long_indices = entries.indices.to(torch::kInt64);
  return entries;
}

LowRank make_low_rank(const Tensor& weight, std::int64_t rank) {
  const Tensor b = at::randn({weight.size(0), rank});
  const Tensor a = at::randn({rank, weight.size(1)});
  return {b, a, b.to(weight.scalar_type()), a.to(weight.scalar_type())};
}

Layer make_layer(const Options& options, std::int64_t dimension, torch::ScalarType dtype) {
  Layer layer{at::ones({dimension, dimension}, dtype), {}, {}};  // any number takes as long
  for (const double density : options.densities) {
    layer.sparse.push_back(make_entries(options, layer.weight, density));
  }
  for (const std::int64_t rank : options.ranks) {
    layer.low_rank.push_back(make_low_rank(layer.weight, rank));
  }
  return layer;
}

/// What make_layer allocates, about.
double layer_bytes(const Options& options, std::int64_t dimension, torch::ScalarType dtype) {
  const auto numel = static_cast<double>(dimension * dimension);
  const auto item = static_cast<double>(c10::elementSize(dtype));
  double bytes = numel * item;
  for (const double density : options.densities) bytes += numel * density * (20 + 2 * item);
  for (const std::int64_t rank : options.ranks) bytes += double(2 * rank * dimension) * (4 + item);
  return bytes;
}

double available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    double kilobytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lf", &kilobytes) == 1) return 1024 * kilobytes;
  }
  return 4e9;
}

std::int64_t weights_that_fit(const Options& options, std::int64_t dimension,
                              torch::ScalarType dtype) {
  const double memory = std::min(0.7 * available_memory(), kMemory);
  const double fitting = memory / layer_bytes(options, dimension, dtype);
  return std::clamp(static_cast<std::int64_t>(fitting), std::int64_t{1}, options.weights);
}

// --- What is timed ------------------------------------------------------------------------------

std::span<const std::int32_t> span_of(const Tensor& indices) {
  return {indices.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(indices.numel())};
}

struct Operation {
  Json record;  // what it is, in the results
  std::function<void(Layer&)> run;
};

void scatter(Layer& layer, const SparseEntries& entries) {
  shira::scatter(layer.weight.data_ptr(), span_of(entries.indices), layer.weight.element_size(),
                 entries.values.const_data_ptr());
}

void swap(Layer& layer, SparseEntries& entries) {
  shira::swap(layer.weight.data_ptr(), span_of(entries.indices), layer.weight.element_size(),
              entries.values.const_data_ptr(), entries.values.data_ptr());
}

/// One adapter's originals, then the other's values.
void scatter_both(Layer& layer, const SparseEntries& entries) {
  shira::scatter_both(layer.weight.data_ptr(), layer.weight.element_size(),
                      {span_of(entries.indices), entries.values.const_data_ptr()},
                      {span_of(entries.other_indices), entries.other_values.const_data_ptr()});
}

void libtorch_scatter(Layer& layer, const SparseEntries& entries) {
  layer.weight.view(-1).scatter_(0, entries.long_indices, entries.values);
}

void libtorch_index_put(Layer& layer, const SparseEntries& entries) {
  layer.weight.view(-1).index_put_({entries.long_indices}, entries.values);
}

/// LoRA's Linear.merge and get_delta_weight as PEFT 0.21 has them, whose adapters are float32 by
/// default: the same calls of the same library, without Python's share of the time ...
void peft_fuse(Layer& layer, const LowRank& lora) {
  layer.weight.add_(at::matmul(lora.b, lora.a) * kScale);
}

/// ... and in a bfloat16 weight's dtype with autocast_adapter_dtype=False.
void peft_fuse_narrow(Layer& layer, const LowRank& lora) {
  const Tensor delta =
      at::matmul(lora.b_narrow.to(torch::kFloat32), lora.a_narrow.to(torch::kFloat32)) * kScale;
  layer.weight.add_(delta.to(layer.weight.scalar_type()));
}

void addmm_fuse(Layer& layer, const LowRank& lora) {
  layer.weight.addmm_(lora.b_narrow, lora.a_narrow, /*beta=*/1, /*alpha=*/kScale);
}

void touch(Layer& layer, const SparseEntries& entries) {
  touch_lines(layer.weight.data_ptr(), entries.lines);
}

void touch_both(Layer& layer, const SparseEntries& entries) {
  touch_lines(layer.weight.data_ptr(), entries.both_lines);
}

std::vector<Operation> operations_of(const Options& options, torch::ScalarType dtype) {
  std::vector<Operation> list;
  for (std::size_t i = 0; i < options.densities.size(); ++i) {
    const auto add = [&](const char* name, auto operation) {
      list.push_back({{{"operation", name}, {"density", options.densities[i]}},
                      [=](Layer& layer) { operation(layer, layer.sparse[i]); }});
    };
    add("scatter", scatter);
    add("swap", swap);
    add("floor", touch);
    add("scatter_both", scatter_both);
    add("floor_both", touch_both);
    if (options.densities[i] != main_density(options)) continue;
    add("libtorch_scatter", libtorch_scatter);
    add("libtorch_index_put", libtorch_index_put);
  }
  for (std::size_t i = 0; i < options.ranks.size(); ++i) {
    const auto add = [&](const char* name, auto operation) {
      list.push_back({{{"operation", name}, {"rank", options.ranks[i]}},
                      [=](Layer& layer) { operation(layer, layer.low_rank[i]); }});
    };
    add("lora_peft", peft_fuse);
    if (dtype != torch::kFloat32) add("lora_peft_narrow", peft_fuse_narrow);
    add("lora_addmm", addmm_fuse);
  }
  return list;
}

/// The median of some repetitions after one for the caches; short ones are timed several together,
/// or the clock would be what is measured.
double hot_run(Layer& layer, const Operation& operation) {
  operation.run(layer);
  const double once = milliseconds([&] { operation.run(layer); });
  const int together = static_cast<int>(std::clamp(0.02 / std::max(once, 1e-6), 1.0, 100.0));
  Timings timings;
  double total = 0;
  while (timings.runs.size() < 25 && total < 20.0) {
    const double batch = milliseconds([&] {
      for (int i = 0; i < together; ++i) operation.run(layer);
    });
    timings.runs.push_back(batch / together);
    total += batch;
  }
  return timings.median();
}

/// Through the weights from number `next` on, from memory; the median of their times.
double cold_run(const Options& options, std::vector<Layer>& layers, std::size_t& next,
                const Operation& operation) {
  evict_caches(options.evicted);
  Timings timings;
  double total = 0;
  while (timings.runs.size() < layers.size() && total < options.run_ms) {
    total += timings.runs.emplace_back(milliseconds([&] { operation.run(layers[next]); }));
    next = (next + 1) % layers.size();
  }
  return timings.median();
}

// --- Results ------------------------------------------------------------------------------------

/// The results of one dimension, dtype and state.
struct Group {
  Json facts;
  std::vector<Operation> operations;
  std::vector<Timings> timings;

  const Timings& find(const char* operation, const char* key, double value) const {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const Json& record = operations[i].record;
      if (record["operation"] == operation && record.contains(key) && record[key] == value) {
        return timings[i];
      }
    }
    throw std::out_of_range(operation);
  }
};

Group measure(const Options& options, std::vector<Layer>& layers, bool is_cold) {
  Group group{{}, operations_of(options, layers[0].weight.scalar_type()), {}};
  group.facts = {{"dimension", layers[0].weight.size(0)},
                 {"dtype", shira::torch_dtype_name(layers[0].weight.scalar_type())},
                 {"state", is_cold ? "cold" : "hot"},
                 {"weights", is_cold ? layers.size() : 1}};
  std::vector<std::size_t> next(group.operations.size(), 0);
  std::vector<Contender> contenders;
  for (std::size_t i = 0; i < group.operations.size(); ++i) {
    const Operation& operation = group.operations[i];
    contenders.push_back({"", [&, i] {
                            return is_cold ? cold_run(options, layers, next[i], operation)
                                           : hot_run(layers[0], operation);
                          }});
  }
  group.timings = alternate(contenders, options.rounds);
  return group;
}

void print_group(const Options& options, const Group& group) {
  const std::int64_t rank = main_rank(options);
  const Timings& peft = group.find("lora_peft", "rank", static_cast<double>(rank));
  const Timings& addmm = group.find("lora_addmm", "rank", static_cast<double>(rank));
  std::cout << "\n"
            << group.facts["dimension"] << " x " << group.facts["dimension"] << " "
            << group.facts["dtype"].get<std::string>() << ", "
            << group.facts["state"].get<std::string>() << " (" << group.facts["weights"]
            << " weights)\n";
  for (std::size_t i = 0; i < group.operations.size(); ++i) {
    const Json& record = group.operations[i].record;
    std::cout << "  " << std::left << std::setw(19) << record["operation"].get<std::string>()
              << std::setw(8)
              << (record.contains("rank") ? "r " + record["rank"].dump() : record["density"].dump())
              << std::setw(28) << group.timings[i].text();
    if (record.contains("density")) {
      const double ms = group.timings[i].median();
      const bool is_both = record["operation"].get<std::string>().ends_with("_both");
      const double floor =
          group.find(is_both ? "floor_both" : "floor", "density", record["density"]).median();
      std::cout << std::fixed << std::setprecision(2) << "PEFT r " << rank << " / this "
                << peft.median() / ms << ", addmm_ / this " << addmm.median() / ms
                << ", this / floor " << ms / floor;
    }
    std::cout << "\n";
  }
}

void append_results(const Group& group, Json& results) {
  for (std::size_t i = 0; i < group.operations.size(); ++i) {
    Json record = group.facts;
    record.update(group.operations[i].record);
    results.push_back(with_timings(record, group.timings[i]));
  }
}

void run(const Options& options) {
  at::set_num_threads(options.threads);
  Json facts = machine_json();
  facts.update(Json{{"rounds", options.rounds},
                    {"last_level_cache", last_level_cache()},
                    {"evicted_bytes", options.evicted}});
  std::cout << machine() << ", " << options.rounds
            << " rounds; milliseconds as median and spread\n";
  Json results = Json::array();
  for (const std::int64_t dimension : options.dimensions) {
    for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
      std::vector<Layer> layers;
      const std::int64_t count = weights_that_fit(options, dimension, dtype);
      for (std::int64_t i = 0; i < count; ++i) {
        layers.push_back(make_layer(options, dimension, dtype));
      }
      for (const bool is_cold : {false, true}) {
        const Group group = measure(options, layers, is_cold);
        print_group(options, group);
        append_results(group, results);
      }
    }
  }
  if (!options.json.empty()) write_results(options.json, facts, results);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool quick = false;
  CLI::App app("Switching one layer against fusing LoRA.");
  app.add_flag("--quick", quick, "small weights: only shows that everything runs");
  app.add_option("--dimensions", options.dimensions, "")->delimiter(',');
  app.add_option("--densities", options.densities, "")->delimiter(',');
  app.add_option("--ranks", options.ranks, "of LoRA")->delimiter(',');
  app.add_option("--weights", options.weights, "cold: so many, or what 12 GB or free memory hold");
  app.add_option("--rounds", options.rounds, "timed runs of each");
  app.add_option("--threads", options.threads, "");
  app.add_option("--json", options.json, "a file for the results");
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    options.dimensions = {64, 128};
    options.densities = {0.01, 0.05};
    options.ranks = {4, 64};
    options.weights = 3;
    options.evicted = 1 << 20;
    options.rounds = 2;
  }
  run(options);
}
