// What does a training step cost, in time and in memory above the base? One method in a process of
// its own, on one batch again and again; a step is made of the calls that shira::Trainer makes. The
// peer is scripts/benchmark_peft_train.py; scripts/run_benchmarks.py lets all methods run in turn.
//
// usage: benchmark_train_step --method shira --model llama_1024 --dtype bfloat16
//        benchmark_train_step --method shira --model benchmarks/unets/sd15   (a directory)
//        benchmark_train_step --method shira --profile          where one step's time goes
#include "follow.h"
#include "memory.h"
#include "model_shapes.h"
#include "profile.h"

#include <shira/methods/full_training.h>
#include <shira/methods/lora.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/targets.h>
#include <shira/models/llama.h>
#include <shira/models/load_llama.h>
#include <shira/models/load_unet.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>
#include <shira/train/gradients.h>
#include <shira/train/optimizer.h>

#include <ATen/Functions.h>
#include <torch/cuda.h>

#include <CLI/CLI.hpp>

#include <cmath>
#include <filesystem>
#include <set>

namespace {

using namespace shira::benchmarks;
using torch::Tensor;

constexpr double kLearningRate = 5e-4, kMaxGradNorm = 1.0;

struct Options {
  std::string method = "shira";
  std::string mask = "rand";
  std::int64_t rank = 7;  // r * (in + out) entries a layer
  std::string model = "llama_1024";
  std::string dtype = "float32";
  std::string base_model;  // a checkpoint, instead of random weights of `model`'s shapes
  std::int64_t batch = 4;
  std::int64_t length = 256;
  std::string device = "cpu";
  bool gradient_checkpointing = false;
  int steps = 3;
  int threads = at::get_num_threads();
  FollowOptions rounds;
  bool profile = false;

  torch::ScalarType scalar_type() const {
    return dtype == "float32" ? torch::kFloat32 : torch::kBFloat16;
  }
  bool is_cuda() const { return device == "cuda"; }
  bool is_llama() const { return model.starts_with("llama"); }
};

// --- What is trained ----------------------------------------------------------------------------

/// A model and what it is fed.
struct Task {
  std::shared_ptr<torch::nn::Module> model;
  std::vector<shira::LayerTarget> targets;
  Tensor first_norm;  // the weight of the first norm
  std::unique_ptr<shira::Objective> objective;
  shira::Batch batch;
};

shira::ParameterSource random_source(const Options& options) {
  const auto kind = torch::TensorOptions(options.scalar_type()).device(options.device);
  return [kind](const std::string&, at::IntArrayRef shape) {
    torch::NoGradGuard no_grad;
    const Tensor tensor = at::empty(shape, kind);
    return shape.size() == 1 ? tensor.fill_(1) : tensor.normal_(0, 0.02);  // norms are ones
  };
}

shira::Llama make_llama(const Options& options) {
  if (options.base_model.empty()) {
    return shira::Llama(llama_config(options.model), random_source(options));
  }
  const auto everything = [](const std::string&) { return true; };  // not mapped
  shira::Llama model = shira::load_llama(options.base_model,
                                         {.dtype = options.scalar_type(), .writable = everything});
  model->to(torch::Device(options.device));
  return model;
}

Task llama_task(const Options& options) {
  shira::Llama model = make_llama(options);
  model->gradient_checkpointing = options.gradient_checkpointing;
  // The peer makes the same ids.
  const Tensor ids = (at::arange(options.batch * options.length, torch::kInt64) * 7919)
                         .remainder(model->config.vocab_size)
                         .view({options.batch, options.length});
  return {.model = model.ptr(),
          .targets = shira::select_targets(*model, {"all-linear"}),
          .first_norm = model->model->layers->at<shira::LlamaBlockImpl>(0).input_layernorm->weight,
          .objective = std::make_unique<shira::CausalLmObjective>(model),
          .batch = {{"input_ids", ids}, {"labels", ids}, {"attention_mask", at::ones_like(ids)}}};
}

shira::Unet make_unet(const Options& options) {
  if (options.base_model.empty()) {
    return shira::Unet(shira::read_unet_config(options.model), random_source(options));
  }
  shira::Unet model = shira::load_unet(options.base_model, {.dtype = options.scalar_type()});
  model->to(torch::Device(options.device));
  return model;
}

/// The mean squared error of the prediction in float32, as diffusers' scripts have it.
class UnetObjective : public shira::Objective {
 public:
  explicit UnetObjective(shira::Unet model) : model_(std::move(model)) {}

