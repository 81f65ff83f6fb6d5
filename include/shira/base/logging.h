// The logger, spoken to in plain strings: progress and diagnostics go to stderr, results never do.
#pragma once

#include <shira/base/export.h>

#include <string_view>

namespace shira {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

SHIRA_API void set_log_level(LogLevel level);

SHIRA_API void log_debug(std::string_view message);
SHIRA_API void log_info(std::string_view message);
SHIRA_API void log_warning(std::string_view message);
SHIRA_API void log_error(std::string_view message);

}  // namespace shira
