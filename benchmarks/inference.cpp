// Does an adapter cost anything at inference? Tokens a second of the base, with a SHiRA adapter
// applied, with a LoRA adapter fused, and with LoRA and DoRA unfused: reading the prompt (prefill)
// and going on token by token with the key/value cache (decode). The peer is
// scripts/benchmark_peft_inference.py; scripts/run_benchmarks.py lets both run in turn.
//
// usage: benchmark_inference --model llama_1b|llama_half|llama_tiny
#include "follow.h"
#include "model_shapes.h"

#include <shira/methods/lora.h>
#include <shira/methods/targets.h>
#include <shira/models/llama.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>

#include <CLI/CLI.hpp>

namespace {

using namespace shira::benchmarks;
using torch::Tensor;

struct Options {
  std::string model = "llama_half";
  std::int64_t prompt = 512;
  std::int64_t decoded = 32;
  std::int64_t rank = 32;
  double density = 0.01;
  int threads = at::get_num_threads();
  FollowOptions rounds;
};

/// Milliseconds a token.
Json time_inference(const Options& options, shira::Llama& model) {
  torch::NoGradGuard no_grad;
  const auto next_token = [&](const Tensor& hidden) {
    return model->logits(hidden.narrow(1, hidden.size(1) - 1, 1)).argmax(-1);
  };
  const Tensor ids = at::randint(model->config.vocab_size, {1, options.prompt}, torch::kInt64);
  shira::KvCache cache = model->make_cache(1, options.prompt + options.decoded);
  Tensor token;
  const double prefill = milliseconds([&] { token = next_token(model->hidden(ids, &cache)); });
  const double decode = milliseconds([&] {
    for (std::int64_t i = 0; i < options.decoded; ++i) {
      token = next_token(model->hidden(token, &cache));
    }
  });
  return {{"prefill", prefill / static_cast<double>(options.prompt)},
          {"decode", decode / static_cast<double>(options.decoded)}};
}

/// 1 % of every linear layer, larger by a tenth.
shira::WeightPatch make_patch(const Options& options, const shira::Llama& model,
                              const shira::AdapterSwitcher& switcher) {
  shira::SparseAdapter adapter;
  adapter.base_dtype = torch::kBFloat16;
  const auto builder = shira::rand_mask({.density = options.density}, /*seed=*/1);
  for (const auto& [name, weight] :
       shira::target_weights(shira::select_targets(*model, {"all-linear"}))) {
    const shira::SparseMask mask = builder(name, weight);
    const Tensor values = shira::gather_from(weight, mask.indices()) * 1.1;
    adapter.tensors.emplace(name, shira::SparseTensor{mask, values, {}});
  }
  return switcher.resolve({{adapter}});
}

/// W += B A on every linear layer.
void fuse_lora(const Options& options, const shira::Llama& model) {
  for (const auto& [name, weight] :
       shira::target_weights(shira::select_targets(*model, {"all-linear"}))) {
    const Tensor b = at::randn({weight.size(0), options.rank}, weight.options()) * 0.01;
    const Tensor a = at::randn({options.rank, weight.size(1)}, weight.options()) * 0.01;
    weight.detach().addmm_(b, a);
  }
}

/// LoRA or DoRA on every linear layer, beside the weights.
Json time_unfused(const Options& options, shira::Llama& model, bool use_dora) {
  const shira::LoraTraining lora(shira::select_targets(*model, {"all-linear"}),
                                 {.r = options.rank, .use_dora = use_dora});
  return time_inference(options, model);
}

void run(const Options& options) {
  torch::NoGradGuard no_grad;
  at::set_num_threads(options.threads);
  const auto random = [](const std::string&, at::IntArrayRef shape) {
    return at::empty(shape, torch::kBFloat16).normal_(0, 0.02);
  };
  shira::Llama model(llama_config(options.model), random);
  shira::Llama fused(llama_config(options.model), random);
  fuse_lora(options, fused);
  shira::AdapterSwitcher switcher(*model);
  const shira::WeightPatch patch = make_patch(options, model, switcher);

  Json facts = machine_json();
  facts.update(Json{{"model", options.model},
                    {"dtype", "bfloat16"},
                    {"prompt", options.prompt},
                    {"decoded", options.decoded}});
  const std::vector<std::pair<std::string, std::function<Json()>>> contenders = {
      {"base", [&] { return time_inference(options, model); }},
      {"shira",
       [&] {
         switcher.apply(patch);
         Json result = time_inference(options, model);
         switcher.revert();
         return result;
       }},
      {"lora_fused", [&] { return time_inference(options, fused); }},
      {"lora_unfused", [&] { return time_unfused(options, model, /*use_dora=*/false); }},
      {"dora_unfused", [&] { return time_unfused(options, model, /*use_dora=*/true); }}};
  std::size_t first = 0;  // another one in each round, so that none has the better place
  run_rounds(options.rounds, facts, [&] {
    Json round;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const auto& [name, time] = contenders[(first + i) % contenders.size()];
      round[name] = time();
    }
    ++first;
    return round;
  });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Inference with an adapter against the base.");
  app.add_option("--model", options.model, "llama_1b, llama_half or llama_tiny");
  app.add_option("--prompt", options.prompt, "tokens that the model reads");
  app.add_option("--decoded", options.decoded, "tokens that it goes on for");
  app.add_option("--rank", options.rank, "of LoRA");
  app.add_option("--threads", options.threads, "");
  app.add_option("--rounds", options.rounds.rounds, "");
  app.add_flag("--follow", options.rounds.follow, "a round for each line on stdin");
  CLI11_PARSE(app, argc, argv);
  run(options);
}
