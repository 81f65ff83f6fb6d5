// yaml-cpp 0.7 offers Load, which ignores whatever follows the first document, and LoadAll, which
// never returns on some broken texts (",a"). So the events of a second document are looked for.
#include "yaml_document.h"

#include <shira/base/error.h>

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>

#include <sstream>

namespace shira::detail {
namespace {

/// Notes where the last document started.
class DocumentStart : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { mark_ = mark; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  const YAML::Mark& mark() const { return mark_; }

 private:
  YAML::Mark mark_;
};

/// YAML allows no control characters but white space; yaml-cpp would end the text at a 0x04.
void refuse_control_characters(const std::string& text) {
  YAML::Mark mark;
  mark.pos = mark.line = mark.column = 0;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    const bool is_space = letter == '\t' || letter == '\n' || letter == '\r';
    if ((byte < 0x20 && !is_space) || byte == 0x7f) {
      throw YAML::ParserException(
          mark, concat("a control character, code ", int{byte}, "; expected UTF-8 text"));
    }
    mark.column = letter == '\n' ? 0 : mark.column + 1;
    mark.line += letter == '\n';
  }
}

void check_one_document(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStart start;
  const bool has_second = parser.HandleNextDocument(start) && parser.HandleNextDocument(start);
  if (has_second) throw YAML::ParserException(start.mark(), "expected one document, got a second");
}

}  // namespace

YAML::Node parse_document(const std::string& text) {
  refuse_control_characters(text);
  try {
    check_one_document(text);
    return YAML::Load(text);
  } catch (const YAML::DeepRecursion& error) {  // yaml-cpp only says "bad file"
    throw YAML::ParserException(error.mark, "nests too deeply");
  }
}

}  // namespace shira::detail
