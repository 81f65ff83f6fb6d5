// Ids and labels are kept equally long by building them together.
#include "sample_parts.h"

#include <algorithm>
#include <cstddef>

namespace shira {

void append(Sample& sample, const TokenIds& ids, bool learn) {
  sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
  for (const std::int64_t id : ids) sample.labels.push_back(learn ? id : kIgnoreLabel);
}

void append_special(Sample& sample, std::int64_t id, bool learn) {
  if (id >= 0) append(sample, {id}, learn);
}

void append_prompt_and_answer(Sample& sample, const Tokenizer& tokenizer, const std::string& prompt,
                              const std::string& answer, bool learn_prompt) {
  const auto [prompt_ids, answer_ids] = tokenizer.encode_pair(prompt, answer);
  append(sample, prompt_ids, learn_prompt);
  append(sample, answer_ids, /*learn=*/true);
}

Sample cut(Sample sample, std::int64_t sequence_len) {
  const auto size = std::min(sample.ids.size(), static_cast<std::size_t>(sequence_len));
  sample.ids.resize(size);
  sample.labels.resize(size);
  return sample;
}

std::vector<Sample> cut_into_windows(const TokenIds& ids, std::int64_t sequence_len) {
  std::vector<Sample> windows;
  for (std::int64_t begin = 0; begin < std::ssize(ids); begin += sequence_len) {
    const std::int64_t end = std::min(begin + sequence_len, std::ssize(ids));
    if (begin > 0 && end - begin == 1) break;
    const TokenIds window(ids.begin() + begin, ids.begin() + end);
    windows.push_back({window, window});
  }
  return windows;
}

}  // namespace shira