  Tensor loss_sum(const shira::Batch& batch) override {
    shira::UnetConditions conditions;
    conditions.context = batch.at("context");
    const Tensor output = model_->forward(batch.at("sample"), batch.at("timesteps"), conditions);
    return (output.to(torch::kFloat32) - batch.at("target")).square().sum();
  }
  std::int64_t term_count(const shira::Batch& batch) const override {
    return batch.at("target").numel();
  }
  std::int64_t item_count(const shira::Batch& batch) const override {
    return batch.at("target").size(0);
  }

 private:
  shira::Unet model_;
};

/// Rows of side x side latents with the words of a caption. The peer makes the same.
shira::Batch unet_batch(const Options& options, const shira::UnetConfig& config) {
  constexpr std::int64_t kWords = 77;
  const std::int64_t side = std::llround(std::sqrt(options.length));
  const auto kind = torch::TensorOptions(options.scalar_type()).device(options.device);
  const auto waves = [&](at::IntArrayRef shape, double frequency) {
    const std::int64_t count = c10::multiply_integers(shape);
    return at::sin(at::arange(count, torch::kFloat64) * frequency).view(shape).to(kind);
  };
  const std::vector<std::int64_t> latents = {options.batch, config.in_channels, side, side};
  return {{"sample", waves(latents, 0.37)},
          {"timesteps", at::full({options.batch}, 500, torch::kInt64)},
          {"context", waves({options.batch, kWords, config.context_width}, 0.73)},
          {"target", waves(latents, 0.53).to(torch::kFloat32)}};
}

Task unet_task(const Options& options) {
  shira::Unet model = make_unet(options);
  model->gradient_checkpointing = options.gradient_checkpointing;
  const auto parameters = model->named_parameters();
  std::set<std::string> layers;
  for (const auto& parameter : parameters) {
    if (is_target(parameter.key(), parameter.value())) layers.insert(parameter.key());
  }
  return {.model = model.ptr(),
          .targets = shira::targets_named(*model, layers),
          .first_norm = parameters["down_blocks.0.resnets.0.norm1.weight"],
          .objective = std::make_unique<UnetObjective>(model),
          .batch = unet_batch(options, model->config)};
}

Task make_task(const Options& options) {
  return options.is_llama() ? llama_task(options) : unet_task(options);
}

// --- The methods --------------------------------------------------------------------------------

/// The floor: every layer's input gradient and nothing trained. The first norm's weight takes a
/// gradient, so that backward goes all the way.
class FrozenPass : public shira::TrainingMethod {
 public:
  explicit FrozenPass(Tensor first_norm) : first_(std::move(first_norm)) {
    first_.requires_grad_();
  }
  std::vector<shira::NamedTensor> parameters() const override { return {}; }
  void publish() override { first_.mutable_grad().reset(); }

 private:
  Tensor first_;
};

using Method = std::unique_ptr<shira::TrainingMethod>;

shira::MaskBuilder mask_builder(const Options& options) {
  const shira::MaskBudget budget{.r = options.rank};
  if (options.mask == "wm") return shira::wm_mask(budget);
  if (options.mask == "struct") return shira::struct_mask(budget);
  return shira::rand_mask(budget, /*seed=*/1);
}

Method make_frozen(const Options&, const Task& task) {
  return std::make_unique<FrozenPass>(task.first_norm);
}

Method make_shira(const Options& options, const Task& task) {
  const auto weights = shira::target_weights(task.targets);
  const auto masks = shira::build_masks(weights, mask_builder(options));
  return std::make_unique<shira::PackedShira>(task.targets, masks);
}

Method make_full(const Options&, const Task& task) {
  return std::make_unique<shira::FullTraining>(*task.model);
}

Method make_factors(const Options& options, const Task& task, bool use_dora) {
  const auto alpha = static_cast<double>(options.rank);
  return std::make_unique<shira::LoraTraining>(
      task.targets, shira::LoraOptions{.r = options.rank, .alpha = alpha, .use_dora = use_dora});
}

Method make_lora(const Options& options, const Task& task) {
  return make_factors(options, task, /*use_dora=*/false);
}

Method make_dora(const Options& options, const Task& task) {
  return make_factors(options, task, /*use_dora=*/true);
}

using MakeMethod = Method (*)(const Options&, const Task&);

const std::map<std::string, MakeMethod> kMethods = {{"frozen", make_frozen},
                                                    {"shira", make_shira},
                                                    {"lora", make_lora},
                                                    {"dora", make_dora},
                                                    {"full", make_full}};

// --- A step -------------------------------------------------------------------------------------

class Training {
 public:
  Training(const Options& options, Task task)
      : task_(std::move(task)),
        method_(kMethods.at(options.method)(options, task_)),
        optimizer_(shira::make_adamw(method_->parameters(), {})) {}

