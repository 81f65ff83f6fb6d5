// Prompts of different lengths are padded on the left, so that all rows write their next token in
// the same column; a row that ends leaves the batch and the cache.
#include "stop_filter.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/philox.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/generation.h>
#include <shira/text/chat_template.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

/// Beyond any context; the key/value cache is allocated for all of them.
constexpr std::int64_t kMostNewTokens = 1'000'000;

torch::Tensor ids_tensor(const TokenIds& ids) {
  return at::tensor(at::ArrayRef<std::int64_t>(ids), torch::kInt64);
}

/// Written so that a NaN is refused.
void check_options(const GenerateOptions& options) {
  SHIRA_CHECK(ConfigError, options.max_new_tokens >= 1 && options.max_new_tokens <= kMostNewTokens,
              "[generate] max_new_tokens must be between 1 and ", kMostNewTokens, ". Got ",
              options.max_new_tokens, ".");
  SHIRA_CHECK(ConfigError, options.temperature >= 0.0 && std::isfinite(options.temperature),
              "[generate] temperature must be a number of at least 0. Got ", options.temperature,
              ".");
  SHIRA_CHECK(ConfigError, options.top_p >= 0.0 && options.top_p <= 1.0,
              "[generate] top_p must be between 0 and 1. Got ", options.top_p, ".");
  SHIRA_CHECK(ConfigError, options.top_k >= 0, "[generate] top_k must be at least 0. Got ",
              options.top_k, ".");
  SHIRA_CHECK(ConfigError,
              options.repetition_penalty > 0.0 && std::isfinite(options.repetition_penalty),
              "[generate] repetition_penalty must be a number above 0. Got ",
              options.repetition_penalty, ".");
}

TokenIds encode_prompt(const Tokenizer& tokenizer, const std::string& prompt,
                       const GenerateOptions& options) {
  if (options.chat_template.empty()) return tokenizer.encode(prompt, SpecialTokens::kModel);
  std::vector<ChatMessage> messages = {{ChatRole::kUser, prompt}};
  if (options.system) messages.insert(messages.begin(), {ChatRole::kSystem, *options.system});
  return encode_chat(tokenizer, options.chat_template, messages).ids;
}

/// The config's, and what ends an answer of the chat template.
std::vector<std::int64_t> end_ids(const Llama& model, const Tokenizer& tokenizer,
                                  const GenerateOptions& options) {
  std::vector<std::int64_t> ids = model->config.eos_token_ids;
  if (!options.chat_template.empty()) {
    ids.push_back(chat_end_id(tokenizer, options.chat_template));
  }
  return ids;
}

std::vector<TokenIds> encode_prompts(const Tokenizer& tokenizer,
                                     const std::vector<std::string>& prompts,
                                     const GenerateOptions& options) {
  std::vector<TokenIds> encoded;
  for (const std::string& prompt : prompts) {
    encoded.push_back(encode_prompt(tokenizer, prompt, options));
    SHIRA_CHECK(Error, !encoded.back().empty(), "[generate] prompt ", encoded.size(), " of ",
                prompts.size(), " has no tokens. Give a text.");
  }
  return encoded;
}

std::int64_t longest_of(const std::vector<TokenIds>& prompts) {
  const auto by_size = [](const TokenIds& a, const TokenIds& b) { return a.size() < b.size(); };
  return std::ssize(*std::max_element(prompts.begin(), prompts.end(), by_size));
}

void warn_beyond_context(const Llama& model, std::int64_t positions) {
  const std::int64_t context = model->config.max_position_embeddings;
  if (positions <= context) return;
  log_warning(detail::concat("prompt and new tokens may reach ", positions,
                             " positions; the model was made for ", context,
                             ", the text may degrade. Lower --max_new_tokens."));
}

/// One prompt's continuation as it grows.
class Row {
 public:
  Row(const Tokenizer& tokenizer, const TokenIds& prompt, const GenerateOptions& options,
      const std::vector<std::int64_t>& eos_ids, std::size_t number)
      : options_(options),
        eos_ids_(eos_ids),
        random_(options.seed, number == 0 ? "generate" : "generate " + std::to_string(number)),
        decoder_(tokenizer, prompt),
        filter_(options.stop, options.on_text),
        seen_(prompt),
        generated_{"", {}, "length", std::ssize(prompt)} {}

  /// Goes on with the token that is chosen from `logits` (vocabulary).
  void advance(torch::Tensor logits) {
    if (options_.repetition_penalty != 1.0) {
      logits = penalize_repetition(logits, seen_, options_.repetition_penalty);
    }
    const std::int64_t id = sample_token(logits, options_, random_.next_double());
    ended_ = std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end();
    if (ended_) return;
    generated_.ids.push_back(id);
    seen_.push_back(id);
    filter_.push(decoder_.push(id));
  }

  bool finished() const {
    return ended_ || filter_.stopped() || std::ssize(generated_.ids) == options_.max_new_tokens;
  }

  std::int64_t last_id() const { return seen_.back(); }

  Generated finish() {
    filter_.finish(decoder_.finish());
    if (ended_ || filter_.stopped()) generated_.finish_reason = "stop";
    generated_.text = filter_.text();
    return std::move(generated_);
  }

