// A polite stop: SIGINT (Ctrl-C) and SIGTERM become a question that the training loop asks after
// each step, so that it can save and leave with 128 + the signal's number.
#pragma once

#include <shira/base/export.h>

#include <csignal>

namespace shira {

/// While it lives, the first SIGINT or SIGTERM is only noted; a second one of the same kind ends
/// the process at once, as it would by default. The destructor restores the old handlers. Signals
/// belong to the process: a second StopSignal beside a living one throws Error.
class SHIRA_API StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The number of the first signal that came, 0 when none did.
  int requested() const;

 private:
  struct sigaction old_interrupt_;
  struct sigaction old_terminate_;
};

}  // namespace shira