  /// The mean loss before the step.
  double step() {
    const auto parameters = method_->parameters();
    const std::int64_t terms = task_.objective->term_count(task_.batch);
    shira::clear_gradients(parameters);
    const double loss = shira::add_gradients(*task_.objective, task_.batch, terms);
    if (!parameters.empty()) shira::clip_gradients(parameters, kMaxGradNorm);
    optimizer_->step(kLearningRate);
    method_->publish();
    if (task_.first_norm.is_cuda()) torch::cuda::synchronize();
    return loss / static_cast<double>(terms);
  }

  std::int64_t trained() const {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : method_->parameters()) count += tensor.numel();
    return count;
  }

 private:
  Task task_;
  Method method_;
  std::unique_ptr<shira::Optimizer> optimizer_;
};

/// Trains a small model, so that code and buffers that every model needs count as the base's.
void warm_up(Options options) {
  const auto tiny_unet = std::filesystem::absolute(options.model).parent_path() / "tiny";
  options.model = options.is_llama() ? "llama_tiny" : tiny_unet.string();
  options.base_model.clear();
  options.rank = 1;
  options.batch = 2;
  options.length = 16;
  Training training(options, make_task(options));
  for (int i = 0; i < 2; ++i) training.step();
}

Json facts_of(const Options& options, const Training& training) {
  Json facts = machine_json();
  facts.update(Json{{"model", std::filesystem::path(options.model).filename()},
                    {"dtype", options.dtype},
                    {"device", options.device},
                    {"batch", options.batch},
                    {"length", options.length},
                    {"rank", options.rank},
                    {"trained", training.trained()}});
  if (options.method == "shira") facts["mask"] = options.mask;
  return facts;
}

void run(const Options& options) {
  at::set_num_threads(options.threads);
  warm_up(options);
  Task task = make_task(options);
  const MemoryMeter memory(options.is_cuda());
  const std::int64_t base = memory.now();
  Training training(options, std::move(task));
  memory.reset_peak();  // what it took to choose the masks is not the step's
  const double first_loss = training.step();
  if (options.profile) {
    const OperatorProfile profile([&] { training.step(); });
    return profile.print(std::cout, 15);
  }
  Json facts = facts_of(options, training);
  facts["first_loss"] = first_loss;
  run_counted_rounds(options.rounds, facts, [&] {
    Timings timings;
    double loss = 0.0;
    for (int i = 0; i < options.steps; ++i) {
      timings.runs.push_back(milliseconds([&] { loss = training.step(); }));
    }
    return Json{{options.method, {{"step", timings.median()}}},
                {"loss", loss},
                {"peak_above_base", memory.peak() - base}};
  });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::vector<std::string> methods;
  for (const auto& [name, make] : kMethods) methods.push_back(name);
  CLI::App app("Time and memory of a training step.");
  app.add_option("--method", options.method, "")->check(CLI::IsMember(methods));
  app.add_option("--mask", options.mask, "")->check(CLI::IsMember({"rand", "wm", "struct"}));
  app.add_option("--rank", options.rank, "r * (in + out) trained entries a layer")
      ->check(CLI::PositiveNumber);
  app.add_option("--model", options.model,
                 "a LLaMA's name or the directory of a UNet's config.json");
  app.add_option("--dtype", options.dtype, "")->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--device", options.device, "of the model")->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_flag("--gradient_checkpointing", options.gradient_checkpointing, "");
  app.add_option("--base_model", options.base_model, "a checkpoint instead of random weights");
  app.add_option("--batch", options.batch, "rows of a step")->check(CLI::PositiveNumber);
  app.add_option("--length", options.length, "tokens of a row; places of a square one")
      ->check(CLI::Range(2, 1 << 20));
  app.add_option("--steps", options.steps, "of a round, of which the median counts")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "");
  app.add_option("--rounds", options.rounds.rounds, "");
  app.add_flag("--follow", options.rounds.follow, "a round for each line on stdin");
  app.add_flag("--profile", options.profile, "the operators that take the most of one step");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.is_cuda() && !torch::cuda::is_available()) {
      throw std::runtime_error("--device cuda: there is no CUDA device");
    }
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
