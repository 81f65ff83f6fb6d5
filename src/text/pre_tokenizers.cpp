// As in huggingface/tokenizers, src/pre_tokenizers.
#include "pre_tokenizers.h"

#include "metaspace.h"
#include "text_pattern.h"
#include "utf8.h"

#include <algorithm>

namespace shira {
namespace {

// --- cutting ------------------------------------------------------------------------------------

/// A part of a word: a match of the delimiter, or what lies between two.
struct Part {
  TextRange range;
  bool is_match = false;
};

/// What becomes of the delimiters.
using Behavior = void (*)(const std::vector<Part>&, std::vector<TextRange>&);

void isolate(const std::vector<Part>& parts, std::vector<TextRange>& out) {
  for (const Part& part : parts) out.push_back(part.range);
}

void remove(const std::vector<Part>& parts, std::vector<TextRange>& out) {
  for (const Part& part : parts) {
    if (!part.is_match) out.push_back(part.range);
  }
}

void join_like(const std::vector<Part>& parts, std::vector<TextRange>& out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i].is_match == parts[i - 1].is_match) {
      out.back().end = parts[i].range.end;
    } else {
      out.push_back(parts[i].range);
    }
  }
}

void merge_with_previous(const std::vector<Part>& parts, std::vector<TextRange>& out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i].is_match && !parts[i - 1].is_match) {
      out.back().end = parts[i].range.end;
    } else {
      out.push_back(parts[i].range);
    }
  }
}

void merge_with_next(const std::vector<Part>& parts, std::vector<TextRange>& out) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && parts[i - 1].is_match && !parts[i].is_match) {
      out.back().end = parts[i].range.end;
    } else {
      out.push_back(parts[i].range);
    }
  }
}

/// Cuts every word at the matches of `pattern`.
void cut(Words& words, const TextPattern& pattern, bool invert, Behavior behavior) {
  std::vector<TextRange> result;
  result.reserve(words.text.text().size() / 4);
  std::vector<Part> parts;
  const std::string_view text = words.text.text();
  for (const TextRange word : words.ranges) {
    parts.clear();
    const auto add = [&](std::size_t begin, std::size_t end, bool is_match) {
      if (is_match || begin < end)  // a match may be empty
        parts.push_back({{word.begin + begin, word.begin + end}, is_match != invert});
    };
    std::size_t done = 0;
    const std::size_t size = word.end - word.begin;
    for (const TextRange match : pattern.matches(text.substr(word.begin, size))) {
      add(done, match.begin, false);
      add(match.begin, match.end, true);
      done = match.end;
    }
    add(done, size, false);
    behavior(parts, result);
  }
  std::erase_if(result, [](TextRange range) { return range.begin == range.end; });
  words.ranges = std::move(result);
}

PreTokenizer make_cut(TextPattern pattern, bool invert, Behavior behavior) {
  return [pattern = std::move(pattern), invert, behavior](Words& words) {
    cut(words, pattern, invert, behavior);
  };
}

// --- components ---------------------------------------------------------------------------------

Behavior read_behavior(const JsonComponent& component) {
  static const std::map<std::string, Behavior> table = {{"Removed", remove},
                                                        {"Isolated", isolate},
                                                        {"MergedWithPrevious", merge_with_previous},
                                                        {"MergedWithNext", merge_with_next},
                                                        {"Contiguous", join_like}};
  return component.choose(table, component.as<std::string>());
}

PreTokenizer make_split(const JsonComponent& component) {
  return make_cut(TextPattern(component.at("pattern")), component.get("invert", false),
                  read_behavior(component.at("behavior")));
}

/// Rebuilds the text of all words; `append` adds one to the new text.
template <typename Append>
void rewrite(Words& words, const Append& append) {
  AlignedText text = words.text.rebuilt();
  std::vector<TextRange> ranges;
  for (const TextRange word : words.ranges) {
    const std::size_t begin = text.text().size();
    append(word, text);
    ranges.push_back({begin, text.text().size()});
  }
  words.text = std::move(text);
  words.ranges = std::move(ranges);
}

