// One token at a time; the text is what StreamDecoder gives out, held back where it might be the
// beginning of a stop text.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/philox.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/generation.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

/// Passes text on until a stop text appears in it.
class StopFilter {
 public:
  StopFilter(const std::vector<std::string>& stops,
             const std::function<void(std::string_view)>& sink)
      : stops_(stops), sink_(sink) {}

  void push(const std::string& piece) {
    if (stopped_) return;
    held_ += piece;
    const std::size_t first = first_stop();
    stopped_ = first != std::string::npos;
    if (stopped_) held_.resize(first);
    flush(stopped_ ? held_.size() : held_.size() - open_suffix());
  }

  void finish(const std::string& last_piece) {
    push(last_piece);
    flush(held_.size());
  }

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }

 private:
  std::size_t first_stop() const {
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops_) {
      if (!stop.empty()) first = std::min(first, held_.find(stop));
    }
    return first;
  }

  /// The length of the longest end of the held text that a stop text begins with.
  std::size_t open_suffix() const {
    std::size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t size = std::min(stop.size(), held_.size()); size > longest; --size) {
        if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, size)))
          longest = size;
      }
    }
    return longest;
  }

  void flush(std::size_t size) {
    if (size == 0) return;
    if (sink_) sink_(std::string_view(held_).substr(0, size));
    text_.append(held_, 0, size);
    held_.erase(0, size);
  }

  const std::vector<std::string>& stops_;
  const std::function<void(std::string_view)>& sink_;
  std::string held_;
  std::string text_;
  bool stopped_ = false;
};

torch::Tensor ids_tensor(const TokenIds& ids) {
  return at::tensor(at::ArrayRef<std::int64_t>(ids), torch::kInt64).unsqueeze(0);  // (1, T)
}

/// Written so that a NaN is refused.
void check_options(const GenerateOptions& options) {
  SHIRA_CHECK(ConfigError, options.max_new_tokens >= 1,
              "[generate] max_new_tokens must be at least 1. Got ", options.max_new_tokens, ".");
  SHIRA_CHECK(ConfigError, options.temperature >= 0.0 && std::isfinite(options.temperature),
              "[generate] temperature must be a number of at least 0. Got ", options.temperature,
              ".");
  SHIRA_CHECK(ConfigError, options.top_p >= 0.0 && options.top_p <= 1.0,
              "[generate] top_p must be between 0 and 1. Got ", options.top_p, ".");
  SHIRA_CHECK(ConfigError, options.top_k >= 0, "[generate] top_k must be at least 0. Got ",
              options.top_k, ".");
}

TokenIds encode_prompt(const Llama& model, const Tokenizer& tokenizer, const std::string& prompt) {
  TokenIds ids = tokenizer.encode(prompt, SpecialTokens::kModel);
  SHIRA_CHECK(Error, !ids.empty(), "[generate] the prompt has no tokens. Give a text.");
  check_tokenizer(model, tokenizer);
  return ids;
}

/// Logits (vocabulary) of the last position.
torch::Tensor last_logits(Llama& model, const TokenIds& ids, KvCache& cache) {
  const torch::Tensor hidden = model->hidden(ids_tensor(ids), &cache);
  return model->logits(hidden.select(1, hidden.size(1) - 1)).squeeze(0);
}

bool is_eos(const Llama& model, std::int64_t id) {
  const auto& eos = model->config.eos_token_ids;
  return std::find(eos.begin(), eos.end(), id) != eos.end();
}

void warn_beyond_context(const Llama& model, std::int64_t positions) {
  const std::int64_t context = model->config.max_position_embeddings;
  if (positions <= context) return;
  log_warning(detail::concat("prompt and new tokens may reach ", positions,
                             " positions; the model was made for ", context,
                             ", the text may degrade. Lower --max_new_tokens."));
}

}  // namespace

std::int64_t sample_token(const torch::Tensor& logits, const GenerateOptions& options,
                          double uniform) {
  if (options.temperature == 0.0) return logits.argmax().item<std::int64_t>();
  const torch::Tensor scaled = logits.to(torch::kFloat64) / options.temperature;
  auto [sorted, order] = at::sort(scaled, /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  if (options.top_k > 0) sorted = sorted.narrow(0, 0, std::min(options.top_k, sorted.size(0)));
  const torch::Tensor probabilities = sorted.softmax(-1);
  const torch::Tensor cumulative = probabilities.cumsum(0);
  // A token stays while those before it have not reached top_p: the first always does.
  const std::int64_t kept = (cumulative - probabilities < options.top_p).sum().item<std::int64_t>();
  const double mass = cumulative[std::max<std::int64_t>(kept, 1) - 1].item<double>();
  const std::int64_t rank = (cumulative <= uniform * mass).sum().item<std::int64_t>();
  return order[std::min(rank, std::max<std::int64_t>(kept, 1) - 1)].item<std::int64_t>();
}

Generated generate(Llama& model, const Tokenizer& tokenizer, const std::string& prompt,
                   const GenerateOptions& options) {
  torch::NoGradGuard no_grad;
  check_options(options);
  TokenIds next = encode_prompt(model, tokenizer, prompt);
  const auto prompt_tokens = static_cast<std::int64_t>(next.size());
  warn_beyond_context(model, prompt_tokens + options.max_new_tokens);
  KvCache cache = model->make_cache(1, prompt_tokens + options.max_new_tokens);
  PhiloxStream random(options.seed, "generate");
  StreamDecoder decoder(tokenizer, next);
  StopFilter filter(options.stop, options.on_text);
  Generated generated{"", {}, "length", prompt_tokens};
  for (std::int64_t i = 0; i < options.max_new_tokens && !filter.stopped(); ++i) {
    const torch::Tensor logits = last_logits(model, next, cache);
    SHIRA_CHECK(Error, logits.isfinite().all().item<bool>(),
                "[generate] the logits are not finite: "
                "the weights, or the adapter's values, are not finite or far too large.");
    const std::int64_t id =
        sample_token(logits.narrow(0, 0, tokenizer.vocab_size()), options, random.next_double());
    if (is_eos(model, id)) {
      generated.finish_reason = "stop";
      break;
    }
    generated.ids.push_back(id);
    next = {id};
    filter.push(decoder.push(id));
  }
  filter.finish(decoder.finish());
  if (filter.stopped()) generated.finish_reason = "stop";
  generated.text = filter.text();
  return generated;
}

}  // namespace shira
