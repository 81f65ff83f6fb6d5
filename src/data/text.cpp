// Types text and completion: text without a prompt.
#include "dataset_types.h"
#include "records.h"
#include "sample_parts.h"
#include "text/utf8.h"

#include <shira/base/error.h>

namespace shira {

std::vector<Sample> load_text(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              const DatasetOptions& options) {
  const TokenIds ids = tokenizer.encode(read_utf8_file(path));
  SHIRA_CHECK(IoError, ids.size() >= 2, path.string(), ": holds ", ids.size(),
              " tokens; at least 2 are needed.");
  return cut_into_windows(ids, options.sequence_len);
}

std::vector<Sample> completion_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                       const DatasetOptions& options) {
  Sample whole;
  if (tokenizer.adds_bos()) append_special(whole, tokenizer.bos_id(), /*learn=*/true);
  append(whole, tokenizer.encode(text_field(record, "text", "an object with a text")),
         /*learn=*/true);
  append_special(whole, tokenizer.eos_id(), /*learn=*/true);
  return cut_into_windows(whole.ids, options.sequence_len);
}

}  // namespace shira
