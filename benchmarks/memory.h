// What this process holds in memory, by the kernel's account (proc(5)); Linux alone. The peer,
// scripts/benchmark_peft_train.py, does the same.
#pragma once

#include <ATen/DeviceAccelerator.h>

#include <malloc.h>

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>

namespace shira::benchmarks {

/// A line of /proc/self/status, which counts in KiB.
inline std::int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  }
  throw std::runtime_error("/proc/self/status has no " + key);
}

/// tcmalloc's; null where the program has the C library's allocator.
extern "C" __attribute__((weak)) void MallocExtension_ReleaseFreeMemory();

/// Resident now, without what the allocator keeps of freed memory.
inline std::int64_t resident_bytes() {
  if (MallocExtension_ReleaseFreeMemory != nullptr) MallocExtension_ReleaseFreeMemory();
  malloc_trim(0);
  return status_bytes("VmRSS");
}

/// The most that was ever resident since reset_peak().
inline std::int64_t peak_resident_bytes() { return status_bytes("VmHWM"); }

inline void reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
  if (!file.flush()) throw std::runtime_error("/proc/self/clear_refs cannot be written");
}

/// What tensors hold on a device, or this process in memory: now, and at most since reset_peak().
class MemoryMeter {
 public:
  explicit MemoryMeter(bool is_cuda) : is_cuda_(is_cuda) {}

  std::int64_t now() const { return is_cuda_ ? allocated().current : resident_bytes(); }
  std::int64_t peak() const { return is_cuda_ ? allocated().peak : peak_resident_bytes(); }
  void reset_peak() const {
    is_cuda_ ? at::accelerator::resetPeakStats(0) : benchmarks::reset_peak();
  }

 private:
  static c10::CachingAllocator::Stat allocated() {
    return at::accelerator::getDeviceStats(0).allocated_bytes[0];
  }

  bool is_cuda_;
};

}  // namespace shira::benchmarks
