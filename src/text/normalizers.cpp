// As in huggingface/tokenizers, src/normalizers. Unicode's normal forms are utf8proc's.
#include "normalizers.h"

#include "precompiled_map.h"
#include "text_pattern.h"
#include "utf8.h"

#include <utf8proc.h>

#include <array>

namespace shira {
namespace {

using Character = std::string_view;

/// Rebuilds a text from one replacement for each character.
template <typename Replace>
AlignedText for_each_character(const AlignedText& text, const Replace& replace) {
  AlignedText result = text.rebuilt();
  const std::string& bytes = text.text();
  std::string replacement;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t size = utf8_size(bytes, i);
    replacement.clear();
    replace(utf8_decode(bytes, i), replacement);
    result.append(text, {i, i + size}, replacement);
    i += size;
  }
  return result;
}

// --- Unicode's normal forms ---------------------------------------------------------------------

/// Whether normalisation never changes a character nor combines it with the one before it: Latin-1
/// and the Latin letters composed of it (in NFC), Chinese characters.
bool is_plain(char32_t c, utf8proc_option_t form) {
  if (c < 0x80) return true;
  const bool composes = (form & UTF8PROC_COMPOSE) != 0 && (form & UTF8PROC_COMPAT) == 0;
  return (composes && c < 0x300) || (c >= 0x4E00 && c <= 0x9FFF);
}

bool is_mark(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

/// Whether `c` may combine with what precedes it: marks, and the vowels and finals of Hangul.
bool joins_previous(char32_t c) { return (c >= 0x1160 && c <= 0x11FF) || is_mark(c); }

/// The normal form of a character and those that join it.
void append_normal_form(std::string& out, Character cluster, utf8proc_option_t form) {
  std::vector<utf8proc_int32_t> buffer(64);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(cluster.data());
  const auto size = static_cast<utf8proc_ssize_t>(cluster.size());
  auto count = utf8proc_decompose(bytes, size, buffer.data(), std::ssize(buffer), form);
  if (count > std::ssize(buffer)) {
    buffer.resize(static_cast<std::size_t>(count));
    count = utf8proc_decompose(bytes, size, buffer.data(), std::ssize(buffer), form);
  }
  if (count >= 0) count = utf8proc_normalize_utf32(buffer.data(), count, form);
  SHIRA_CHECK(Error, count >= 0, "[normalize] ", utf8proc_errmsg(count), ".");
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(buffer[i]));
}

AlignedText to_normal_form(AlignedText text, utf8proc_option_t form) {
  const std::string& bytes = text.text();
  AlignedText result = text.rebuilt();
  std::string replacement;
  std::size_t copied = 0;
  std::size_t i = 0;
  while (i < bytes.size()) {
    // A cluster: a character and those that join it.
    bool plain = is_plain(utf8_decode(bytes, i), form);
    std::size_t end = i + utf8_size(bytes, i);
    while (end < bytes.size()) {
      const char32_t next = utf8_decode(bytes, end);
      if (next < 0x300 || !joins_previous(next)) break;
      plain = false;
      end += utf8_size(bytes, end);
    }
    if (!plain) {
      replacement.clear();
      append_normal_form(replacement, Character(bytes).substr(i, end - i), form);
      const Character cluster = Character(bytes).substr(i, end - i);
      if (cluster != replacement) {
        // What stays as it is stands for itself: a mark that begins an answer is the answer's.
        std::size_t kept = 0;
        const std::size_t first = utf8_size(cluster, 0);
        if (Character(replacement).starts_with(cluster.substr(0, first))) kept = first;
        result.append(text, {copied, i + kept});
        result.append(text, {i + kept, end}, Character(replacement).substr(kept));
        copied = end;
      }
    }
    i = end;
  }
  if (copied == 0) return text;
  result.append(text, {copied, bytes.size()});
  return result;
}

template <int kForm>
Normalizer make_normal_form(const JsonComponent& /*component*/) {
  return [](AlignedText text) {
    return to_normal_form(std::move(text), static_cast<utf8proc_option_t>(kForm));
  };
}

// --- the others ---------------------------------------------------------------------------------

Normalizer make_steps_of_normalizers(const JsonComponent& component) {
  std::vector<Normalizer> steps;
  for (const JsonComponent& step : component.at("normalizers").list()) {
    steps.push_back(make_normalizer(step));
  }
  return [steps](AlignedText text) {
    for (const Normalizer& step : steps) text = step(std::move(text));
    return text;
  };
}

/// Each character for itself, as Rust's char::to_lowercase.
Normalizer make_lowercase(const JsonComponent& /*component*/) {
  return [](AlignedText text) {
    return for_each_character(text, [](char32_t c, std::string& out) {
      append_utf8(out,
                  c == 0x130 ? U'i' : static_cast<char32_t>(utf8proc_tolower(static_cast<int>(c))));
      if (c == 0x130) append_utf8(out, 0x307);  // the one letter whose lower case is two
    });
  };
}

Normalizer make_strip_accents(const JsonComponent& /*component*/) {
  return [](AlignedText text) {
    return for_each_character(text, [](char32_t c, std::string& out) {
      if (!is_mark(c)) append_utf8(out, c);
    });
  };
}

Normalizer make_strip(const JsonComponent& component) {
  const bool left = component.get("strip_left", true);
  const bool right = component.get("strip_right", true);
  return [left, right](const AlignedText& text) {
    const std::string& bytes = text.text();
    TextRange kept{bytes.size(), 0};
    for (std::size_t i = 0; i < bytes.size(); i += utf8_size(bytes, i)) {
      if (is_white_space(utf8_decode(bytes, i))) continue;
      kept.begin = std::min(kept.begin, i);
      kept.end = i + utf8_size(bytes, i);
    }
    if (!left) kept.begin = 0;
    if (!right) kept.end = bytes.size();
    AlignedText result = text.rebuilt();
    if (kept.begin < kept.end) result.append(text, kept);
    return result;
  };
}

Normalizer make_replace(const JsonComponent& component) {
  const TextPattern pattern(component.at("pattern"));
  component.require(!pattern.matches_empty(), "a pattern that may match nothing is not supported");
  return [pattern, content = component.get<std::string>("content")](AlignedText text) {
    const std::vector<TextRange> matches = pattern.matches(text.text());
    if (matches.empty()) return text;
    AlignedText result = text.rebuilt();
    std::size_t copied = 0;
    for (const TextRange match : matches) {
      result.append(text, {copied, match.begin});
      result.append(text, match, content);
      copied = match.end;
    }
    result.append(text, {copied, text.text().size()});
    return result;
  };
}

Normalizer make_prepend(const JsonComponent& component) {
  const auto prefix = component.get<std::string>("prepend");
  component.require(!prefix.empty(), "prepend is empty");
  return [prefix](AlignedText text) {
    if (text.text().empty()) return text;
    AlignedText result = text.rebuilt();
    result.append(text, {0, 0}, prefix);
    result.append(text, {0, text.text().size()});
    return result;
  };
}

Normalizer make_precompiled(const JsonComponent& component) {
  const auto encoded = component.get<std::string>("precompiled_charsmap");
  try {
    return [map = std::make_shared<PrecompiledMap>(encoded)](const AlignedText& text) {
      return map->apply(text);
    };
  } catch (const IoError& error) {
    component.at("precompiled_charsmap").fail(error.what());
  }
}

}  // namespace

Normalizer make_normalizer(const JsonComponent& component) {
  static const std::map<std::string, Normalizer (*)(const JsonComponent&)> table = {
      {"Sequence", make_steps_of_normalizers},
      {"NFC", make_normal_form < UTF8PROC_STABLE | UTF8PROC_COMPOSE > },
      {"NFD", make_normal_form < UTF8PROC_STABLE | UTF8PROC_DECOMPOSE > },
      {"NFKC", make_normal_form < UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT > },
      {"NFKD", make_normal_form < UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT > },
      {"Lowercase", make_lowercase},
      {"StripAccents", make_strip_accents},
      {"Strip", make_strip},
      {"Replace", make_replace},
      {"Prepend", make_prepend},
      {"Precompiled", make_precompiled}};
  return component.choose(table)(component);
}

}  // namespace shira
