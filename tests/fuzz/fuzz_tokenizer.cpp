// Any tokenizer_config.json and tokenizer.model are either refused with IoError or encode and
// decode texts to what is in range. An input is the first, a line of "=====" and the second.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/text/tokenizer.h>

namespace {

void check_accepted(const shira::Tokenizer& tokenizer) {
  for (const std::string text :
       {"", "  Once upon\ta time\n", "ﬁ Å ½ \xe6\x97\xa5\xff", "aaaaaaaa"}) {
    const shira::TokenIds ids = tokenizer.encode(text);
    for (const std::int64_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    tokenizer.decode(ids);
    tokenizer.encode(text, shira::SpecialTokens::kModel);
  }
  if (tokenizer.vocab_size() > 0) tokenizer.piece(tokenizer.vocab_size() - 1);
}

}  // namespace

std::vector<std::string> fuzz_seeds() { return {}; }  // the corpus has them

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  const auto [config, model] = shira::two_parts(data, size);
  directory.write("tokenizer_config.json", config);
  directory.write("tokenizer.model", model);
  try {
    check_accepted(shira::Tokenizer(directory.path()));
  } catch (const shira::IoError&) {
  }
  return 0;
}
