// yaml-cpp 0.7 offers Load, which ignores whatever follows the first document, and LoadAll, which
// never returns on some broken texts (",a"). So the events of a second document are looked for.
#include "yaml_document.h"

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

}  // namespace

YAML::Node parse_document(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStart start;
  const bool has_second = parser.HandleNextDocument(start) && parser.HandleNextDocument(start);
  if (has_second) throw YAML::ParserException(start.mark(), "expected one document, got a second");
  return YAML::Load(text);
}

}  // namespace shira::detail
