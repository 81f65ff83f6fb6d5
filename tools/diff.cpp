// shira diff: the exact difference of two checkpoints as an adapter.
#include "commands.h"
#include "numbers.h"

#include <shira/base/logging.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>
#include <shira/io/hub_cache.h>
#include <shira/sparse/diff_checkpoints.h>

#include <nlohmann/json.hpp>

#include <iostream>
#include <set>

namespace shira::tools {
namespace {

namespace fs = std::filesystem;

struct DiffFlags {
  std::string base, tuned, output;
  bool json = false;
};

bool are_same_files(const fs::path& a, const fs::path& b) {
  return fs::exists(a) && fs::exists(b) && fs::file_size(a) == fs::file_size(b) &&
         read_file(a) == read_file(b);
}

/// Configuration and tokenizer files that merging would take from the base, but the tuned
/// checkpoint has others.
std::vector<std::string> other_differences(const fs::path& base, const fs::path& tuned) {
  std::set<std::string> names;
  for (const fs::path& directory : {base, tuned}) {
    for (const std::string& name : companion_files(directory)) names.insert(name);
  }
  std::vector<std::string> differing;
  for (const std::string& name : names) {
    if (!are_same_files(base / name, tuned / name)) differing.push_back(name);
  }
  return differing;
}

void warn_about(const std::vector<std::string>& files) {
  if (files.empty()) return;
  std::string list;
  for (const std::string& name : files) list += (list.empty() ? "" : ", ") + name;
  log_warning("an adapter holds weights only, but these files differ as well: " + list);
}

void print_report(const CheckpointDiff& diff, const std::vector<std::string>& files,
                  const DiffFlags& flags) {
  const SparseAdapter& adapter = diff.adapter;
  const auto bytes = fs::file_size(fs::path(flags.output) / "adapter_model.safetensors");
  const auto replaced = adapter.whole.size() - adapter.added.size();
  if (flags.json) {
    const nlohmann::ordered_json object = {{"output", flags.output},
                                           {"unchanged", diff.unchanged},
                                           {"sparse", adapter.tensors.size()},
                                           {"nnz", adapter.nnz()},
                                           {"replaced", replaced},
                                           {"added", adapter.added.size()},
                                           {"removed", adapter.removed.size()},
                                           {"bytes", bytes},
                                           {"other_files", files}};
    std::cout << object.dump() << "\n";
    return;
  }
  if (adapter.tensors.empty() && adapter.whole.empty() && adapter.removed.empty()) {
    std::cout << "the checkpoints' weights are identical: ";
  }
  std::cout << "adapter in " << flags.output << ", " << bytes_text(static_cast<double>(bytes))
            << ": " << adapter.nnz() << " entries in " << adapter.tensors.size() << " tensors, "
            << replaced << " tensors replaced, " << adapter.added.size() << " added, "
            << adapter.removed.size() << " removed, " << diff.unchanged << " unchanged\n";
}

void diff(const DiffFlags& flags) {
  check_new_directory(flags.output);
  const fs::path base = resolve_base_model(flags.base), tuned = resolve_base_model(flags.tuned);
  CheckpointDiff result = diff_checkpoints(base, tuned, log_progress("compared"));
  result.adapter.base_model = flags.base;
  const std::vector<std::string> files = other_differences(base, tuned);
  write_directory(flags.output,
                  [&](const fs::path& directory) { save_adapter(directory, result.adapter); });
  warn_about(files);
  print_report(result, files, flags);
}

}  // namespace

void add_diff(CLI::App& app, int&) {
  auto flags = std::make_shared<DiffFlags>();
  CLI::App* command = app.add_subcommand(
      "diff", "Make the adapter that turns one checkpoint into another, bit for bit");
  command->footer(
      "`shira merge` of it with the base gives every tensor of the tuned checkpoint, byte for "
      "byte,\n"
      "in any dtype of whole bytes. A tensor of which at most 30 % of the entries differ is held "
      "as positions "
      "and\n"
      "values, another one whole; what is added or removed is listed. A model in memory "
      "(generate,\n"
      "eval) takes it unless tensors are added, removed, or of another shape.");
  command->add_option("base", flags->base, "Checkpoint directory, or org/name")->required();
  command->add_option("tuned", flags->tuned, "Checkpoint directory, or org/name")->required();
  command->add_option("-o,--output", flags->output, "New adapter directory")->required();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags] { diff(*flags); });
}

}  // namespace shira::tools
