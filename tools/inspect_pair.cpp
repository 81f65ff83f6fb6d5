// shira inspect A B: two adapters of one base side by side. Masks compare by themselves; what new
// weights change is known with their base alone, which is read under the masks from mapped files.
#include "inspect_pair.h"

#include "numbers.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/adapter_layout.h>
#include <shira/io/directory_lock.h>
#include <shira/io/heat_map.h>
#include <shira/io/hub_cache.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/base_checkpoint.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <optional>
#include <set>
#include <sstream>

namespace shira::tools {
namespace {

using PairJson = nlohmann::ordered_json;

constexpr std::int64_t kMostBlocks = 1024;

/// One of the two, and what it changes where that is known.
struct ComparedAdapter {
  std::string directory;
  SparseAdapter adapter;
  SparseAdapter deltas;
};

struct ComparedPair {
  ComparedAdapter first;
  ComparedAdapter second;
  std::optional<BaseTensors> base;
  AdapterComparison comparison;
};

SparseAdapter deltas_of(const std::string& directory, const SparseAdapter& adapter,
                        const std::optional<BaseTensors>& base, bool force) {
  try {
    return adapter_deltas(adapter, base ? &*base : nullptr, force);
  } catch (const ConfigError& error) {
    throw ConfigError(directory + ": " + error.what());
  } catch (const Error& error) {
    throw Error(directory + ": " + error.what());
  }
}

SparseAdapter load_sparse(const std::string& directory) {
  SHIRA_CHECK(ConfigError, !is_lora_layout(adapter_layout(directory)), directory,
              ": is LoRA. Pairs are compared of sparse adapters; `shira convert --to shira` makes "
              "one of it.");
  return load_adapter(directory);
}

/// Without a base the changes of new weights are left out, unless they were asked for.
ComparedPair load_pair(const InspectPairFlags& flags) {
  ComparedPair pair{{flags.first, load_sparse(flags.first), {}},
                    {flags.second, load_sparse(flags.second), {}},
                    std::nullopt,
                    {}};
  if (!flags.base_model.empty()) pair.base = map_checkpoint(resolve_base_model(flags.base_model));
  const bool known = pair.base || (pair.first.adapter.kind == ValueKind::kDeltas &&
                                   pair.second.adapter.kind == ValueKind::kDeltas);
  if (!known && flags.picture.empty()) {
    log_warning(
        "the adapters hold new weights; what they change exists only against their base: "
        "give --base_model for AWOM, AWOR and distances.");
    pair.comparison = compare_adapters(pair.first.adapter, pair.second.adapter);
    return pair;
  }
  for (ComparedAdapter* one : {&pair.first, &pair.second}) {
    one->deltas = deltas_of(one->directory, one->adapter, pair.base, flags.force);
  }
  pair.comparison =
      compare_adapters(pair.first.deltas, pair.second.deltas, pair.base ? &*pair.base : nullptr);
  return pair;
}

// ---- picture

void draw_product(const ComparedPair& pair, const std::string& tensor, const std::string& path) {
  const auto& shared = pair.comparison.tensors;
  SHIRA_CHECK(ConfigError,
              std::ranges::any_of(shared, [&](const auto& one) { return one.name == tensor; }),
              "--draw: '", tensor, "' is not among the tensors that both adapters have, as ",
              shared.front().name, " is.");
  ProductBlocks blocks = product_blocks(pair.first.deltas.tensors.at(tensor),
                                        pair.second.deltas.tensors.at(tensor), kMostBlocks);
  const std::string size = std::to_string(blocks.side);
  const std::string what =
      blocks.side == 1 ? "" : " (root mean squares of " + size + " x " + size + ")";
  write_png(path,
            draw_heat_map({"magnitude of A^T B, " + tensor, "columns of B" + what, "columns of A",
                           blocks.width, blocks.width, std::move(blocks.values)}));
}

/// What a difference of checkpoints may hold beside sparse tensors.
std::vector<std::string> whole_names(const ComparedPair& pair) {
  std::set<std::string> names;
  for (const ComparedAdapter* one : {&pair.first, &pair.second}) {
    for (const auto& [name, tensor] : one->adapter.whole) names.insert(name);
    names.insert(one->adapter.removed.begin(), one->adapter.removed.end());
  }
  return {names.begin(), names.end()};
}

// ---- JSON

void add_changes(PairJson& object, const ChangeComparison& changes) {
  const auto& [orthogonality, distances] = changes;
  object["awom_spectral"] = orthogonality.spectral.value;
  object["awom_spectral_error"] = orthogonality.spectral.error;
  object["awom_frobenius"] = orthogonality.frobenius;
  object["awor"] = orthogonality.ratio();
  object["distance_base_a"] = distances.first;
  object["distance_base_b"] = distances.second;
  object["distance_a_b"] = distances.between;
  if (distances.first_before > 0) {
    object["relative_change_a"] = distances.first / distances.first_before;
  }
  if (distances.second_before > 0) {
    object["relative_change_b"] = distances.second / distances.second_before;
  }
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

PairJson tensor_json(const TensorComparison& tensor) {
  PairJson object;
  if (!tensor.name.empty()) {
    object["name"] = tensor.name;
    object["shape"] = tensor.shape;
  }
  object["nnz_a"] = tensor.overlap.first;
  object["nnz_b"] = tensor.overlap.second;
  object["shared"] = tensor.overlap.shared;
  object["shared_of_a"] = share(tensor.overlap.shared, tensor.overlap.first);
  object["shared_of_b"] = share(tensor.overlap.shared, tensor.overlap.second);
  object["jaccard"] = tensor.overlap.jaccard();
  if (tensor.changes) add_changes(object, *tensor.changes);
  return object;
}

PairJson adapter_json(const ComparedAdapter& one) {
  return {{"directory", one.directory},
          {"value_kind", one.adapter.kind == ValueKind::kWeights ? "weights" : "deltas"},
          {"mask_type", one.adapter.mask_type},
          {"nnz", one.adapter.nnz()}};
}

void print_json(const ComparedPair& pair) {
  PairJson object = {{"kind", "adapter_pair"},
                     {"a", adapter_json(pair.first)},
                     {"b", adapter_json(pair.second)},
                     {"total", tensor_json(pair.comparison.total)},
                     {"only_in_a", pair.comparison.only_first},
                     {"only_in_b", pair.comparison.only_second},
                     {"not_compared", whole_names(pair)},
                     {"tensors", PairJson::array()}};
  for (const auto& tensor : pair.comparison.tensors) {
    object["tensors"].push_back(tensor_json(tensor));
  }
  std::cout << object.dump() << "\n";
}

// ---- text

using PairRow = std::vector<std::string>;

std::string four_digits(double value) {
  std::ostringstream out;
  out << std::setprecision(4) << value;
  return out.str();
}

PairRow pair_row(const TensorComparison& tensor) {
  const auto& [first, second, shared] = tensor.overlap;
  PairRow row{tensor.name.empty() ? "all" : tensor.name,
              tensor.name.empty() ? "" : shape_text(tensor.shape),
              std::to_string(first),
              std::to_string(second),
              std::to_string(shared),
              four_digits(tensor.overlap.jaccard())};
  if (tensor.changes) {
    const auto& [orthogonality, distances] = *tensor.changes;
    for (const double value :
         {orthogonality.spectral.value, orthogonality.frobenius, orthogonality.ratio(),
          distances.first, distances.second, distances.between}) {
      row.push_back(four_digits(value));
    }
  }
  return row;
}

/// Columns as wide as their widest cell; the first two to the left.
void print_columns(const std::vector<PairRow>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const PairRow& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const PairRow& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::cout << (i == 0 ? "" : "  ") << (i < 2 ? std::left : std::right)
                << std::setw(static_cast<int>(widths[i])) << row[i];
    }
    std::cout << "\n";
  }
}

void print_alone(const char* label, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::cout << label << ":";
  for (const std::string& name : names) std::cout << " " << name;
  std::cout << "\n";
}

/// `change` and `before`: L2 norms over its entries.
void print_adapter(const char* label, const ComparedAdapter& one, double change, double before) {
  std::cout << label << ": " << one.directory << ", " << one.adapter.mask_type << ", "
            << one.adapter.nnz() << " entries";
  if (before > 0) {
    std::cout << ", changed by " << four_digits(100 * change / before) << " % of their L2 norm";
  }
  std::cout << "\n";
}

void print_pair(const ComparedPair& pair) {
  const AdapterComparison& comparison = pair.comparison;
  const ChangeDistances distances =
      comparison.total.changes ? comparison.total.changes->distances : ChangeDistances{};
  print_adapter("A", pair.first, distances.first, distances.first_before);
  print_adapter("B", pair.second, distances.second, distances.second_before);
  std::vector<PairRow> rows{{"tensor", "shape", "in A", "in B", "shared", "Jaccard"}};
  if (comparison.total.changes) {
    for (const char* title :
         {"AWOM (spectral)", "AWOM (Frobenius)", "AWOR", "|A-base|", "|B-base|", "|A-B|"}) {
      rows.front().push_back(title);
    }
  }
  for (const TensorComparison& tensor : comparison.tensors) rows.push_back(pair_row(tensor));
  rows.push_back(pair_row(comparison.total));
  print_columns(rows);
  print_alone("only in A", comparison.only_first);
  print_alone("only in B", comparison.only_second);
  print_alone("not compared, for an adapter holds it whole or removes it", whole_names(pair));
}

}  // namespace

void inspect_pair(const InspectPairFlags& flags) {
  if (!flags.picture.empty()) {
    check_output_directory("the directory of",
                           std::filesystem::absolute(flags.picture).parent_path());
  }
  const ComparedPair pair = load_pair(flags);
  if (!flags.picture.empty()) draw_product(pair, flags.tensor, flags.picture);
  flags.json ? print_json(pair) : print_pair(pair);
}

}  // namespace shira::tools
