// Reading trusts nothing: PEFT itself checks neither positions nor that every target is there.
#include "float_values.h"
#include "peft_config.h"
#include "quote.h"

#include <shira/io/atomic_file.h>
#include <shira/io/peft_sparse_file.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace shira {
namespace {

using nlohmann::ordered_json;
using Shape = std::vector<std::int64_t>;
using Entry = std::pair<std::int64_t, float>;  // flat position, delta

/// How many of a tensor's entries are not padding.
constexpr std::string_view kCountPrefix = "nnz.";

struct SparseConfig {
  std::string base_model;
  std::string mask_type;
  std::int64_t r = 0;     // of SHiRA; 0 for Super-Tuning
  double sparsity = 0.0;  // of Super-Tuning
  std::vector<std::string> target_suffixes;

  bool is_shira() const { return r > 0; }
};

// --- Configuration ------------------------------------------------------------------------------

std::set<std::string_view> known_keys(bool is_shira) {
  std::set<std::string_view> keys = {"auto_mapping",   "base_model_name_or_path",
                                     "inference_mode", "init_weights",
                                     "peft_type",      "peft_version",
                                     "revision",       "target_modules",
                                     "task_type"};
  if (is_shira) {
    keys.insert({"r", "mask_type", "random_seed"});
  } else {
    keys.insert({"sparsity", "select_top", "lora_dropout", "save_precomputed_indices"});
  }
  return keys;
}

double sparsity_at(const ordered_json& config) {
  if (!config.contains("sparsity")) return 0.99;  // PEFT's default
  const ordered_json& value = config["sparsity"];
  const double sparsity = value.is_number() ? value.get<double>() : -1.0;
  SHIRA_CHECK(IoError, sparsity >= 0.0 && sparsity < 1.0, "sparsity is ",
              detail::quote(value.dump()), ", expected a number from 0 to below 1.");
  return sparsity;
}

SparseConfig read_sparse_config(const std::filesystem::path& directory) {
  const ordered_json config = detail::read_adapter_config(directory);
  return detail::with_place((directory / detail::kPeftConfigName).string(), [&] {
    const std::string type = detail::text_at(config, "peft_type");
    SHIRA_CHECK(IoError, type == "SHIRA" || type == "SUPERTUNING", "peft_type is ",
                detail::quote(type), ", expected SHIRA or SUPERTUNING.");
    const bool is_shira = type == "SHIRA";
    detail::check_supported(detail::unknown_settings(config, known_keys(is_shira)));
    return SparseConfig{detail::text_at(config, "base_model_name_or_path"),
                        is_shira ? detail::text_at(config, "mask_type") : "supertuning",
                        is_shira ? detail::positive_count(config, "r") : 0,
                        is_shira ? 0.0 : sparsity_at(config), detail::target_suffixes(config)};
  });
}

// --- Tensors ------------------------------------------------------------------------------------

const Shape& shape_of(const ParameterShapes& shapes, const std::string& name) {
  const auto found = shapes.find(name);
  SHIRA_CHECK(IoError, found != shapes.end(),
              "the base has no such parameter. Is it the base that the adapter was trained on?");
  const Shape& shape = found->second;
  SHIRA_CHECK(IoError,
              shape.size() == 2 && shape[0] > 0 && shape[1] > 0 && shape[0] <= INT32_MAX / shape[1],
              "it is no matrix of fewer than 2^31 entries in the base.");
  return shape;
}

void check_range(std::int64_t index, std::int64_t size, std::string_view what) {
  SHIRA_CHECK(IoError, index >= 0 && index < size, "the ", what, " ", index,
              " is outside the base's 0 to ", size - 1, ".");
}

/// (2, n) rows and columns, or (n) flat positions, as flat positions.
std::vector<std::int64_t> flat_positions(const TensorView& view, std::size_t count,
                                         const Shape& shape, bool has_rows) {
  const auto n = static_cast<std::int64_t>(count);
  SHIRA_CHECK(IoError, view.shape == (has_rows ? Shape{2, n} : Shape{n}),
              "its indices and values do not have the same count, ", n, " values.");
  std::vector<std::int64_t> numbers = detail::whole_numbers(view);
  for (std::size_t i = 0; i < count; ++i) {
    if (has_rows) {
      check_range(numbers[i], shape[0], "row");
      check_range(numbers[count + i], shape[1], "column");
      numbers[i] = numbers[i] * shape[1] + numbers[count + i];
    }
    check_range(numbers[i], shape[0] * shape[1], "position");
  }
  numbers.resize(count);
  return numbers;
}

/// Sorts by position and adds the values of one position, in the file's order.
void fill_sorted(std::vector<Entry> entries, PeftSparseTensor& tensor) {
  std::ranges::stable_sort(entries, {}, &Entry::first);
  for (const auto& [position, delta] : entries) {
    const bool is_new = tensor.indices.empty() || tensor.indices.back() != position;
    if (is_new) {
      tensor.indices.push_back(static_cast<std::int32_t>(position));
      tensor.deltas.push_back(delta);
    } else {
      tensor.deltas.back() += delta;
      SHIRA_CHECK(IoError, std::isfinite(tensor.deltas.back()), "its values for position ",
                  position, " add up to ", tensor.deltas.back(), ".");
    }
  }
}

/// Drops the zeros behind the entries that write_peft_shira_file counted.
void drop_padding(const SafetensorsFile& file, const std::string& name,
                  std::vector<Entry>& entries) {
  const auto found = file.metadata().find(std::string(kCountPrefix) + name);
  if (found == file.metadata().end()) return;
  const std::string& text = found->second;
  std::size_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const bool is_count = error == std::errc() && end == text.data() + text.size();
  const bool fits = is_count && count <= entries.size() &&
                    std::all_of(entries.begin() + static_cast<std::ptrdiff_t>(count), entries.end(),
                                [](const Entry& entry) { return entry.second == 0; });
  SHIRA_CHECK(IoError, fits, "the metadata count ", detail::quote(text), " of its ", entries.size(),
              " entries, and the rest is not zero.");
  entries.resize(count);
}

/// PEFT's own arithmetic; another count means another base, or a damaged file.
void check_count(std::int64_t count, const SparseConfig& config, const Shape& shape) {
  if (config.is_shira()) {
    const std::int64_t expected = config.r * (shape[0] + shape[1]);
    SHIRA_CHECK(IoError, count == expected, "it has ", count,
                " values, expected r * (in + out) = ", expected, ".");
  } else {
    const auto numel = static_cast<double>(shape[0] * shape[1]);
    const auto expected = static_cast<std::int64_t>(numel * (1.0 - config.sparsity));
    SHIRA_CHECK(IoError, count == expected, "it has ", count,
                " values, expected in * out * (1 - sparsity) = ", expected, ".");
  }
}

/// `name` is the file's own, without a pipeline's component.
PeftSparseTensor read_sparse_tensor(const SafetensorsFile& file, const SparseConfig& config,
                                    const std::string& name,
                                    const detail::PeftModules::mapped_type& tensors,
                                    const Shape& shape) {
  const bool is_shira = config.is_shira();
  const TensorView& values =
      detail::tensor_of(tensors, is_shira ? "shira_weight" : "supertuning_values");
  SHIRA_CHECK(IoError, values.shape.size() == 1, "its values are no vector.");
  check_count(values.shape[0], config, shape);
  const std::vector<float> deltas = detail::finite_values(values);
  const auto positions =
      flat_positions(detail::tensor_of(tensors, is_shira ? "shira_indices" : "supertuning_indices"),
                     deltas.size(), shape, is_shira);
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < deltas.size(); ++i) entries.emplace_back(positions[i], deltas[i]);
  if (is_shira) drop_padding(file, name, entries);
  PeftSparseTensor tensor{name, shape, {}, {}};
  fill_sorted(std::move(entries), tensor);
  return tensor;
}

