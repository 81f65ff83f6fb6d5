// Bits are compared, never values: a NaN is what it is, and -0.0 is another zero.
#include <shira/io/checkpoint_files.h>
#include <shira/io/checksum.h>
#include <shira/kernels/differences.h>
#include <shira/kernels/scatter.h>
#include <shira/sparse/diff_checkpoints.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace shira {
namespace {

std::int64_t entries_of(const TensorView& view) {
  return static_cast<std::int64_t>(view.byte_size / item_size(view.dtype));
}

/// The tuned values at positions that were found, and the checksum of the base's own.
SparseTensor changed_entries(const TensorView& base, const TensorView& tuned,
                             const std::vector<std::int32_t>& positions) {
  const torch::Tensor indices = at::empty({std::ssize(positions)}, torch::kInt32);
  std::memcpy(indices.mutable_data_ptr(), positions.data(), indices.nbytes());
  const torch::Tensor values = at::empty({std::ssize(positions)}, to_scalar_type(tuned.dtype));
  gather(tuned.data, positions, item_size(tuned.dtype), values.mutable_data_ptr());
  std::vector<std::byte> original(values.nbytes());
  gather(base.data, positions, item_size(base.dtype), original.data());
  return {SparseMask::of_checked(tuned.shape, indices), values,
          xxh3_64(original.data(), original.size())};
}

enum class Change { kNone, kSparse, kWhole };

/// How two tensors of one name differ; `sparse` gets the entries where that is the way to hold it.
Change change_between(const TensorView& base, const TensorView& tuned,
                      std::optional<SparseTensor>& sparse) {
  if (base.dtype != tuned.dtype || base.shape != tuned.shape) return Change::kWhole;
  const std::int64_t entries = entries_of(tuned);
  if (entries > std::numeric_limits<std::int32_t>::max()) {
    return are_equal_bytes(base.data, tuned.data, tuned.byte_size) ? Change::kNone : Change::kWhole;
  }
  const auto most = static_cast<std::int64_t>(kLargestSparseShare * static_cast<double>(entries));
  const auto positions =
      find_differences(base.data, tuned.data, entries, item_size(tuned.dtype), most);
  if (!positions) return Change::kWhole;
  if (positions->empty()) return Change::kNone;
  sparse = changed_entries(base, tuned, *positions);
  return Change::kSparse;
}

void add_difference(const std::string& name, const TensorView& base, const TensorView& tuned,
                    CheckpointDiff& diff) {
  std::optional<SparseTensor> sparse;
  switch (change_between(base, tuned, sparse)) {
    case Change::kNone: ++diff.unchanged; break;
    case Change::kSparse: diff.adapter.tensors.emplace(name, std::move(*sparse)); break;
    case Change::kWhole: diff.adapter.whole.emplace(name, map_tensor(tuned)); break;
  }
  drop_pages(base.data, base.byte_size);
  drop_pages(tuned.data, tuned.byte_size);
}

/// That of the largest tensor; float32 where there is none.
torch::ScalarType main_dtype(const CheckpointFiles& files) {
  std::size_t largest = 0;
  DType dtype = DType::kF32;
  for (const std::string& name : files.names()) {
    const TensorView view = files.view(name);
    if (view.byte_size > largest) dtype = view.dtype;
    largest = std::max(largest, view.byte_size);
  }
  return to_scalar_type(dtype);
}

std::uint64_t size_of(const CheckpointFiles& files) {
  std::uint64_t bytes = 0;
  for (const std::string& name : files.names()) bytes += files.view(name).byte_size;
  return bytes;
}

}  // namespace

CheckpointDiff diff_checkpoints(const std::filesystem::path& base,
                                const std::filesystem::path& tuned, const ByteProgress& progress) {
  const CheckpointFiles before(base), after(tuned);
  CheckpointDiff diff;
  diff.adapter.base_model = base.string();
  diff.adapter.base_dtype = main_dtype(before);
  diff.adapter.mask_type = "diff";
  const std::uint64_t total = size_of(after);
  std::uint64_t done = 0;
  for (const std::string& name : after.names()) {
    const TensorView view = after.view(name);
    if (before.contains(name)) {
      add_difference(name, before.view(name), view, diff);
    } else {
      diff.adapter.whole.emplace(name, map_tensor(view));
      diff.adapter.added.push_back(name);
    }
    done += view.byte_size;
    if (progress) progress(done, total);
  }
  for (const std::string& name : before.names()) {
    if (!after.contains(name)) diff.adapter.removed.push_back(name);
  }
  return diff;
}

}  // namespace shira
