// How good a language model is.
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama.h>
#include <shira/text/tokenizer.h>

#include <cstdint>

namespace shira {

struct Perplexity {
  double nll = 0.0;         // mean negative log-likelihood, nats a predicted token
  double perplexity = 0.0;  // exp(nll)
  std::int64_t tokens = 0;  // predicted ones
};

/// `ids` cut into consecutive windows of `window` tokens, the last partial one dropped, each scored
/// alone with next-token loss inside it. ConfigError when no window fits.
SHIRA_API Perplexity evaluate_perplexity(Llama& model, const TokenIds& ids, std::int64_t window);

}  // namespace shira