detail::BaseModules find_base_modules(const detail::PeftModules& modules,
                                      const ParameterShapes& shapes,
                                      const std::filesystem::path& directory) {
  std::vector<detail::AdaptedModule> adapted;
  for (const auto& [module, tensors] : modules) adapted.push_back({module});
  return detail::find_modules(adapted, shapes, directory);
}

std::vector<std::string_view> roles_of(const SparseConfig& config) {
  if (config.is_shira()) return {"shira_weight", "shira_indices"};
  return {"supertuning_values", "supertuning_indices"};
}

// --- Writing ------------------------------------------------------------------------------------

/// What the metadata and the safetensors writer borrow.
struct PaddedTensor {
  std::string module;
  std::vector<float> deltas;           // (n)
  std::vector<std::int32_t> row_cols;  // (2, n)
};

/// The tensor's entries, then zeros at the lowest positions that it does not have.
PaddedTensor padded(const PeftSparseTensor& tensor, std::int64_t r) {
  constexpr std::size_t kWeight = std::string_view(".weight").size();
  const std::int64_t columns = tensor.shape[1];
  const auto count = static_cast<std::size_t>(r * (tensor.shape[0] + columns));
  std::vector<std::int32_t> positions = tensor.indices;
  std::size_t next = 0;  // among the tensor's own positions
  for (std::int32_t free = 0; positions.size() < count; ++free) {
    const bool is_taken = next < tensor.indices.size() && tensor.indices[next] == free;
    is_taken ? void(++next) : positions.push_back(free);
  }
  PaddedTensor filled{tensor.name.substr(0, tensor.name.size() - kWeight), tensor.deltas, {}};
  filled.deltas.resize(count);
  filled.row_cols.resize(2 * count);
  for (std::size_t i = 0; i < count; ++i) {
    filled.row_cols[i] = static_cast<std::int32_t>(positions[i] / columns);
    filled.row_cols[count + i] = static_cast<std::int32_t>(positions[i] % columns);
  }
  return filled;
}

