// The rules, name by name. An adapter at scale 0 is checked where it is sparse and changes nothing.
#include "checkpoint_changes.h"

#include <shira/base/error.h>
#include <shira/sparse/scatter_into.h>

#include <algorithm>

namespace shira::detail {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The adapters that act on one tensor, those at scale 0 left out.
struct Actors {
  std::vector<const ScaledAdapter*> writing;
  std::vector<const ScaledAdapter*> removing;
  bool is_added = false;  // by one of them

  bool are_one_copy() const {
    return writing.size() + removing.size() == 1 &&
           (writing.empty() ? removing : writing)[0]->scale == 1.0;
  }
};

Actors actors_of(const std::string& name, const std::vector<ScaledAdapter>& adapters,
                 const std::vector<std::set<std::string>>& written) {
  Actors actors;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    if (adapters[i].scale == 0.0) continue;
    if (written[i].contains(name)) actors.writing.push_back(&adapters[i]);
    if (contains(adapters[i].adapter.removed, name)) actors.removing.push_back(&adapters[i]);
    actors.is_added |= contains(adapters[i].adapter.added, name);
  }
  return actors;
}

/// What is wrong with them, or nothing.
std::string problem_of(const Actors& actors, bool exists) {
  if (actors.is_added && exists) return "the adapter adds it, but the base has it already.";
  if (!actors.is_added && !exists) return "the base has no such tensor.";
  const bool needs_copy = actors.is_added || !actors.removing.empty();
  if (!needs_copy || actors.are_one_copy()) return "";
  return concat("one adapter ", actors.is_added ? "adds" : "removes",
                " it: that works at scale 1 only, and for no two adapters at once.");
}

/// The tensor that the one writer replaces the base's by, whatever that was; or undefined.
torch::Tensor replacement(const std::string& name, const Actors& actors) {
  if (actors.writing.size() != 1 || !actors.are_one_copy()) return {};
  const SparseAdapter& adapter = actors.writing[0]->adapter;
  const auto whole = adapter.whole.find(name);
  const bool replaces = whole != adapter.whole.end() && adapter.kind == ValueKind::kWeights;
  return replaces ? whole->second : torch::Tensor();
}

void add_change(const std::string& name, const Actors& actors, bool exists,
                CheckpointChanges& changes) {
  const std::string problem = problem_of(actors, exists);
  if (!problem.empty()) {
    changes.problems += "\n  " + name + ": " + problem;
  } else if (!actors.removing.empty()) {
    changes.removed.insert(name);
  } else if (const torch::Tensor whole = replacement(name, actors); whole.defined()) {
    changes.replaced.emplace(name, whole);
    if (actors.is_added) changes.added.insert(name);
  } else {
    changes.patched.insert(name);
  }
}

}  // namespace

CheckpointChanges changes_of(const std::vector<ScaledAdapter>& adapters,
                             const std::function<bool(const std::string&)>& has) {
  std::vector<std::set<std::string>> written;
  std::set<std::string> names;
  for (const ScaledAdapter& scaled : adapters) {
    names.merge(std::set(written.emplace_back(patched_names({scaled}))));
    names.insert(scaled.adapter.removed.begin(), scaled.adapter.removed.end());
  }
  CheckpointChanges changes;
  for (const std::string& name : names) {
    const Actors actors = actors_of(name, adapters, written);
    const bool is_checked = std::any_of(adapters.begin(), adapters.end(), [&](const auto& scaled) {
      return scaled.adapter.tensors.contains(name);
    });
    const bool is_idle = actors.writing.empty() && actors.removing.empty();
    if (!is_idle || is_checked) add_change(name, actors, has(name), changes);
  }
  return changes;
}

PatchEntry resolve_on(const std::string& name, const torch::Tensor& weight,
                      const std::vector<ScaledAdapter>& adapters, ResolveOptions options) {
  const BaseValues values = [&weight](const std::string&, const torch::Tensor& indices) {
    return indices.defined() ? gather_from(weight, indices) : weight;
  };
  return resolve_entry(name, weight, adapters, values, options);
}

}  // namespace shira::detail
