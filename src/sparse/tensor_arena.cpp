#include "tensor_arena.h"

#include "base/large_pages.h"

#include <ATen/Functions.h>

namespace shira::detail {
namespace {

constexpr std::int64_t kArenaAlignment = 64;

}  // namespace

TensorArena::TensorArena(std::int64_t bytes) : memory_(at::empty({bytes}, torch::kUInt8)) {
  if (bytes > 0) want_large_pages(memory_.mutable_data_ptr(), memory_.nbytes());
}

std::int64_t TensorArena::bytes_for(std::int64_t count, torch::ScalarType dtype) {
  const auto bytes = count * static_cast<std::int64_t>(c10::elementSize(dtype));
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

torch::Tensor TensorArena::take(std::int64_t count, torch::ScalarType dtype) {
  const auto bytes = count * static_cast<std::int64_t>(c10::elementSize(dtype));
  const torch::Tensor taken = memory_.narrow(0, used_, bytes).view(dtype);
  used_ += bytes_for(count, dtype);
  return taken;
}

}  // namespace shira::detail
