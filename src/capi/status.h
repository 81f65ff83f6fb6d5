// The boundary between C and C++: no exception crosses it.
#pragma once

#include <shira_switch.h>

namespace shira::capi {

/// The status of the exception being handled; its message becomes the thread's last error.
shira_switch_status fail(const char* function) noexcept;

/// The calling thread's.
const char* last_error() noexcept;

/// The status of body().
template <typename Body>
shira_switch_status guarded(const char* function, Body body) noexcept {
  try {
    body();
    return SHIRA_SWITCH_OK;
  } catch (...) {
    return fail(function);
  }
}

}  // namespace shira::capi
