#include "base_tensor.h"

#include <shira/io/adapter_layout.h>
#include <shira/sparse/any_adapter.h>
#include <shira/sparse/peft_adapter.h>

namespace shira {

ScaledAdapter load_any_adapter(const std::filesystem::path& directory, const BaseParameters& base,
                               double scale) {
  switch (adapter_layout(directory)) {
    case AdapterLayout::kShira: return {load_adapter(directory), scale};
    case AdapterLayout::kPeftLora: {
      const ParameterShapes shapes = detail::shapes_of(base());
      return {load_lora_adapter(directory, &shapes), scale};
    }
    default: return {load_peft_adapter(directory, base()), scale};
  }
}

}  // namespace shira
