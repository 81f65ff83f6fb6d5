#include <shira/io/parameter_shapes.h>

#include <algorithm>
#include <array>

namespace shira {

std::string pipeline_component(std::string_view parameter) {
  constexpr std::array<std::string_view, 4> kComponents = {"unet", "text_encoder", "text_encoder_2",
                                                           "vae"};
  const std::string_view first = parameter.substr(0, parameter.find('.'));
  const bool is_component =
      first.size() < parameter.size() && std::ranges::count(kComponents, first) > 0;
  return is_component ? std::string(first) : "";
}

}  // namespace shira
