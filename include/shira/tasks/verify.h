// Holds this implementation against a reference state made by transformers
// (scripts/make_reference_state.py) or diffusers (scripts/make_unet_reference.py).
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama.h>
#include <shira/models/unet.h>

#include <filesystem>
#include <string>
#include <vector>

namespace shira {

struct SHIRA_API TensorDifference {
  std::string name;
  double max_abs_error = 0.0;
  double max_abs_reference = 0.0;
  bool passed = false;

  /// max_abs_error over max_abs_reference.
  double relative() const;
};

struct SHIRA_API VerifyReport {
  std::vector<TensorDifference> tensors;  // logits or output, loss, grad.<parameter>: what is there
  bool passed() const;
};

/// Runs `model` (float32, every parameter in owned memory) on the reference's inputs and compares
/// logits (where attention_mask is 1), loss and every gradient that is there: max abs error <=
/// tolerance * max abs reference. IoError for a file that is no reference state of this model.
SHIRA_API VerifyReport verify(Llama& model, const std::filesystem::path& reference,
                              double tolerance);

/// The same for output, loss and gradients of a UNet.
/// ShapeError for inputs that do not fit the model.
SHIRA_API VerifyReport verify(Unet& model, const std::filesystem::path& reference,
                              double tolerance);

}  // namespace shira
