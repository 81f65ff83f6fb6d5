#include "base_tensor.h"

#include <shira/base/error.h>

namespace shira::detail {

const torch::Tensor& base_tensor(const BaseTensors& base, const std::string& name) {
  const auto found = base.find(name);
  SHIRA_CHECK(Error, found != base.end(), name,
              ": the base has no such parameter. Use the base that the adapter was trained on.");
  SHIRA_CHECK(Error, found->second.is_floating_point(), name, ": the base's is ",
              found->second.scalar_type(), ", expected floating-point weights.");
  return found->second;
}

ParameterShapes shapes_of(const BaseTensors& base) {
  ParameterShapes shapes;
  for (const auto& [name, tensor] : base) shapes.emplace(name, tensor.sizes().vec());
  return shapes;
}

}  // namespace shira::detail
