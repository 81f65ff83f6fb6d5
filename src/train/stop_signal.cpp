// A handler may touch nothing but a lock-free atomic, and it takes no argument of ours: this is the
// one place beside the logger where state is global.
#include <shira/base/error.h>
#include <shira/train/stop_signal.h>

#include <atomic>

namespace shira {
namespace {

std::atomic<int> first_signal = 0;
std::atomic<bool> has_stop_signal = false;
static_assert(std::atomic<int>::is_always_lock_free);

void note_signal(int number) {
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
}

// SA_RESETHAND gives a second signal of the kind its default effect; SA_RESTART keeps reads and
// writes in progress from failing.
void install_handler(int number, struct sigaction* old) {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, old);
}

}  // namespace

StopSignal::StopSignal() {
  SHIRA_CHECK(Error, !has_stop_signal.exchange(true),
              "StopSignal: another one is alive, expected one at a time");
  first_signal = 0;
  install_handler(SIGINT, &old_interrupt_);
  install_handler(SIGTERM, &old_terminate_);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
  has_stop_signal = false;
}

int StopSignal::requested() const { return first_signal; }

}  // namespace shira
