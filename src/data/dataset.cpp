// What a file of each type becomes, and which samples are held out.
#include "dataset_types.h"
#include "held_out.h"
#include "records.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

namespace shira {
namespace {

using LoadFile = std::vector<Sample> (*)(const std::filesystem::path&, const Tokenizer&,
                                         const DatasetOptions&);

/// The loader of a file whose records become samples by `make`.
template <auto make>
std::vector<Sample> load_records(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                 const DatasetOptions& options) {
  return read_records(
      path, [&](const nlohmann::json& record) { return make(record, tokenizer, options); });
}

LoadFile find_type(const std::string& type) {
  static const std::map<std::string, LoadFile> types = {
      {"text", load_text},
      {"completion", load_records<completion_samples>},
      {"alpaca", load_records<alpaca_samples>},
      {"messages", load_records<messages_samples>},
      {"sharegpt", load_records<sharegpt_samples>}};
  const auto found = types.find(type);
  if (found != types.end()) return found->second;
  std::string known;
  for (const auto& [name, load] : types) known += (known.empty() ? "" : ", ") + name;
  throw ConfigError("datasets: unknown type '" + type + "'. Known: " + known + ".");
}

/// Whether a label is left after the objective's shift.
bool has_target(const Sample& sample) {
  return std::any_of(sample.labels.begin() + 1, sample.labels.end(),
                     [](std::int64_t label) { return label != kIgnoreLabel; });
}

void drop_without_target(std::vector<Sample>& samples, const std::filesystem::path& path,
                         std::int64_t sequence_len) {
  const std::size_t all = samples.size();
  std::erase_if(samples, [](const Sample& sample) { return !has_target(sample); });
  if (samples.size() < all) {
    log_warning(detail::concat(path.string(), ": ", all - samples.size(), " of ", all,
                               " samples left out: nothing to learn is within sequence_len ",
                               sequence_len, "."));
  }
  SHIRA_CHECK(IoError, !samples.empty(), path.string(), ": holds no usable sample.");
}

/// A word about a file that made its user wait.
void log_slow_load(const std::vector<Sample>& samples, const std::filesystem::path& path,
                   std::chrono::steady_clock::time_point begin) {
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (taken.count() < 2.0) return;
  std::size_t tokens = 0;
  for (const Sample& sample : samples) tokens += sample.ids.size();
  log_info(detail::concat(path.string(), ": ", samples.size(), " samples of ", tokens,
                          " tokens, read in ", std::round(taken.count()), " s"));
}

}  // namespace

std::vector<Sample> load_dataset(const std::string& type, const std::filesystem::path& path,
                                 const Tokenizer& tokenizer, const DatasetOptions& options) {
  SHIRA_CHECK(ConfigError, options.sequence_len >= 2, "[load_dataset] got sequence_len ",
              options.sequence_len, ", expected 2 or more: a single token predicts nothing.");
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Sample> samples = find_type(type)(path, tokenizer, options);
  drop_without_target(samples, path, options.sequence_len);
  log_slow_load(samples, path, begin);
  return samples;
}

DatasetSplit split_datasets(std::vector<SampleSet> sets, double val_set_size, std::uint64_t seed) {
  std::int64_t total = 0;
  for (const SampleSet& set : sets) total += std::ssize(set.samples);
  const std::vector<bool> is_held_out = choose_held_out(total, val_set_size, seed);
  DatasetSplit split;
  auto next = is_held_out.begin();
  for (SampleSet& set : sets) {
    std::vector<Sample>& kept = split.train.emplace_back(SampleSet{{}, set.weight}).samples;
    for (Sample& sample : set.samples) {
      (*next++ ? split.validation : kept).push_back(std::move(sample));
    }
  }
  return split;
}

}  // namespace shira