void write_shira_tensors(const std::filesystem::path& path, const PeftSparseFile& file,
                         std::int64_t r) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  std::vector<PaddedTensor> tensors;
  for (const PeftSparseTensor& tensor : file.tensors) {
    tensors.push_back(padded(tensor, r));
    metadata[std::string(kCountPrefix) + tensor.name] = std::to_string(tensor.indices.size());
  }
  std::vector<TensorBytes> bytes;
  for (const PaddedTensor& tensor : tensors) {
    const std::string name = std::string(detail::kPeftPrefix) + tensor.module;
    const auto n = static_cast<std::int64_t>(tensor.deltas.size());
    bytes.push_back({name + ".shira_indices", DType::kI32, {2, n}, tensor.row_cols.data()});
    bytes.push_back({name + ".shira_weight", DType::kF32, {n}, tensor.deltas.data()});
  }
  write_safetensors(path, bytes, metadata);
}

/// With a mask_type that PEFT does not know it takes no positions but the file's.
std::string mask_type_for_peft(const std::string& mask_type) {
  if (mask_type.empty()) return "custom";
  return mask_type == "random" ? "rand" : mask_type;
}

ordered_json shira_config(const PeftSparseFile& file, std::int64_t r,
                          const std::string& task_type) {
  std::vector<std::string> modules;
  for (const PeftSparseTensor& tensor : file.tensors) {
    modules.push_back(tensor.name.substr(0, tensor.name.rfind('.')));
  }
  return {{"peft_type", "SHIRA"},
          {"auto_mapping", nullptr},
          {"base_model_name_or_path", file.base_model},
          {"revision", nullptr},
          {"task_type", task_type.empty() ? ordered_json() : ordered_json(task_type)},
          {"inference_mode", true},
          {"r", r},
          {"mask_type", mask_type_for_peft(file.mask_type)},
          {"random_seed", nullptr},
          {"target_modules", modules},
          {"fan_in_fan_out", false},
          {"init_weights", true},
          {"modules_to_save", nullptr}};
}

