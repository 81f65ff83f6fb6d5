// A pipeline's text encoders are part of a run where train_text_encoder says so: who does not know
// it reads of missing layers.
#pragma once

#include <shira/base/error.h>
#include <shira/config/run_config.h>

#include <string>

namespace shira {

/// What `make` returns. Where its error may be about a text encoder, it says how one is trained.
template <typename Make>
auto with_text_encoder_hint(const RunConfig& config, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    const std::string text = error.what();
    const bool is_about_layers =
        text.find("text_encoder") != text.npos || text.starts_with("target_modules");
    if (!is_text_to_image(config) || config.train_text_encoder || !is_about_layers) throw;
    throw ConfigError(text +
                      "\nLayers of a text encoder are trained with train_text_encoder: true.");
  }
}

}  // namespace shira
