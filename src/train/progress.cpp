// The redrawn line ends one column before the terminal does, because many terminals wrap at the
// last one.
#include <shira/train/progress.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace shira {
namespace {

double steady_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

int terminal_width() {
  constexpr int kUsual = 80;
  winsize size{};
  const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : kUsual;
}

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

// "03:20", "1:02:03"
std::string clock_time(double seconds) {
  const auto total = std::llround(seconds);
  const long long hours = total / 3600, minutes = total / 60 % 60;
  if (hours > 0) return formatted("%lld:%02lld:%02lld", hours, minutes, total % 60);
  return formatted("%02lld:%02lld", minutes, total % 60);
}

// "[=====>    ]"; nothing where it would be too narrow to say anything.
std::string bar_text(std::int64_t step, std::int64_t total, int width) {
  constexpr int kNarrowest = 7, kWidest = 32;
  if (width < kNarrowest || total <= 0) return "";
  const int inside = std::min(width, kWidest) - 2;
  const double share = std::clamp(static_cast<double>(step) / static_cast<double>(total), 0., 1.);
  const int filled = static_cast<int>(share * inside);
  std::string cells(static_cast<std::size_t>(inside), ' ');
  std::fill_n(cells.begin(), filled, '=');
  if (filled < inside) cells[static_cast<std::size_t>(filled)] = '>';
  return "[" + cells + "]";
}

}  // namespace

std::string short_count(double value) {
  if (value >= 1e6) return formatted("%.1fM", value / 1e6);
  if (value >= 1e3) return formatted("%.1fk", value / 1e3);
  return formatted("%.0f", value);
}

bool stderr_is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

ProgressBar::ProgressBar(std::ostream& out, ProgressOptions options)
    : out_(out), options_(std::move(options)) {
  if (!options_.seconds_clock) options_.seconds_clock = steady_seconds;
  start_ = options_.seconds_clock();
}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(std::int64_t step, const std::string& numbers) {
  const std::string line = numbers + remaining_time(step);
  if (options_.is_terminal) return redraw(step, line);
  const bool is_shown = step % options_.logging_steps == 0 || step == options_.total_steps;
  if (!is_shown) return;
  out_ << "step " << step << "/" << options_.total_steps << "  " << line << std::endl;
}

std::string ProgressBar::remaining_time(std::int64_t step) const {
  const std::int64_t done = step - options_.first_step;
  if (done <= 0) return "";
  const double pace = (options_.seconds_clock() - start_) / static_cast<double>(done);
  return "  " + clock_time(pace * static_cast<double>(options_.total_steps - step)) + " left";
}

void ProgressBar::redraw(std::int64_t step, const std::string& numbers) {
  const int columns = std::max(1, (options_.width > 0 ? options_.width : terminal_width()) - 1);
  const std::string steps = std::to_string(step) + "/" + std::to_string(options_.total_steps) + " ";
  const int used = static_cast<int>(steps.size() + numbers.size()) + 1;
  const std::string drawn = bar_text(step, options_.total_steps, columns - used);
  std::string line = steps + drawn + (drawn.empty() ? "" : " ") + numbers;
  line.resize(std::min(line.size(), static_cast<std::size_t>(columns)));
  out_ << "\r" << line << "\x1b[K" << std::flush;
  is_drawn_ = true;
}

void ProgressBar::clear() {
  if (is_drawn_) out_ << "\r\x1b[K" << std::flush;
  is_drawn_ = false;
}

void ProgressBar::finish() {
  if (is_drawn_) out_ << std::endl;
  is_drawn_ = false;
}

}  // namespace shira
