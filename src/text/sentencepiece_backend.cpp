// The only file that knows sentencepiece. Its normaliser flags live in tokenizer.model and are
// honoured by the library itself.
#include "sentencepiece_backend.h"

#include "io/sentencepiece_model.h"

#include <shira/base/error.h>
#include <shira/base/export.h>
#include <shira/io/atomic_file.h>

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstddef>

/// Not used here. libsentencepiece and libc10 both export a variable of this name, an object of 32
/// bytes and an int, and the loader gives both the first that it finds. Where that was libc10's,
/// sentencepiece overwrote what lies behind it, caffe2_use_fatal_for_enforce first: a failed
/// allocation ended the process. Where libshira comes before LibTorch in the loader's order, as in
/// a program that links it first, both get this one, which has room for either; libc10 only
/// registers its address.
extern "C" {
SHIRA_API alignas(std::max_align_t) std::byte FLAGS_minloglevel[256] = {};
}

namespace shira {
namespace {

class SentencePiece : public TokenizerBackend {
 public:
  explicit SentencePiece(const std::filesystem::path& file);

  TokenIds encode(std::string_view text) const override;
  std::vector<TracedToken> encode_traced(std::string_view text) const override;
  std::string decode(const TokenIds& ids) const override {
    return processor_.DecodeIds(std::vector<int>(ids.begin(), ids.end()));
  }
  std::string piece(std::int64_t id) const override {
    return processor_.IdToPiece(static_cast<int>(id));
  }
  std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int64_t id_of(const std::string& piece) const override {
    const int id = processor_.PieceToId(piece);
    return processor_.IdToPiece(id) == piece ? id : -1;
  }
  std::int64_t bos_id() const override { return processor_.bos_id(); }
  std::int64_t eos_id() const override { return processor_.eos_id(); }
  /// LLaMA's.
  TokenIds prefix() const override {
    return processor_.bos_id() < 0 ? TokenIds() : TokenIds{processor_.bos_id()};
  }
  TokenIds suffix() const override { return {}; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

SentencePiece::SentencePiece(const std::filesystem::path& file) {
  const std::string model = read_file(file);
  try {
    detail::check_sentencepiece_model(model);  // the library would crash
  } catch (const IoError& error) {
    throw IoError(
        detail::concat(file.string(), ": not a sentencepiece model: ", error.what(), "."));
  }
  const auto status = processor_.LoadFromSerializedProto(model);
  SHIRA_CHECK(IoError, status.ok(), file.string(),
              ": not a sentencepiece model: ", status.ToString(), ".");
}

TokenIds SentencePiece::encode(std::string_view text) const {
  const std::vector<int> ids = processor_.EncodeAsIds({text.data(), text.size()});
  return {ids.begin(), ids.end()};
}

std::vector<TracedToken> SentencePiece::encode_traced(std::string_view text) const {
  const auto encoded = processor_.EncodeAsImmutableProto({text.data(), text.size()});
  std::vector<TracedToken> tokens;
  for (std::size_t i = 0; i < encoded.pieces_size(); ++i) {
    const auto piece = encoded.pieces(i);
    // All but the last of a character's byte pieces are empty: they begin where the character does.
    const std::size_t last = std::max<std::size_t>(piece.begin() + 1, piece.end()) - 1;
    tokens.push_back({static_cast<std::int64_t>(piece.id()), last});
  }
  return tokens;
}

}  // namespace

std::unique_ptr<TokenizerBackend> load_sentencepiece(const std::filesystem::path& file) {
  return std::make_unique<SentencePiece>(file);
}

}  // namespace shira
