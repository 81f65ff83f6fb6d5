// Type alpaca: the records and the template of Stanford Alpaca
// (https://github.com/tatsu-lab/stanford_alpaca).
#include "dataset_types.h"
#include "records.h"
#include "sample_parts.h"

namespace shira {

std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty()) {
    return "Below is an instruction that describes a task. Write a response that appropriately "
           "completes the request.\n\n### Instruction:\n" +
           instruction + "\n\n### Response:\n";
  }
  return "Below is an instruction that describes a task, paired with an input that provides "
         "further context. Write a response that appropriately completes the request.\n\n"
         "### Instruction:\n" +
         instruction + "\n\n### Input:\n" + input + "\n\n### Response:\n";
}

std::vector<Sample> alpaca_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                   const DatasetOptions& options) {
  constexpr std::string_view kExpected = "an object with instruction, output and optionally input";
  const auto input = record.find("input");
  const bool has_input = input != record.end() && !input->is_null();
  const std::string prompt = alpaca_prompt(text_field(record, "instruction", kExpected),
                                           has_input ? text_field(record, "input", kExpected) : "");
  Sample sample;
  if (tokenizer.adds_bos()) append_special(sample, tokenizer.bos_id(), options.train_on_inputs);
  append_prompt_and_answer(sample, tokenizer, prompt, text_field(record, "output", kExpected),
                           options.train_on_inputs);
  append_special(sample, tokenizer.eos_id(), /*learn=*/true);
  return {cut(std::move(sample), options.sequence_len)};
}

}  // namespace shira
