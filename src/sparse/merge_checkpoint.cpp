// Two passes: the first resolves every touched tensor and throws the result away, so that the
// second, which writes file by file, meets no error of the adapters'.
#include "checkpoint_changes.h"
#include "patch_checks.h"

#include <shira/base/error.h>
#include <shira/io/checkpoint_copy.h>
#include <shira/io/checkpoint_files.h>
#include <shira/sparse/merge_checkpoint.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/tensor_file.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace shira {
namespace {

namespace fs = std::filesystem;

std::uint64_t byte_size(const TensorInfo& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), item_size(tensor.dtype),
                         std::multiplies<std::uint64_t>());
}

std::int64_t entries(std::uint64_t bytes, DType dtype) {
  return static_cast<std::int64_t>(bytes / item_size(dtype));
}

class CheckpointMerge {
 public:
  CheckpointMerge(const fs::path& base, const std::vector<ScaledAdapter>& adapters,
                  const MergeOptions& options)
      : files_(base),
        adapters_(adapters),
        options_(options),
        changes_(detail::changes_of(
            adapters, [this](const std::string& name) { return files_.contains(name); })) {
    SHIRA_CHECK(IoError, !files_.shards().empty(), base.string(), ": the index names no tensor.");
    for (const CheckpointShard& shard : files_.shards()) contents_.push_back(content_of(shard));
    report_ = make_report();
  }

  /// Throws Error with everything that does not fit.
  void check() const {
    std::string problems = changes_.problems;
    for (const std::string& name : changes_.patched) {
      try {
        resolve(name);
      } catch (const Error& error) {
        problems += std::string("\n  ") + error.what();
      }
    }
    detail::check_fit(problems);
    if (changes_.patched.empty()) return;
    const std::string& first = *changes_.patched.begin();
    detail::warn_about_narrow_base(first, to_scalar_type(files_.view(first).dtype), adapters_);
  }

  const MergeReport& report() const { return report_; }

