// What our autograd functions cannot do: be differentiated twice.
#pragma once

#include <shira/base/error.h>

#include <c10/core/GradMode.h>

namespace shira::nn {

/// To be called by the backward pass of an autograd function that computes outside of autograd:
/// Error where its gradients are to be differentiated again (create_graph), which would be silently
/// wrong.
inline void check_once_differentiable(const char* function) {
  SHIRA_CHECK(Error, !c10::GradMode::is_enabled(), function,
              ": has no second derivative. Call backward without create_graph.");
}

}  // namespace shira::nn