 private:
  const GenerateOptions& options_;
  const std::vector<std::int64_t>& eos_ids_;
  PhiloxStream random_;
  StreamDecoder decoder_;
  StopFilter filter_;
  TokenIds seen_;  // the prompt and what follows it
  Generated generated_;
  bool ended_ = false;  // by an end-of-sequence token
};

/// The texts that are still being written, and the model's state for them.
class Decoding {
 public:
  /// The prompts, of up to `longest` tokens, are what goes into the model first.
  Decoding(Llama& model, const std::vector<TokenIds>& prompts, std::int64_t longest,
           std::int64_t max_new_tokens)
      : model_(model), cache_(model->make_cache(std::ssize(prompts), longest + max_new_tokens)) {
    std::vector<torch::Tensor> rows;
    TokenIds padding;
    for (const TokenIds& prompt : prompts) {
      padding.push_back(longest - std::ssize(prompt));
      rows.push_back(at::constant_pad_nd(ids_tensor(prompt), {padding.back(), 0}));
    }
    next_ids_ = at::stack(rows);  // (B, T)
    const bool padded = std::any_of(padding.begin(), padding.end(), [](auto n) { return n > 0; });
    if (padded) layout_.left_padding = ids_tensor(padding);
  }

  /// Logits (B, vocabulary) of the next token of every row.
  torch::Tensor next_logits() {
    const torch::Tensor hidden = model_->hidden(next_ids_, &cache_, layout_);
    const torch::Tensor logits = model_->logits(hidden.select(1, hidden.size(1) - 1)).cpu();
    SHIRA_CHECK(Error, logits.isfinite().all().item<bool>(),
                "[generate] the logits are not finite: "
                "the weights, or the adapter's values, are not finite or far too large.");
    return logits;
  }

  /// Goes on with one id for each row in `kept` (places in the present batch).
  void feed(const TokenIds& ids, const TokenIds& kept) {
    if (std::ssize(kept) < next_ids_.size(0)) drop_all_but(ids_tensor(kept));
    next_ids_ = ids_tensor(ids).unsqueeze(1);
  }

 private:
  void drop_all_but(const torch::Tensor& rows) {
    for (nn::KvCacheLayer& layer : cache_) layer.keep_rows(rows);
    torch::Tensor& padding = layout_.left_padding;
    if (padding.defined()) padding = padding.index_select(0, rows);
  }

  Llama& model_;
  KvCache cache_;
  nn::SequenceLayout layout_;
  torch::Tensor next_ids_;
};

/// Writes one token in every row; those that end with it leave.
void write_token(Decoding& decoding, std::vector<Row*>& active, std::int64_t vocabulary) {
  const torch::Tensor logits = decoding.next_logits().narrow(1, 0, vocabulary);
  TokenIds next;
  TokenIds kept;
  for (std::int64_t i = 0; i < std::ssize(active); ++i) {
    Row& row = *active[static_cast<std::size_t>(i)];
    row.advance(logits[i]);
    if (row.finished()) continue;
    next.push_back(row.last_id());
    kept.push_back(i);
  }
  std::erase_if(active, [](const Row* row) { return row->finished(); });
  if (!active.empty()) decoding.feed(next, kept);
}

}  // namespace

torch::Tensor penalize_repetition(const torch::Tensor& logits, const TokenIds& seen,
                                  double penalty) {
  const torch::Tensor ids = ids_tensor(seen);
  const torch::Tensor wide = logits.to(at::promote_types(logits.scalar_type(), torch::kFloat32));
  const torch::Tensor scores = wide.index_select(0, ids);
  // An id that occurs twice is written twice with the same value.
  return wide.index_copy(0, ids, at::where(scores < 0, scores * penalty, scores / penalty));
}

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

std::vector<Generated> generate_batch(Llama& model, const Tokenizer& tokenizer,
                                      const std::vector<std::string>& prompts,
                                      const GenerateOptions& options) {
  torch::NoGradGuard no_grad;
  check_options(options);
  check_tokenizer(model, tokenizer);
  SHIRA_CHECK(ConfigError, !options.on_text || prompts.size() <= 1,
              "[generate_batch] on_text is for a single prompt. Got ", prompts.size(), ".");
  if (prompts.empty()) return {};
  const std::vector<TokenIds> encoded = encode_prompts(tokenizer, prompts, options);
  const std::vector<std::int64_t> ends = end_ids(model, tokenizer, options);
  const std::int64_t longest = longest_of(encoded);
  warn_beyond_context(model, longest + options.max_new_tokens);

  std::vector<Row> rows;
  rows.reserve(encoded.size());
  std::vector<Row*> active;
  for (const TokenIds& prompt : encoded) {
    active.push_back(&rows.emplace_back(tokenizer, prompt, options, ends, rows.size()));
  }
  Decoding decoding(model, encoded, longest, options.max_new_tokens);
  while (!active.empty()) write_token(decoding, active, tokenizer.vocab_size());
  std::vector<Generated> generated;
  for (Row& row : rows) generated.push_back(row.finish());
  return generated;
}

Generated generate(Llama& model, const Tokenizer& tokenizer, const std::string& prompt,
                   const GenerateOptions& options) {
  return std::move(generate_batch(model, tokenizer, {prompt}, options).front());
}

}  // namespace shira
