// As in huggingface/tokenizers, src/tokenizer/added_vocabulary.rs.
#include "added_tokens.h"

#include "unicode_regex.h"
#include "utf8.h"

#include <algorithm>

namespace shira {
namespace {

bool is_word_character(std::string_view character) {
  static const UnicodeRegex word(R"([\w\x{200C}\x{200D}])");  // as Rust's \w
  return word.find(character, 0).begin == 0;
}

std::size_t previous_character(std::string_view text, std::size_t end) {
  do {
    --end;
  } while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool stands_alone(std::string_view text, TextRange match) {
  if (match.begin > 0) {
    const std::size_t before = previous_character(text, match.begin);
    if (is_word_character(text.substr(before, match.begin - before))) return false;
  }
  return match.end == text.size() ||
         !is_word_character(text.substr(match.end, utf8_size(text, match.end)));
}

std::size_t skip_spaces_back(std::string_view text, std::size_t begin) {
  while (begin > 0) {
    const std::size_t before = previous_character(text, begin);
    if (!is_white_space(utf8_decode(text, before))) break;
    begin = before;
  }
  return begin;
}

std::size_t skip_spaces(std::string_view text, std::size_t end) {
  while (end < text.size() && is_white_space(utf8_decode(text, end))) end += utf8_size(text, end);
  return end;
}

}  // namespace

AddedToken read_added_token(const JsonComponent& component) {
  return {.id = component.get<std::int64_t>("id"),
          .content = component.get<std::string>("content"),
          .single_word = component.get("single_word", false),
          .lstrip = component.get("lstrip", false),
          .rstrip = component.get("rstrip", false),
          .normalized = component.get("normalized", false),
          .special = component.get("special", false)};
}

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  const auto first = [](const AddedToken& token) {
    return static_cast<unsigned char>(token.content[0]);
  };
  std::stable_sort(tokens_.begin(), tokens_.end(), [&](const auto& a, const auto& b) {
    return std::pair(first(a), b.content.size()) < std::pair(first(b), a.content.size());
  });
  std::size_t next = 0;
  for (int byte = 0; byte <= 256; ++byte) {
    while (next < tokens_.size() && first(tokens_[next]) < byte) ++next;
    first_.push_back(next);
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text) const {
  const auto byte = static_cast<unsigned char>(text[0]);
  for (std::size_t i = first_[byte]; i < first_[byte + 1]; ++i) {
    if (text.starts_with(tokens_[i].content)) return &tokens_[i];
  }
  return nullptr;
}

std::vector<AddedPart> AddedTokenFinder::split(std::string_view text) const {
  std::vector<AddedPart> parts;
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size() && !tokens_.empty();) {
    const AddedToken* token = longest_at(text.substr(i));
    if (token == nullptr) {
      ++i;
      continue;
    }
    TextRange match{i, i + token->content.size()};
    i = match.end;
    if (token->single_word && !stands_alone(text, match)) continue;
    if (token->lstrip) match.begin = std::max(skip_spaces_back(text, match.begin), done);
    const std::size_t content_end = match.end;
    if (token->rstrip) match.end = skip_spaces(text, match.end);
    if (done < match.begin) parts.push_back({{done, match.begin}, -1});
    parts.push_back({match, token->id, content_end});
    done = match.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, -1});
  return parts;
}

}  // namespace shira