  void write(const fs::path& directory) {
    copy_companion_files(files_.directory(), directory);
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      write_shard(files_.shards()[i], contents_[i], directory);
    }
    std::set<std::string> indices;
    for (const CheckpointShard& shard : files_.shards()) indices.insert(shard.index);
    indices.erase("");
    for (const std::string& index : indices) write_index(index, directory);
  }

 private:
  /// What a file will hold, in the order of its bytes: wider items first, so that all are aligned.
  std::vector<TensorInfo> content_of(const CheckpointShard& shard) const {
    std::vector<TensorInfo> content;
    for (const std::string& name : shard.names) {
      if (!changes_.removed.contains(name)) content.push_back(info_of(name));
    }
    for (const std::string& name : changes_.added) {
      if (&shard == &shard_for(name)) content.push_back(info_of(name));
    }
    std::stable_sort(content.begin(), content.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return item_size(a.dtype) > item_size(b.dtype);
    });
    return content;
  }

  /// Where a tensor goes that the base does not have: the last file of its component.
  const CheckpointShard& shard_for(const std::string& name) const {
    const auto& shards = files_.shards();
    const auto last = std::find_if(shards.rbegin(), shards.rend(), [&](const auto& shard) {
      return name.starts_with(shard.prefix);
    });
    SHIRA_CHECK(Error, last != shards.rend(), name, ": is of no component of ",
                files_.directory().string(), ".");
    return *last;
  }

  MergeReport make_report() const {
    MergeReport report;
    report.patched = std::ssize(changes_.patched);
    report.added = std::ssize(changes_.added);
    report.replaced = std::ssize(changes_.replaced) - report.added;
    report.removed = std::ssize(changes_.removed);
    for (const std::vector<TensorInfo>& content : contents_) {
      report.tensors += std::ssize(content);
      for (const TensorInfo& tensor : content) report.bytes += byte_size(tensor);
    }
    return report;
  }

  TensorInfo info_of(const std::string& name) const {
    const auto replaced = changes_.replaced.find(name);
    if (replaced != changes_.replaced.end()) {
      const torch::Tensor& tensor = replaced->second;
      return {name, to_dtype(tensor.scalar_type()), tensor.sizes().vec()};
    }
    const TensorView view = files_.view(name);
    return {name, view.dtype, view.shape};
  }

  bool is_touched(const CheckpointShard& shard, const std::vector<TensorInfo>& content) const {
    return content.size() != shard.names.size() ||
           std::any_of(content.begin(), content.end(), [this](const TensorInfo& tensor) {
             return changes_.patched.contains(tensor.name) ||
                    changes_.replaced.contains(tensor.name);
           });
  }

  void write_shard(const CheckpointShard& shard, const std::vector<TensorInfo>& content,
                   const fs::path& directory) {
    if (content.empty() && !shard.index.empty()) return;  // the index would not name it
    fs::create_directories((directory / shard.file).parent_path());
    if (!is_touched(shard, content)) {
      duplicate_file(files_.directory() / shard.file, directory / shard.file);
      for (const TensorInfo& tensor : content) advance(byte_size(tensor));
      return;
    }
    std::vector<TensorInfo> stored = content;
    for (TensorInfo& tensor : stored) tensor.name.erase(0, shard.prefix.size());
    SafetensorsWriter writer(directory / shard.file, stored, shard.metadata);
    for (const TensorInfo& tensor : content) {
      write_tensor(tensor.name, writer);
      advance(byte_size(tensor));
    }
    writer.commit();
  }

  void write_tensor(const std::string& name, SafetensorsWriter& writer) const {
    const auto replaced = changes_.replaced.find(name);
    if (replaced != changes_.replaced.end()) {
      const torch::Tensor whole = replaced->second.detach().cpu().contiguous();
      writer.write(whole.const_data_ptr(), whole.nbytes());
      return drop_pages(whole);
    }
    const TensorView view = files_.view(name);
    if (changes_.patched.contains(name)) {
      const torch::Tensor patched = patched_tensor(view, resolve(name));
      writer.write(patched.const_data_ptr(), patched.nbytes());
    } else {
      writer.write(view.data, view.byte_size);
    }
    drop_pages(view.data, view.byte_size);
  }

  PatchEntry resolve(const std::string& name) const {
    const TensorView view = files_.view(name);
    PatchEntry entry =
        detail::resolve_on(name, map_tensor(view), adapters_, {.force = options_.force});
    drop_pages(view.data, view.byte_size);
    return entry;
  }

  static torch::Tensor patched_tensor(const TensorView& view, const PatchEntry& entry) {
    if (entry.is_dense()) return entry.patched.contiguous();
    const torch::Tensor tensor = copy_tensor(view, to_scalar_type(view.dtype));
    scatter_into(tensor, entry.indices, entry.patched);
    return tensor;
  }

  void write_index(const std::string& path, const fs::path& directory) const {
    CheckpointIndex index;
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      const CheckpointShard& shard = files_.shards()[i];
      if (shard.index != path) continue;
      for (const TensorInfo& tensor : contents_[i]) {
        index.weight_map[tensor.name.substr(shard.prefix.size())] = fs::path(shard.file).filename();
        index.total_size += byte_size(tensor);
        index.more_parameters += entries(byte_size(tensor), tensor.dtype);
      }
      for (const std::string& name : shard.names) {
        const TensorView view = files_.view(name);
        index.more_parameters -= entries(view.byte_size, view.dtype);
      }
    }
    write_checkpoint_index(files_.directory() / path, directory / path, index);
  }

  void advance(std::uint64_t bytes) {
    done_ += bytes;
    if (options_.progress) options_.progress(done_, report_.bytes);
  }

  CheckpointFiles files_;
  const std::vector<ScaledAdapter>& adapters_;
  const MergeOptions& options_;
  detail::CheckpointChanges changes_;
  std::vector<std::vector<TensorInfo>> contents_;  // of the result's files
  MergeReport report_;
  std::uint64_t done_ = 0;  // bytes
};

}  // namespace

MergeReport merge_checkpoint(const fs::path& base, const std::vector<ScaledAdapter>& adapters,
                             const fs::path& output, const MergeOptions& options) {
  SHIRA_CHECK(IoError, !fs::exists(output), output.string(),
              ": exists already. Give a new directory.");
  CheckpointMerge merge(base, adapters, options);
  merge.check();
  write_directory(output, [&](const fs::path& directory) { merge.write(directory); });
  return merge.report();
}

}  // namespace shira
