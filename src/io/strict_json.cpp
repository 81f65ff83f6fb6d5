// Two passes over the text: one that only checks, one that builds the document.
#include "strict_json.h"

#include "quote.h"

#include <shira/base/error.h>

#include <set>
#include <string>
#include <vector>

namespace shira::detail {
namespace {

using nlohmann::json;

/// Follows the parser through the text and throws at the first offence. (A callback of json::parse
/// could do it too, but that parser takes quadratic time.)
class Strictness : public nlohmann::json_sax<json> {
 public:
  explicit Strictness(std::size_t max_depth) : max_depth_(max_depth) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

  bool start_object(std::size_t) override { return enter(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    SHIRA_CHECK(IoError, keys_.back().insert(name).second, "the JSON has the key ", quote(name),
                " twice");
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    throw IoError(concat("is not valid JSON: ", quote(error.what())));
  }

 private:
  bool enter() {
    SHIRA_CHECK(IoError, keys_.size() < max_depth_, "the JSON nests deeper than ", max_depth_,
                " levels");
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  std::size_t max_depth_;
  std::vector<std::set<std::string>> keys_;  // of every open object; empty for an array
};

}  // namespace

json parse_strict_json(std::string_view text, std::size_t max_depth) {
  // nlohmann_json takes a zero byte for the end and would ignore what follows.
  SHIRA_CHECK(IoError, text.find('\0') == text.npos, "is not valid JSON: has a zero byte");
  Strictness strictness(max_depth);
  json::sax_parse(text, &strictness);
  return json::parse(text);
}

}  // namespace shira::detail
