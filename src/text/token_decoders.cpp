// As in huggingface/tokenizers, src/decoders.
#include "token_decoders.h"

#include "byte_alphabet.h"
#include "metaspace.h"
#include "text_pattern.h"
#include "utf8.h"

#include <charconv>
#include <optional>

namespace shira {
namespace {

using Pieces = std::vector<std::string>;

std::string join(const Pieces& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

TokenDecoder decode_steps(const JsonComponent& component) {
  std::vector<TokenDecoder> steps;
  for (const JsonComponent& step : component.at("decoders").list()) {
    steps.push_back(make_token_decoder(step));
  }
  return [steps](Pieces pieces) {
    for (const TokenDecoder& step : steps) pieces = step(std::move(pieces));
    return pieces;
  };
}

/// A piece with a character outside the alphabet stands for itself.
TokenDecoder decode_bytes(const JsonComponent& /*component*/) {
  return [](const Pieces& pieces) {
    std::string bytes;
    for (const std::string& piece : pieces) bytes += bytes_of(piece).value_or(piece);
    return Pieces{replace_invalid_utf8(bytes)};
  };
}

/// The byte of "<0x0A>".
std::optional<char> fallback_byte(const std::string& piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned char byte = 0;
  const char* end = piece.data() + 5;
  if (std::from_chars(piece.data() + 3, end, byte, 16).ptr != end) return std::nullopt;
  return static_cast<char>(byte);
}

/// Runs of bytes; a run that is not UTF-8 is a replacement character for each byte.
TokenDecoder decode_byte_fallback(const JsonComponent& /*component*/) {
  return [](const Pieces& pieces) {
    Pieces result;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (find_invalid_utf8(run) == run.npos) {
        result.push_back(run);
      } else {
        result.insert(result.end(), run.size(), "\uFFFD");
      }
      run.clear();
    };
    for (const std::string& piece : pieces) {
      if (const auto byte = fallback_byte(piece)) {
        run += *byte;
      } else {
        flush();
        result.push_back(piece);
      }
    }
    flush();
    return result;
  };
}

TokenDecoder decode_fused(const JsonComponent& /*component*/) {
  return [](const Pieces& pieces) { return Pieces{join(pieces)}; };
}

TokenDecoder decode_replaced(const JsonComponent& component) {
  return [pattern = TextPattern(component.at("pattern")),
          content = component.get<std::string>("content")](Pieces pieces) {
    for (std::string& piece : pieces) piece = pattern.replace(piece, content);
    return pieces;
  };
}

/// Takes at most `start` and `stop` of a character from each piece's ends.
TokenDecoder decode_stripped(const JsonComponent& component) {
  const auto content = component.get<std::string>("content");
  const auto start = component.get<std::size_t>("start");
  const auto stop = component.get<std::size_t>("stop");
  component.require(!content.empty(), "content is empty");
  return [content, start, stop](Pieces pieces) {
    for (std::string& piece : pieces) {
      std::string_view text = piece;
      for (std::size_t i = 0; i < start && text.starts_with(content); ++i) {
        text.remove_prefix(content.size());
      }
      for (std::size_t i = 0; i < stop && text.ends_with(content); ++i) {
        text.remove_suffix(content.size());
      }
      piece = std::string(text);
    }
    return pieces;
  };
}

TokenDecoder decode_metaspace(const JsonComponent& component) {
  const MetaspaceSettings settings = read_metaspace(component);
  const bool prepends = settings.scheme != "never";
  return [pattern = TextPattern(settings.mark), prepends](Pieces pieces) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      // Every mark of the first piece goes.
      pieces[i] = pattern.replace(pieces[i], i == 0 && prepends ? "" : " ");
    }
    return pieces;
  };
}

TokenDecoder decode_suffixes(const JsonComponent& component) {
  return [pattern = TextPattern(component.get<std::string>("suffix", "</w>"))](Pieces pieces) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      pieces[i] = pattern.replace(pieces[i], i + 1 == pieces.size() ? "" : " ");
    }
    return pieces;
  };
}

}  // namespace

TokenDecoder make_token_decoder(const JsonComponent& component) {
  static const std::map<std::string, TokenDecoder (*)(const JsonComponent&)> table = {
      {"Sequence", decode_steps},
      {"ByteLevel", decode_bytes},
      {"ByteFallback", decode_byte_fallback},
      {"Fuse", decode_fused},
      {"Replace", decode_replaced},
      {"Strip", decode_stripped},
      {"Metaspace", decode_metaspace},
      {"BPEDecoder", decode_suffixes}};
  return component.choose(table)(component);
}

}  // namespace shira
