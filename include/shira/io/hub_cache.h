// Base models by their names on the HuggingFace hub, as far as they have been downloaded.
#pragma once

#include <shira/base/export.h>

#include <filesystem>
#include <string>

namespace shira {

/// The checkpoint directory that `name` means: an existing directory is returned as it is; for
/// `org/name`, the snapshot that `main` points to in the local HuggingFace cache ($HF_HUB_CACHE,
/// $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub). Nothing is
/// downloaded: IoError says where it looked and how to download.
SHIRA_API std::filesystem::path resolve_base_model(const std::string& name);

}  // namespace shira
