// For the thread sanitizer, without LibTorch and googletest, whose code it does not see: readers
// under leases read plain buffers while a writer scatters into them. Every read sees one patch's
// values whole; a lock that lets a writer in beside a reader is a reported race, and so are two
// chunks of a kernel that touch one element.
#include <shira/kernels/combine.h>
#include <shira/kernels/scatter.h>
#include <shira/kernels/switch_lock.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kWeights = 40000;
constexpr int kReaders = 3;
constexpr int kSwitches = 100;

/// Weights of one element size, and two patches on overlapping positions of them. Base weights are
/// 1, patch A writes 2, patch B 3.
template <typename T>
class Weights {
 public:
  Weights() : weights_(kWeights, 1) {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(kWeights); ++i) {
      if (i % 2 == 0) a_.push_back(i);
      if (i % 3 == 0) b_.push_back(i);
    }
  }

  void switch_from(bool is_b) {
    const auto& from = is_b ? b_ : a_;
    const auto& to = is_b ? a_ : b_;
    const std::vector<T> original(from.size(), 1);
    const std::vector<T> patched(to.size(), static_cast<T>(is_b ? 2 : 3));
    shira::scatter_both(weights_.data(), sizeof(T), {from, original.data()}, {to, patched.data()});
  }

  /// Whether the weights were those of the base.
  bool apply_a() {
    const std::vector<T> patched(a_.size(), 2);
    std::vector<T> before(a_.size());
    shira::swap(weights_.data(), a_, sizeof(T), patched.data(), before.data());
    return before == std::vector<T>(a_.size(), 1);
  }

  bool is_whole() const {
    const bool is_b = weights_[0] == 3;
    std::vector<T> seen(a_.size());
    shira::gather(weights_.data(), a_, sizeof(T), seen.data());
    for (std::size_t k = 0; k < seen.size(); ++k) {
      if (seen[k] != weights_[static_cast<std::size_t>(a_[k])]) return false;
    }
    for (std::size_t i = 0; i < kWeights; ++i) {
      const bool is_patched = i % (is_b ? 3 : 2) == 0;
      if (weights_[i] != (is_patched ? (is_b ? 3 : 2) : 1)) return false;
    }
    return true;
  }

 private:
  std::vector<T> weights_;
  std::vector<std::int32_t> a_;
  std::vector<std::int32_t> b_;
};

/// Half of 3 at even places and 5 at those that three divides, on a base of 1.
bool is_combined_well() {
  std::vector<std::int32_t> even, third;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(kWeights); ++i) {
    if (i % 2 == 0) even.push_back(i);
    if (i % 3 == 0) third.push_back(i);
  }
  const std::vector<float> threes(even.size(), 3), fives(third.size(), 5);
  const std::vector<shira::Contribution> both = {
      {.indices = even, .values = threes.data(), .scale = 0.5},
      {.indices = third, .values = fives.data()}};
  const std::vector<std::int32_t> all = shira::union_of_indices(both);
  const std::vector<float> base(all.size(), 1);
  std::vector<float> sums(all.size());
  shira::combine(all, base.data(), shira::DType::kF32, both, sums.data());
  for (std::size_t k = 0; k < all.size(); ++k) {
    const float expected = 1.0F + (all[k] % 2 == 0 ? 1.0F : 0.0F) + (all[k] % 3 == 0 ? 4.0F : 0.0F);
    if (sums[k] != expected) return false;
  }
  return true;
}

struct Model {
  Weights<std::uint32_t> wide;
  Weights<std::uint16_t> narrow;
  shira::SwitchLock lock;
};

void read(Model& model, const std::atomic<bool>& is_over, std::atomic<int>& reads,
          std::atomic<int>& torn) {
  while (!is_over) {
    const shira::Lease lease(model.lock);
    if (!model.wide.is_whole() || !model.narrow.is_whole()) ++torn;
    ++reads;
  }
}

}  // namespace

int main() {
  Model model;
  const bool is_right = is_combined_well() && model.wide.apply_a() && model.narrow.apply_a();
  std::atomic<bool> is_over = false;
  std::atomic<int> reads = 0;
  std::atomic<int> torn = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&] { read(model, is_over, reads, torn); });
  }
  for (int i = 0; i < kSwitches; ++i) {
    const int before = reads;  // each state is read: a writer alone would leave no reader its turn
    while (reads == before) std::this_thread::yield();
    const std::lock_guard switching(model.lock);
    model.wide.switch_from(i % 2 == 1);
    model.narrow.switch_from(i % 2 == 1);
  }
  is_over = true;
  for (std::thread& reader : readers) reader.join();
  std::printf("%d switches, %d reads, %d of them torn\n", kSwitches, reads.load(), torn.load());
  return is_right && torn == 0 && reads >= kSwitches ? 0 : 1;
}
