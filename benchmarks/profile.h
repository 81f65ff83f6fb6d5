// Where the time goes: each LibTorch operator's own time, without that of the operators it calls.
#pragma once

#include <ATen/record_function.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace shira::benchmarks {

/// Observes this thread, where the CPU's backward runs too. What an autograd function of our own
/// does outside of operators counts as the function's in backward, and as `action`'s in forward.
class OperatorProfile {
 public:
  explicit OperatorProfile(const std::function<void()>& action) {
    const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end));
    {
      RECORD_USER_SCOPE("(outside of operators)");
      action();
    }
    at::removeCallback(handle);
    own_.swap(own_times);
  }

  /// The largest `count` with their share of all.
  void print(std::ostream& out, std::size_t count) const {
    double total = 0.0;
    std::vector<std::pair<double, std::string>> items;
    for (const auto& [name, ms] : own_) {
      total += ms;
      items.emplace_back(ms, name);
    }
    std::sort(items.rbegin(), items.rend());
    items.resize(std::min(count, items.size()));
    for (const auto& [ms, name] : items) {
      char text[64];
      std::snprintf(text, sizeof text, "%5.1f %% %10.2f ms  ", 100 * ms / total, ms);
      out << text << name << "\n";
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Open {
    Clock::time_point begin;
    double inner_ms = 0.0;
  };

  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
    open.push_back({Clock::now()});
    return nullptr;
  }

  static void end(const at::RecordFunction& function, at::ObserverContext*) {
    const std::chrono::duration<double, std::milli> taken = Clock::now() - open.back().begin;
    own_times[function.name()] += taken.count() - open.back().inner_ms;
    open.pop_back();
    if (!open.empty()) open.back().inner_ms += taken.count();
  }

  // LibTorch takes plain functions as callbacks.
  static inline std::vector<Open> open;
  static inline std::map<std::string, double> own_times;

  std::map<std::string, double> own_;  // milliseconds
};

}  // namespace shira::benchmarks
