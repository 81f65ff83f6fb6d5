// The pre_tokenizer of a tokenizer.json: cuts a text into the words that the model sees one by one.
#pragma once

#include "aligned_text.h"
#include "json_component.h"

#include <functional>
#include <vector>

namespace shira {

/// A text and its words, in order; what lies between them is dropped.
struct Words {
  AlignedText text;
  std::vector<TextRange> ranges;
  bool at_start = true;  // whether the text begins where the input does
};

using PreTokenizer = std::function<void(Words&)>;

/// `component`: an object of the "pre_tokenizer" key. ByteLevel here only cuts: that its words are
/// bytes is the model's affair. IoError names what is not supported.
PreTokenizer make_pre_tokenizer(const JsonComponent& component);

/// Whether `component` asks where in the input a word begins: it then needs a traced text, if that
/// was normalised.
bool looks_at_origins(const JsonComponent& component);

/// Whether `component` is or ends with ByteLevel: the model then sees bytes.
bool ends_in_bytes(const JsonComponent& component);

}  // namespace shira
