// Text on its way through a tokenizer's pipeline, which knows where it came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool operator==(const TextRange&) const = default;
};

/// A text and, where it is followed, for each byte the byte of the input at which its character
/// begins.
class AlignedText {
 public:
  AlignedText() = default;
  /// `text` begins at byte `start` of the input.
  AlignedText(std::string_view text, std::size_t start, bool traced);

  const std::string& text() const { return text_; }
  bool traced() const { return traced_; }
  std::size_t origin(std::size_t byte) const { return origins_[byte]; }

  /// An empty text to rebuild this one in.
  AlignedText rebuilt() const;
  /// Appends a range of `source` as it is.
  void append(const AlignedText& source, TextRange range);
  /// Appends `replacement`, which stands for a range of `source`: for its first character. An empty
  /// range: for the character that follows, or the last one.
  void append(const AlignedText& source, TextRange range, std::string_view replacement);

 private:
  std::string text_;
  std::vector<std::uint32_t> origins_;
  bool traced_ = false;
};

}  // namespace shira
