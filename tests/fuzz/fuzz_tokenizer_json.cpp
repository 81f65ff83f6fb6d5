// Any tokenizer.json is either refused with an Error that names the file, or encodes texts to ids
// that are in range and that decode.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/text/tokenizer.h>

namespace {

void check_accepted(const shira::Tokenizer& tokenizer) {
  for (const std::string text :
       {"", " the the  sea\n", "e\xcc\x81 \xef\xac\x81 \xe6\x97\xa5\xff<s> 12",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const shira::TokenIds ids = tokenizer.encode(text);
    for (const std::int64_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    tokenizer.decode(ids);
    tokenizer.encode(text, shira::SpecialTokens::kModel);
  }
  const auto [prompt, answer] = tokenizer.encode_pair("the ", "sea");
  if (tokenizer.vocab_size() > 0) tokenizer.piece(tokenizer.vocab_size() - 1);
}

/// `parts`: what a file has beside its model, which has `size` pieces.
std::string file_with(const std::string& parts, const std::string& model, int size) {
  return R"({"added_tokens":[{"id":)" + std::to_string(size) +
         R"(,"content":"<s>","special":true},{"id":)" + std::to_string(size + 1) +
         R"(,"content":"sea","normalized":true,"lstrip":true,"rstrip":true,"single_word":true}],)" +
         parts + R"(,"model":)" + model + "}";
}

constexpr const char* kBpe =
    R"({"type":"BPE","vocab":{"t":0,"h":1,"e":2,"th":3,"the":4,"a":5,"aa":6,"Ġ":7,"▁":8},)"
    R"("merges":[["t","h"],["th","e"],["a","a"]],"unk_token":"a","fuse_unk":true})";
constexpr const char* kClip =
    R"({"type":"BPE","vocab":{"t":0,"h":1,"e</w>":2,"th":3,"the</w>":4,"a":5},)"
    R"("merges":["t h","th e</w>"],"end_of_word_suffix":"</w>","byte_fallback":true,)"
    R"("ignore_merges":true})";
constexpr const char* kUnigram =
    R"({"type":"Unigram","vocab":[["<unk>",0.0],["a",-1.5],["the",-2.5],["▁",-3.0]],"unk_id":0})";

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      file_with(
          R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Strip"},)"
          R"({"type":"Lowercase"},{"type":"StripAccents"}]},"pre_tokenizer":{"type":)"
          R"("Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)"
          R"x("(?i:'s)|[^\\s\\p{L}]?\\p{L}++|\\d{1,3}+|[[:punct:]\\S]|\\b|\\s+(?!\\S)"},"behavior":"Isolated"},)x"
          R"({"type":"ByteLevel","use_regex":false}]},"decoder":{"type":"ByteLevel"},)"
          R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":)"
          R"({"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[9]}}})",
          kBpe, 9),
      file_with(
          R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
          R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"decoder":{"type":)"
          R"("Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":)"
          R"(" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ",)"
          R"("start":1,"stop":0}]})",
          kBpe, 9),
      file_with(R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},)"
                R"({"type":"Digits","individual_digits":true},{"type":"Punctuation"},)"
                R"({"type":"Split","pattern":{"String":"e"},"behavior":"MergedWithNext",)"
                R"("invert":true}]},"post_processor":{"type":"RobertaProcessing","sep":["<s>",6],)"
                R"("cls":["<s>",6]},"decoder":{"type":"BPEDecoder"})",
                kClip, 6),
      // A map of one rule: "a" to "b".
      file_with(R"("normalizer":{"type":"Precompiled","precompiled_charsmap":)"
                R"("EAAAAAAEAAAAAAAAAAAAAAAAAABiAA=="},"pre_tokenizer":{"type":"Metaspace",)"
                R"("prepend_scheme":"first"},"decoder":{"type":"Metaspace"})",
                kUnigram, 4)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("tokenizer.json", std::string(reinterpret_cast<const char*>(data), size));
  try {
    check_accepted(shira::Tokenizer(directory.path()));
  } catch (const shira::Error&) {
  }
  return 0;
}
