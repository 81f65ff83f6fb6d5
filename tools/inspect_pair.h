// What `shira inspect A B` does.
#pragma once

#include <string>

namespace shira::tools {

struct InspectPairFlags {
  std::string first;  // adapter directories
  std::string second;
  std::string base_model;  // a directory or org/name; empty: none
  bool force = false;
  std::string tensor;   // to draw
  std::string picture;  // PNG file of its A1^T A2
  bool json = false;
};

/// Prints how two adapters of one base differ; draws a picture if asked.
void inspect_pair(const InspectPairFlags& flags);

}  // namespace shira::tools
