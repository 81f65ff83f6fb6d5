// Special tokens, streaming and errors; ids themselves are held against sentencepiece's own package
// in tests/cli/test_tokenize.py.
#include "io/expect_error.h"
#include "io/temporary_directory.h"
#include "text/asset_tokenizer.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

TEST(Tokenizer, AddsSpecialTokensAsTheModelsSettingsAsk) {
  const TemporaryDirectory directory;
  write_file(directory / "tokenizer.model", read_file(asset_directory() / "tokenizer.model"));
  const auto encode = [&](const std::string& settings, SpecialTokens special) {
    write_file(directory / "tokenizer_config.json", settings);
    return Tokenizer(directory.path()).encode("Once", special);
  };
  const TokenIds plain = encode("{}", SpecialTokens::kNone);
  TokenIds with_bos = plain;
  with_bos.insert(with_bos.begin(), 1);
  TokenIds with_both = with_bos;
  with_both.push_back(2);
  EXPECT_EQ(encode("{}", SpecialTokens::kModel), with_bos);  // LLaMA's default
  EXPECT_EQ(encode(R"({"add_eos_token": true})", SpecialTokens::kModel), with_both);
  EXPECT_EQ(encode(R"({"add_bos_token": false})", SpecialTokens::kModel), plain);
  EXPECT_EQ(asset_tokenizer().decode(with_both), "Once");
}

TEST(Tokenizer, APairIsEncodedAsOneTextAndCutWhereTheAnswerBegins) {
  const Tokenizer tokenizer = asset_tokenizer();
  const auto expect_pair = [&](const std::string& prompt, const std::string& answer,
                               const std::string& prompt_pieces) {
    const auto [first, second] = tokenizer.encode_pair(prompt, answer);
    std::string pieces;
    for (const std::int64_t id : first) pieces += tokenizer.piece(id);
    EXPECT_EQ(pieces, prompt_pieces);
    TokenIds joined = first;
    joined.insert(joined.end(), second.begin(), second.end());
    EXPECT_EQ(joined, tokenizer.encode(prompt + answer));
  };
  expect_pair("Once:", " upon", "▁Once:");
  expect_pair("Once:\n", "upon", "▁Once:\n");
  expect_pair("Once: ", "upon", "▁Once:");  // "▁up" begins in the prompt
  expect_pair("Once", "", "▁Once");
  expect_pair("", "Once", "");
  expect_pair("é\U0001F600", "\U0001F600 ok", "▁<0xC3><0xA9><0xF0><0x9F><0x98><0x80>");
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = asset_tokenizer();
  expect_error<Error>([&] { (void)tokenizer.decode({tokenizer.vocab_size()}); }, {"vocabulary"});
  expect_error<Error>([&] { (void)tokenizer.decode({-1}); }, {"-1"});
}

TEST(StreamDecoder, PiecesAddUpToTheWholeTextAndNeverSplitACharacter) {
  const Tokenizer tokenizer = asset_tokenizer();
  const std::string text =
      " ran to the café. \xF0\x9F\x98\x80\xF0\x9F\x90\xB6 \xE6\x97\xA5!\n\n  The end";
  const TokenIds prompt = tokenizer.encode("The dog");
  const TokenIds whole = tokenizer.encode("The dog" + text);
  ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin()));
  StreamDecoder decoder(tokenizer, prompt);
  std::string streamed;
  for (auto id = whole.begin() + static_cast<std::ptrdiff_t>(prompt.size()); id != whole.end();
       ++id) {
    const std::string piece = decoder.push(*id);
    if (!piece.empty()) {
      EXPECT_NE(static_cast<unsigned char>(piece.front()) & 0xC0, 0x80)
          << "starts inside a character";
    }
    streamed += piece;
  }
  EXPECT_EQ(streamed + decoder.finish(), text);
}

TEST(StreamDecoder, FinishGivesOutAnIncompleteCharacter) {
  const Tokenizer tokenizer = asset_tokenizer();
  const TokenIds emoji = tokenizer.encode("\xF0\x9F\x98\x80");
  StreamDecoder decoder(tokenizer, {tokenizer.bos_id()});
  std::string streamed;
  for (std::size_t i = 0; i + 1 < emoji.size(); ++i) streamed += decoder.push(emoji[i]);
  EXPECT_EQ(streamed.find("\xEF\xBF\xBD"), std::string::npos);
  EXPECT_NE(decoder.finish().find("\xEF\xBF\xBD"), std::string::npos);
}

}  // namespace
}  // namespace shira