PreTokenizer make_byte_level(const JsonComponent& component) {
  const bool adds_space = component.get("add_prefix_space", true);
  const bool cuts = component.get("use_regex", true);
  const auto pattern = TextPattern::regex(
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  return [=](Words& words) {
    if (adds_space) {
      rewrite(words, [&words](TextRange word, AlignedText& out) {
        if (words.text.text()[word.begin] != ' ')
          out.append(words.text, {word.begin, word.begin}, " ");
        out.append(words.text, word);
      });
    }
    if (cuts) cut(words, pattern, /*invert=*/false, isolate);
  };
}

PreTokenizer make_metaspace(const JsonComponent& component) {
  const auto [mark, scheme] = read_metaspace(component);
  const bool cuts = component.get("split", true);
  return [mark = mark, scheme = scheme, cuts, pattern = TextPattern(mark)](Words& words) {
    const std::string& bytes = words.text.text();
    rewrite(words, [&](TextRange word, AlignedText& out) {
      // Where the text was normalised, all that its first character became is at the start.
      const bool is_first = words.text.traced() ? words.text.origin(word.begin) == 0
                                                : words.at_start && word.begin == 0;
      const bool is_marked =
          bytes[word.begin] == ' ' || std::string_view(bytes).substr(word.begin).starts_with(mark);
      if (!is_marked && (scheme == "always" || (scheme == "first" && is_first))) {
        out.append(words.text, {word.begin, word.begin}, mark);
      }
      std::size_t copied = word.begin;
      for (std::size_t i = word.begin; i < word.end; ++i) {
        if (bytes[i] != ' ') continue;
        out.append(words.text, {copied, i});
        out.append(words.text, {i, i + 1}, mark);
        copied = i + 1;
      }
      out.append(words.text, {copied, word.end});
    });
    if (cuts) cut(words, pattern, /*invert=*/false, merge_with_next);
  };
}

PreTokenizer make_digits(const JsonComponent& component) {
  const bool individual = component.get("individual_digits", false);
  return make_cut(TextPattern::regex(R"(\p{N})"), false, individual ? isolate : join_like);
}

PreTokenizer make_punctuation(const JsonComponent& component) {
  const Behavior behavior =
      component.is_null("behavior") ? isolate : read_behavior(component.at("behavior"));
  return make_cut(TextPattern::regex(R"([\p{P}$+<=>^`|~])"), false, behavior);
}

PreTokenizer make_whitespace(const JsonComponent& /*component*/) {
  // Rust's \w has the joiners too.
  return make_cut(TextPattern::regex(R"([\w\x{200C}\x{200D}]+|[^\w\s\x{200C}\x{200D}]+)"),
                  /*invert=*/true, remove);
}

PreTokenizer make_whitespace_split(const JsonComponent& /*component*/) {
  return make_cut(TextPattern::regex(R"(\s)"), false, remove);
}

PreTokenizer make_steps(const JsonComponent& component) {
  std::vector<PreTokenizer> steps;
  const std::vector<JsonComponent> list = component.at("pretokenizers").list();
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i].require(i + 1 == list.size() || !ends_in_bytes(list[i]),
                    "ByteLevel is supported as the last step only");
    steps.push_back(make_pre_tokenizer(list[i]));
  }
  return [steps](Words& words) {
    for (const PreTokenizer& step : steps) step(words);
  };
}

}  // namespace

PreTokenizer make_pre_tokenizer(const JsonComponent& component) {
  static const std::map<std::string, PreTokenizer (*)(const JsonComponent&)> table = {
      {"Sequence", make_steps},        {"Split", make_split},
      {"ByteLevel", make_byte_level},  {"Metaspace", make_metaspace},
      {"Digits", make_digits},         {"Punctuation", make_punctuation},
      {"Whitespace", make_whitespace}, {"WhitespaceSplit", make_whitespace_split}};
  return component.choose(table)(component);
}

bool looks_at_origins(const JsonComponent& component) {
  const auto type = component.get<std::string>("type", "");
  if (type != "Sequence") return type == "Metaspace" && read_metaspace(component).scheme == "first";
  const std::vector<JsonComponent> steps = component.at("pretokenizers").list();
  return std::any_of(steps.begin(), steps.end(), looks_at_origins);
}

bool ends_in_bytes(const JsonComponent& component) {
  const auto type = component.get<std::string>("type", "");
  if (type != "Sequence") return type == "ByteLevel";
  const std::vector<JsonComponent> steps = component.at("pretokenizers").list();
  return !steps.empty() && ends_in_bytes(steps.back());
}

}  // namespace shira
