// A whole model: from an adapter's file to a model that is ready, stage by stage as the paper's
// table 5 (appendix C), and from one resident adapter to another. Through the calls that an
// application makes: load_adapter and AdapterSwitcher. The peer is
// scripts/benchmark_peft_switch.py; scripts/run_benchmarks.py lets both run in turn.
//
// The caches are emptied before every stage; the adapter's file is in the page cache. The floor is
// touching once the cache lines that a stage writes; on a CUDA device there is none.
//
// usage: benchmark_switch_model --model llama_1b|llama_half|llama_tiny
//        benchmark_switch_model --model benchmarks/unets/sdxl      (a directory with config.json)
#include "allocations.h"
#include "caches.h"
#include "follow.h"
#include "model_shapes.h"

#include <shira/io/checksum.h>
#include <shira/models/llama.h>
#include <shira/models/unet.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>
#include <torch/cuda.h>

#include <CLI/CLI.hpp>

#include <filesystem>
#include <map>
#include <memory>

namespace {

using namespace shira::benchmarks;
using torch::Tensor;

struct Options {
  std::string model = "llama_half";
  std::string dtype = "bfloat16";
  std::string device = "cpu";
  double density = 0.01;
  int repetitions = 5;
  int threads = at::get_num_threads();
  std::filesystem::path work =
      std::filesystem::temp_directory_path() / ("shira_switch_model." + std::to_string(getpid()));
  FollowOptions rounds;
  bool describe = false;

  torch::ScalarType scalar_type() const {
    return dtype == "float32" ? torch::kFloat32 : torch::kBFloat16;
  }
  bool is_llama() const { return model.starts_with("llama"); }
  bool is_cuda() const { return device == "cuda"; }
};

// --- The model ----------------------------------------------------------------------------------

std::shared_ptr<torch::nn::Module> make_model(const Options& options) {
  const auto random = [&](const std::string&, at::IntArrayRef shape) {
    return at::empty(shape, options.scalar_type()).normal_(0, 0.02);
  };
  if (!options.is_llama()) {
    return shira::Unet(shira::read_unet_config(options.model), random).ptr();
  }
  return shira::Llama(llama_config(options.model), random).ptr();
}

std::vector<shira::NamedTensor> targets_of(const torch::nn::Module& model) {
  std::vector<shira::NamedTensor> targets;
  for (const auto& parameter : model.named_parameters()) {
    if (is_target(parameter.key(), parameter.value())) {
      targets.emplace_back(parameter.key(), parameter.value().detach());
    }
  }
  return targets;
}

/// For the Python peer: the same model, by its config or the directory of it.
Json description(const Options& options) {
  if (!options.is_llama()) return {{"unet", std::filesystem::absolute(options.model)}};
  const shira::LlamaConfig config = llama_config(options.model);
  return {{"llama",
           {{"vocab_size", config.vocab_size},
            {"hidden_size", config.hidden_size},
            {"intermediate_size", config.intermediate_size},
            {"num_hidden_layers", config.num_hidden_layers},
            {"num_attention_heads", config.num_attention_heads},
            {"num_key_value_heads", config.num_key_value_heads},
            {"head_dim", config.head_dim}}}};
}

// --- Adapters -----------------------------------------------------------------------------------

/// An adapter whose values are the base's, larger by a tenth.
shira::SparseAdapter make_adapter(const std::vector<shira::NamedTensor>& targets,
                                  const shira::MaskBuilder& builder) {
  shira::SparseAdapter adapter;
  adapter.base_dtype = targets.front().second.scalar_type();
  adapter.base_model = "random";
  adapter.mask_type = "benchmark";
  for (const auto& [name, mask] : shira::build_masks(targets, builder)) {
    const auto is_named = [&](const auto& target) { return target.first == name; };
    const Tensor& weight = std::ranges::find_if(targets, is_named)->second;
    const Tensor base = shira::gather_from(weight, mask.indices());
    adapter.tensors.emplace(
        name,
        shira::SparseTensor{mask, base * 1.1, shira::base_checksum(base, base.scalar_type())});
  }
  return adapter;
}

/// Of every parameter.
std::vector<std::uint64_t> checksums_of(const torch::nn::Module& model) {
  std::vector<std::uint64_t> sums;
  for (const Tensor& parameter : model.parameters()) {
    const Tensor bytes = parameter.cpu();
    sums.push_back(shira::xxh3_64(bytes.const_data_ptr(), bytes.nbytes()));
  }
  return sums;
}

/// A weight and cache lines of it.
using LinesOfWeights = std::vector<std::pair<Tensor, Tensor>>;

void touch_all(const LinesOfWeights& lines) {
  for (const auto& [weight, numbers] : lines) {
    touch_lines(const_cast<void*>(weight.const_data_ptr()), numbers);
  }
}

/// The cache lines under the entries of both patches.
LinesOfWeights lines_of(const std::vector<shira::NamedTensor>& targets, const shira::WeightPatch& a,
                        const shira::WeightPatch& b) {
  LinesOfWeights lines;
  for (const auto& [name, weight] : targets) {
    const Tensor both = at::cat({a.entries().at(name).indices, b.entries().at(name).indices});
    lines.emplace_back(weight, lines_under(std::get<0>(both.sort()), weight.element_size()));
  }
  return lines;
}

// --- A round ------------------------------------------------------------------------------------

/// A model with two adapters on disk and resident.
class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        model_(make_model_and_adapters()),
        targets_(targets_of(*model_)),
        checksums_(checksums_of(*model_)),
        switcher_(*model_) {
    first_ = switcher_.resolve({{shira::load_adapter(first_directory())}});
    second_ = switcher_.resolve({{shira::load_adapter(second_directory())}});
    if (options.is_cuda()) return;
    first_lines_ = lines_of(targets_, first_, first_);
    lines_ = lines_of(targets_, first_, second_);
  }

