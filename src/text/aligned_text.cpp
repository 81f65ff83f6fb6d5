#include "aligned_text.h"

#include <shira/base/error.h>

#include <algorithm>
#include <limits>

namespace shira {

AlignedText::AlignedText(std::string_view text, std::size_t start, bool traced)
    : text_(text), traced_(traced) {
  if (!traced) return;
  SHIRA_CHECK(Error, start + text.size() <= std::numeric_limits<std::uint32_t>::max(),
              "a text of 4 GiB or more cannot be cut into prompt and answer.");
  origins_.reserve(text.size());
  std::uint32_t character = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool continues = (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
    if (!continues) character = static_cast<std::uint32_t>(start + i);
    origins_.push_back(character);
  }
}

AlignedText AlignedText::rebuilt() const {
  AlignedText empty;
  empty.traced_ = traced_;
  empty.text_.reserve(text_.size() + text_.size() / 8);
  return empty;
}

void AlignedText::append(const AlignedText& source, TextRange range) {
  text_.append(source.text_, range.begin, range.end - range.begin);
  if (!traced_) return;
  const auto begin = source.origins_.begin();
  origins_.insert(origins_.end(), begin + static_cast<std::ptrdiff_t>(range.begin),
                  begin + static_cast<std::ptrdiff_t>(range.end));
}

void AlignedText::append(const AlignedText& source, TextRange range, std::string_view replacement) {
  text_.append(replacement);
  if (!traced_ || replacement.empty() || source.origins_.empty()) return;
  const std::size_t character = std::min(range.begin, source.origins_.size() - 1);
  origins_.insert(origins_.end(), replacement.size(), source.origins_[character]);
}

}  // namespace shira
