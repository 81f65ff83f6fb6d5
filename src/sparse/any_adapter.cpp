#include "base_tensor.h"

#include <shira/io/adapter_layout.h>
#include <shira/sparse/any_adapter.h>
#include <shira/sparse/peft_adapter.h>

namespace shira {

ScaledAdapter load_any_adapter(const std::filesystem::path& path, const BaseParameters& base,
                               double scale) {
  const AdapterLayout layout = adapter_layout(path);
  if (layout == AdapterLayout::kShira) return {load_adapter(path), scale};
  if (!is_lora_layout(layout)) return {load_peft_adapter(path, base()), scale};
  const ParameterShapes shapes = detail::shapes_of(base());
  return {load_lora_adapter(path, &shapes), scale};
}

}  // namespace shira