  ~Bench() { std::filesystem::remove_all(options_.work); }

  Json facts() {
    std::int64_t parameters = 0;
    for (const Tensor& parameter : model_->parameters()) parameters += parameter.numel();
    std::int64_t targeted = 0;
    for (const auto& [name, weight] : targets_) targeted += weight.numel();
    switcher_.switch_to(first_);
    const Allocations allocated = allocations_of([this] { switcher_.switch_to(second_); });
    switcher_.revert();
    return {{"model", std::filesystem::path(options_.model).filename()},
            {"dtype", options_.dtype},
            {"device", options_.device},
            {"parameters", parameters},
            {"targeted", targeted},
            {"tensors", targets_.size()},
            {"nnz", first_.nnz()},
            {"adapter_bytes", file_size()},
            {"last_level_cache", last_level_cache()},
            {"evicted_bytes", evicted_bytes()},
            {"switch_allocations", allocated.count},
            {"switch_allocated_bytes", allocated.bytes}};
  }

  /// Milliseconds of each stage, the median of some repetitions: PEFT's stages take a hundred times
  /// as long, so that ours would rest on much less time. And how many tensors are not what they
  /// were.
  Json round() {
    std::map<std::string, Timings> timings;
    for (int i = 0; i < options_.repetitions; ++i) {
      const Json turn = in_turn();
      for (const auto& [stage, ms] : turn.items()) {
        timings[stage].runs.push_back(ms.get<double>());
      }
    }
    Json stages;
    for (const auto& [stage, runs] : timings) stages[stage] = runs.median();
    return {{"shira", stages}, {"changed_tensors", changed_tensors()}};
  }

 private:
  std::filesystem::path first_directory() const { return options_.work / "first"; }
  std::filesystem::path second_directory() const { return options_.work / "second"; }

  std::uintmax_t file_size() const {
    return std::filesystem::file_size(first_directory() / "adapter_model.safetensors");
  }

