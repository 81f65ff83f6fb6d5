// Windows go through the model in batches of about 2,048 tokens: they do not see each other, so the
// batch changes only the speed.
#include <shira/base/error.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/evaluation.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira {

Perplexity evaluate_perplexity(Llama& model, const TokenIds& ids, std::int64_t window) {
  torch::NoGradGuard no_grad;
  SHIRA_CHECK(ConfigError, window >= 2, "the window must have at least 2 tokens. Got ", window,
              ".");
  const auto count = static_cast<std::int64_t>(ids.size()) / window;
  SHIRA_CHECK(ConfigError, count >= 1, "the text has ", ids.size(), " tokens: no window of ",
              window, " fits. Lower --window or give a longer text.");
  const torch::Tensor windows =
      at::tensor(at::ArrayRef<std::int64_t>(ids).slice(0, static_cast<std::size_t>(count * window)),
                 torch::kInt64)
          .view({count, window});
  const std::int64_t batch = std::max<std::int64_t>(1, 2048 / window);
  double sum = 0.0;
  for (std::int64_t begin = 0; begin < count; begin += batch) {
    const torch::Tensor rows = windows.narrow(0, begin, std::min(batch, count - begin));
    sum += next_token_loss_sum(model, model->hidden(rows), rows).item<double>();
  }
  const std::int64_t tokens = count * (window - 1);
  const double nll = sum / static_cast<double>(tokens);
  SHIRA_CHECK(Error, std::isfinite(nll), "the loss is ", nll,
              ": the weights, or the adapter's values, are not finite or far too large.");
  return {nll, std::exp(nll), tokens};
}

}  // namespace shira
