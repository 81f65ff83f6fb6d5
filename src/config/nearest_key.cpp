// Typing errors are counted as the optimal string alignment distance: insertions, deletions,
// replacements and swaps of neighbours.
#include "nearest_key.h"

#include <algorithm>
#include <utility>

namespace shira::detail {
namespace {

// Keys of transformers, diffusers and axolotl that ours do not resemble.
constexpr std::pair<std::string_view, std::string_view> kForeignKeys[] = {
    {"dataset", "datasets"},
    {"density", "shira_density"},
    {"epochs", "num_epochs"},
    {"gradient_clipping", "max_grad_norm"},
    {"lr", "learning_rate"},
    {"max_length", "sequence_len"},
    {"max_seq_length", "sequence_len"},
    {"model_name_or_path", "base_model"},
    {"num_train_epochs", "num_epochs"},
    {"per_device_train_batch_size", "micro_batch_size"},
    {"pretrained_model_name_or_path", "base_model"},
    {"torch_dtype", "base_dtype"},
};

std::size_t typing_errors(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> table((a.size() + 1) * width);
  const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
    return table[i * width + j];
  };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = i;
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = at(i - 1, j - 1) + (a[i - 1] != b[j - 1]);
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
    }
  }
  return at(a.size(), b.size());
}

// 0 for a part of the other key of at least four letters, as in batch_size and micro_batch_size.
std::size_t distance(std::string_view a, std::string_view b) {
  const auto [shorter, longer] =
      std::minmax(a, b, [](std::string_view x, std::string_view y) { return x.size() < y.size(); });
  const bool is_part = shorter.size() >= 4 && longer.find(shorter) != std::string_view::npos;
  return is_part ? 0 : typing_errors(a, b);
}

}  // namespace

std::optional<std::string_view> nearest_key(std::string_view unknown,
                                            const std::vector<std::string_view>& known) {
  constexpr std::size_t kLongest = 64;  // the table is quadratic, and no key is that long
  if (unknown.size() > kLongest) return std::nullopt;
  const auto is_known = [&](std::string_view key) { return std::ranges::count(known, key) > 0; };
  for (const auto& [foreign, ours] : kForeignKeys) {
    if (unknown == foreign && is_known(ours)) return ours;
  }
  std::optional<std::string_view> nearest;
  std::size_t best = std::max<std::size_t>(2, unknown.size() / 3) + 1;
  for (const std::string_view key : known) {
    const std::size_t errors = distance(unknown, key);
    if (errors < best) nearest = key, best = errors;
  }
  return nearest;
}

}  // namespace shira::detail
