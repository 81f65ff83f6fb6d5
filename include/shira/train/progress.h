// Progress of a run: on a terminal one line that is redrawn, elsewhere (a log file, a pipe) a plain
// line at every logging step.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace shira {

/// Whether stderr is a terminal on which a line can be redrawn.
SHIRA_API bool stderr_is_terminal();

/// "850", "12.3k", "1.2M".
SHIRA_API std::string short_count(double value);

struct ProgressOptions {
  std::int64_t total_steps = 0;
  std::int64_t first_step = 0;     // steps done before this run, when it was resumed
  std::int64_t logging_steps = 1;  // of the plain lines; the last step is always shown
  bool is_terminal = false;
  int width = 0;                          // columns; 0 = ask the terminal at every redraw
  std::function<double()> seconds_clock;  // none = the system's steady clock
};

class SHIRA_API ProgressBar {
 public:
  /// `out` (std::cerr) is borrowed.
  ProgressBar(std::ostream& out, ProgressOptions options);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Shows the state after `step` steps, in `numbers` beside it. The remaining time follows from
  /// this run's own pace.
  void update(std::int64_t step, const std::string& numbers);

  /// Removes the line, so that something else can be printed; the next update draws it again.
  void clear();

  /// Leaves the line, if there is one, and goes to the next. The destructor does the same.
  void finish();

 private:
  std::string remaining_time(std::int64_t step) const;
  void redraw(std::int64_t step, const std::string& numbers);

  std::ostream& out_;
  ProgressOptions options_;
  double start_ = 0.0;     // seconds
  bool is_drawn_ = false;  // a line without its newline is on the terminal
};

}  // namespace shira
