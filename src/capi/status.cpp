#include "status.h"

#include <shira/base/error.h>

#include <new>
#include <string>

namespace shira::capi {
namespace {

thread_local std::string message;
thread_local const char* shown = "";

shira_switch_status set(shira_switch_status status, const char* function, const char* what) {
  try {
    message = std::string("[") + function + "] " + what;
    shown = message.c_str();
  } catch (...) {
    shown = "out of memory";
  }
  return status;
}

}  // namespace

shira_switch_status fail(const char* function) noexcept {
  try {
    throw;
  } catch (const ConfigError& error) {
    return set(SHIRA_SWITCH_INVALID_ARGUMENT, function, error.what());
  } catch (const IoError& error) {
    return set(SHIRA_SWITCH_BAD_FILE, function, error.what());
  } catch (const ShapeError& error) {
    return set(SHIRA_SWITCH_MISFIT, function, error.what());
  } catch (const Error& error) {
    return set(SHIRA_SWITCH_WRONG_STATE, function, error.what());
  } catch (const std::bad_alloc&) {
    return set(SHIRA_SWITCH_OUT_OF_MEMORY, function, "out of memory");
  } catch (const std::exception& error) {
    return set(SHIRA_SWITCH_INTERNAL_ERROR, function, error.what());
  } catch (...) {
    return set(SHIRA_SWITCH_INTERNAL_ERROR, function, "an unknown exception");
  }
}

const char* last_error() noexcept { return shown; }

}  // namespace shira::capi