/// Why PEFT's SHiRA, which knows nn.Linear alone, cannot hold this parameter; empty when it can.
std::string why_no_linear(const PeftTarget& target) {
  if (!target.name.ends_with(".weight")) return "is no weight (a bias?)";
  if (target.shape.size() == 4) return "is a convolution's weight";
  if (target.shape.size() != 2) return "is no matrix (a norm?)";
  const std::string module = target.name.substr(0, target.name.rfind('.'));
  const std::string last = module.substr(module.rfind('.') + 1);
  const bool is_embedding = last.find("embed") != last.npos || last == "wte" || last == "wpe";
  return is_embedding ? "is an embedding" : "";
}

}  // namespace

PeftSparseFile read_peft_sparse_file(const std::filesystem::path& directory,
                                     const ParameterShapes& shapes) {
  const SparseConfig config = read_sparse_config(directory);
  const SafetensorsFile file = detail::open_adapter_tensors(directory);
  PeftSparseFile adapter{config.base_model, config.mask_type, {}};
  detail::with_place(file.path().string(), [&] {
    const detail::PeftModules modules = detail::group_by_module(file, roles_of(config));
    const detail::BaseModules base = find_base_modules(modules, shapes, directory);
    detail::check_targets(config.target_suffixes, base, shapes);
    for (const auto& [module, tensors] : modules) {
      const std::string name = base.names.at(module) + ".weight";
      detail::with_place(detail::quote(name), [&] {
        adapter.tensors.push_back(
            read_sparse_tensor(file, config, module + ".weight", tensors, shape_of(shapes, name)));
        adapter.tensors.back().name = name;
      });
    }
  });
  return adapter;
}

std::int64_t peft_shira_r(const std::vector<PeftTarget>& targets) {
  std::string problems;
  std::int64_t r = 1;
  const PeftTarget* largest = nullptr;  // the one that asks for the largest r
  for (const PeftTarget& target : targets) {
    const std::string reason = why_no_linear(target);
    if (!reason.empty()) {
      problems += detail::concat("\n  ", target.name, " ", reason);
      continue;
    }
    const std::int64_t sum = target.shape[0] + target.shape[1];
    const std::int64_t needed = (target.nnz + sum - 1) / sum;
    if (largest == nullptr || needed > r) largest = &target;
    r = std::max(r, needed);
  }
  for (const PeftTarget& target : targets) {
    if (!why_no_linear(target).empty()) continue;
    const std::int64_t count = r * (target.shape[0] + target.shape[1]);
    const std::int64_t numel = target.shape[0] * target.shape[1];
    if (count <= numel) continue;
    problems += detail::concat("\n  ", target.name, " would need ", count, " of its ", numel,
                               " entries: PEFT has one r for all layers, and ", largest->name,
                               " with ", largest->nnz, " entries needs r = ", r);
  }
  SHIRA_CHECK(ShapeError, problems.empty(),
              "PEFT's SHiRA has r * (in + out) entries in every layer it adapts, linear layers "
              "alone. It cannot hold this adapter:",
              problems, "\nShip the shira layout, or the merged checkpoint (shira merge).");
  return r;
}

void write_peft_shira_file(const std::filesystem::path& directory, const PeftSparseFile& file,
                           const std::string& task_type) {
  std::vector<PeftTarget> targets;
  for (const PeftSparseTensor& tensor : file.tensors) {
    targets.push_back(
        {tensor.name, tensor.shape, static_cast<std::int64_t>(tensor.indices.size())});
  }
  const std::int64_t r = peft_shira_r(targets);
  write_shira_tensors(directory / detail::kPeftTensorsName, file, r);
  write_file(directory / detail::kPeftConfigName, shira_config(file, r, task_type).dump(2) + "\n");
}

}  // namespace shira