  /// The model on its device; the adapters are made of it on the CPU.
  std::shared_ptr<torch::nn::Module> make_model_and_adapters() const {
    auto model = make_model(options_);
    const auto targets = targets_of(*model);
    const shira::MaskBudget budget{.density = options_.density};
    shira::save_adapter(first_directory(), make_adapter(targets, shira::wm_mask(budget)));
    shira::save_adapter(second_directory(), make_adapter(targets, shira::rand_mask(budget, 1)));
    model->to(torch::Device(options_.device));
    return model;
  }

  double cold(const std::function<void()>& stage) const {
    evict_caches();
    if (!options_.is_cuda()) return milliseconds(stage);
    at::zeros({256 << 20}, torch::TensorOptions(torch::kInt8).device(torch::kCUDA));  // over its L2
    torch::cuda::synchronize();
    return milliseconds([&] {
      stage();
      torch::cuda::synchronize();
    });
  }

  void make_ready() { switcher_.switch_to({{shira::load_adapter(first_directory())}}); }

  /// From the file on and back, then what is measured besides.
  Json in_turn() {
    Json stages = in_stages();
    stages["ready"] = cold([this] { make_ready(); });
    const double forth = cold([this] { switcher_.switch_to(second_); });
    switcher_.switch_to(first_);
    stages["switch"] = (forth + cold([this] { switcher_.switch_to(second_); })) / 2;
    switcher_.revert();
    if (options_.is_cuda()) return stages;
    stages["floor_fuse"] = cold([this] { touch_all(first_lines_); });
    stages["floor_switch"] = cold([this] { touch_all(lines_); });
    return stages;
  }

  Json in_stages() {
    std::optional<shira::SparseAdapter> adapter;
    std::optional<shira::WeightPatch> patch;
    Json stages;
    stages["load"] = cold([&] { adapter = shira::load_adapter(first_directory()); });
    stages["fuse"] = cold([&] { patch = switcher_.switch_to({{*adapter}}); });
    stages["unfuse"] = cold([&] { switcher_.revert(); });
    stages["unload"] = cold([&] {
      adapter.reset();
      patch.reset();
    });
    return stages;
  }

  std::int64_t changed_tensors() const {
    const std::vector<std::uint64_t> now = checksums_of(*model_);
    std::int64_t changed = 0;
    for (std::size_t i = 0; i < now.size(); ++i) changed += now[i] != checksums_[i];
    return changed;
  }

  Options options_;
  std::shared_ptr<torch::nn::Module> model_;
  std::vector<shira::NamedTensor> targets_;
  std::vector<std::uint64_t> checksums_;
  shira::AdapterSwitcher switcher_;
  shira::WeightPatch first_, second_;
  LinesOfWeights first_lines_, lines_;
};

void run(const Options& options) {
  torch::NoGradGuard no_grad;
  at::set_num_threads(options.threads);
  Bench bench(options);
  Json facts = machine_json();
  facts.update(bench.facts());
  run_rounds(options.rounds, facts, [&] { return bench.round(); });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Switching a whole model's adapter.");
  app.add_option("--model", options.model,
                 "llama_1b, llama_half, llama_tiny, or a directory with a UNet's config.json");
  app.add_option("--dtype", options.dtype, "")->check(CLI::IsMember({"bfloat16", "float32"}));
  app.add_option("--device", options.device, "of the model")->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--density", options.density, "share of each target that the adapters change");
  app.add_option("--repetitions", options.repetitions, "of each stage in a round");
  app.add_option("--threads", options.threads, "");
  app.add_option("--work", options.work, "a directory for the adapters, removed at the end");
  app.add_option("--rounds", options.rounds.rounds, "");
  app.add_flag("--follow", options.rounds.follow, "a round for each line on stdin");
  app.add_flag("--describe", options.describe, "print the model's shapes and end");
  CLI11_PARSE(app, argc, argv);
  if (options.is_cuda() && !torch::cuda::is_available()) {
    std::cerr << "error: --device cuda: there is no CUDA device, or this LibTorch is for the CPU "
                 "alone.\n";
    return 2;
  }
  if (options.describe) {
    std::cout << description(options).dump() << "\n";
    return 0;
  }
  run(options);
}
