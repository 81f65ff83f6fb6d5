// A switch is two overwrites, the old patch's originals and the new patch's values, in one pass
// over the weights that both write. All that can fail is looked at before the first byte is
// written.
#include "switcher.h"

#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/scatter.h>

#include <cstring>
#include <mutex>
#include <utility>

namespace shira::capi {
namespace {

constexpr std::int64_t kCopyGrain = 1 << 20;  // bytes

void copy(const BaseTensor& weight, const std::byte* values) {
  parallel_chunks(static_cast<std::int64_t>(weight.byte_size()), kCopyGrain,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    std::memcpy(weight.data + begin, values + begin,
                                static_cast<std::size_t>(end - begin));
                  });
}

void write(const PatchEntry& entry, const Bytes& values) {
  const BaseTensor& weight = *entry.weight;
  if (!entry.indices) return copy(weight, values.get());
  scatter(weight.data, *entry.indices, item_size(weight.dtype), values.get());
}

/// From one patch's share of a weight to another's.
void exchange(const PatchEntry& from, const PatchEntry& to) {
  if (!to.indices) return write(to, to.patched);
  if (!from.indices) {
    write(from, from.original);
    return write(to, to.patched);
  }
  scatter_both(to.weight->data, item_size(to.weight->dtype), {*from.indices, from.original.get()},
               {*to.indices, to.patched.get()});
}

}  // namespace

Switcher::Switcher(BaseTensors tensors)
    : tensors_(std::make_shared<const BaseTensors>(std::move(tensors))) {}

Patch Switcher::resolve(const std::vector<ScaledAdapter>& adapters, bool force) {
  const Lease lease(lock_);
  return capi::resolve(tensors_, *applied_, adapters, force);
}

void Switcher::apply(const Patch& patch) {
  const std::lock_guard switching(lock_);
  SHIRA_CHECK(Error, applied_ == none_,
              "a patch is already applied. Revert first, or switch to the other patch.");
  SHIRA_CHECK(ShapeError, patch.base == tensors_, "the patch was resolved against another base.");
  switch_locked(patch.entries);
}

void Switcher::switch_to(const Patch& patch) {
  const std::lock_guard switching(lock_);
  SHIRA_CHECK(ShapeError, patch.base == tensors_, "the patch was resolved against another base.");
  switch_locked(patch.entries);
}

void Switcher::revert() {
  const std::lock_guard switching(lock_);
  switch_locked(none_);
}

bool Switcher::is_applied() {
  const Lease lease(lock_);
  return applied_ != none_;
}

void Switcher::switch_locked(std::shared_ptr<const PatchEntries> to) {
  for (const auto& [name, entry] : *applied_) {
    if (!to->contains(name)) write(entry, entry.original);
  }
  for (const auto& [name, entry] : *to) {
    const auto old = applied_->find(name);
    old == applied_->end() ? write(entry, entry.patched) : exchange(old->second, entry);
  }
  applied_ = std::move(to);
}

}  // namespace shira::capi
