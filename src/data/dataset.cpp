// What a file of each type becomes.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/data/dataset.h>
#include <shira/io/atomic_file.h>
#include <shira/kernels/philox.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

using nlohmann::json;

struct Record {
  json value;
  std::string where;  // "file.jsonl:12" or "file.json: record 3"
};

std::vector<Record> parse_json_lines(const std::string& text, const std::string& file) {
  std::vector<Record> records;
  std::size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view content(text.data() + begin, end - begin);
    begin = end + 1;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = file + ":" + std::to_string(line);
    json value = json::parse(content, nullptr, /*allow_exceptions=*/false);
    SHIRA_CHECK(IoError, value.is_object(), where, ": expected one JSON object a line.");
    records.push_back({std::move(value), where});
  }
  return records;
}

/// A JSON list of objects, or JSONL.
std::vector<Record> parse_records(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '[')
    return parse_json_lines(text, path.string());
  json list;
  try {
    list = json::parse(text);
  } catch (const json::parse_error& error) {
    throw IoError(detail::concat(path.string(), ": not valid JSON: ", error.what()));
  }
  std::vector<Record> records;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = path.string() + ": record " + std::to_string(i + 1);
    SHIRA_CHECK(IoError, list[i].is_object(), where, ": expected a JSON object.");
    records.push_back({std::move(list[i]), where});
  }
  return records;
}

std::string text_field(const Record& record, const char* key, bool required) {
  const bool absent = !record.value.contains(key) || record.value[key].is_null();
  SHIRA_CHECK(IoError, !absent || !required, record.where, ": no '", key,
              "'. Expected an object with ", "instruction, output and optionally input.");
  if (absent) return "";
  SHIRA_CHECK(IoError, record.value[key].is_string(), record.where, ": '", key, "' is not a text.");
  return record.value[key].get<std::string>();
}

/// BOS + prompt + answer + EOS; the answer's ids are those of the whole text, so that they are what
/// the model will be asked for at the boundary.
Sample make_instruction_sample(const Tokenizer& tokenizer, const std::string& prompt,
                               const std::string& answer, const InstructionOptions& options) {
  Sample sample;
  const auto append = [&sample](const TokenIds& ids, bool learn) {
    sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
    for (std::int64_t id : ids) sample.labels.push_back(learn ? id : kIgnoreLabel);
  };
  const TokenIds prompt_ids = tokenizer.encode(prompt);
  TokenIds whole_ids = tokenizer.encode(prompt + answer);
  const auto shared = static_cast<std::size_t>(
      std::mismatch(prompt_ids.begin(), prompt_ids.end(), whole_ids.begin(), whole_ids.end())
          .first -
      prompt_ids.begin());
  const auto boundary = whole_ids.begin() + static_cast<std::ptrdiff_t>(shared);
  if (tokenizer.adds_bos()) append({tokenizer.bos_id()}, options.train_on_inputs);
  append({whole_ids.begin(), boundary}, options.train_on_inputs);
  append({boundary, whole_ids.end()}, /*learn=*/true);
  if (tokenizer.eos_id() >= 0) append({tokenizer.eos_id()}, /*learn=*/true);
  const auto limit = std::min(sample.ids.size(), static_cast<std::size_t>(options.sequence_len));
  sample.ids.resize(limit);
  sample.labels.resize(limit);
  return sample;
}

/// Whether a label is left after the objective's shift.
bool has_target(const Sample& sample) {
  return std::any_of(sample.labels.begin() + 1, sample.labels.end(),
                     [](std::int64_t label) { return label != kIgnoreLabel; });
}

std::int64_t count_held_out(double val_set_size, std::int64_t total) {
  if (val_set_size <= 0.0) return 0;
  const auto samples = static_cast<double>(total);
  if (val_set_size >= 1.0) return static_cast<std::int64_t>(std::min(val_set_size, samples));
  return std::max<std::int64_t>(1, std::llround(val_set_size * samples));
}

}  // namespace

std::vector<Sample> load_text(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              std::int64_t sequence_len) {
  const TokenIds ids = tokenizer.encode(read_file(path));
  SHIRA_CHECK(IoError, ids.size() >= 2, path.string(), ": holds ", ids.size(),
              " tokens; at least 2 are needed.");
  std::vector<Sample> samples;
  for (std::size_t begin = 0; begin + 1 < ids.size();
       begin += static_cast<std::size_t>(sequence_len)) {
    const std::size_t end = std::min(begin + static_cast<std::size_t>(sequence_len), ids.size());
    TokenIds window(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                    ids.begin() + static_cast<std::ptrdiff_t>(end));
    samples.push_back({window, window});
  }
  return samples;
}

std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty()) {
    return "Below is an instruction that describes a task. Write a response that appropriately "
           "completes the request.\n\n### Instruction:\n" +
           instruction + "\n\n### Response:\n";
  }
  return "Below is an instruction that describes a task, paired with an input that provides "
         "further "
         "context. Write a response that appropriately completes the request.\n\n### "
         "Instruction:\n" +
         instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

std::vector<Sample> load_alpaca(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                const InstructionOptions& options) {
  std::vector<Sample> samples;
  std::size_t cut = 0;
  for (const Record& record : parse_records(path)) {
    const std::string prompt = alpaca_prompt(text_field(record, "instruction", /*required=*/true),
                                             text_field(record, "input", /*required=*/false));
    Sample sample =
        make_instruction_sample(tokenizer, prompt, text_field(record, "output", true), options);
    if (has_target(sample)) {
      samples.push_back(std::move(sample));
    } else {
      ++cut;
    }
  }
  if (cut > 0) {
    log_warning(detail::concat(path.string(), ": ", cut, " of ", cut + samples.size(),
                               " samples left out: their prompt fills sequence_len ",
                               options.sequence_len, "."));
  }
  SHIRA_CHECK(IoError, !samples.empty(), path.string(), ": holds no usable sample.");
  return samples;
}

DatasetSplit split_datasets(std::vector<SampleSet> sets, double val_set_size, std::uint64_t seed) {
  std::int64_t total = 0;
  for (const SampleSet& set : sets) total += std::ssize(set.samples);
  const std::int64_t held_out = count_held_out(val_set_size, total);
  SHIRA_CHECK(ConfigError, held_out < total, "val_set_size ", val_set_size, " takes ", held_out,
              " of ", total, " samples: none is left to train on.");
  PhiloxStream stream(seed, "validation split");
  const auto order = random_permutation(stream, total);
  std::vector<bool> is_held_out(static_cast<std::size_t>(total));
  for (std::int64_t i = 0; i < held_out; ++i) is_held_out[order[i]] = true;
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
