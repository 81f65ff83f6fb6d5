#include "checkpoint_source.h"

#include <shira/base/error.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

namespace shira::detail {

torch::ScalarType stored_dtype(const CheckpointFiles& files, const std::string& name) {
  const auto names = files.names();
  SHIRA_CHECK(IoError, !names.empty(), files.directory().string(), ": the weights hold no tensor.");
  return to_scalar_type(files.view(files.contains(name) ? name : names.front()).dtype);
}

CheckpointSource::CheckpointSource(const CheckpointFiles& files, const LoadOptions& options,
                                   Predicate writable, const std::string& main_tensor)
    : files_(files),
      writable_(options.writable ? options.writable : std::move(writable)),
      dtype_(options.dtype ? *options.dtype : stored_dtype(files, main_tensor)) {}

ParameterSource CheckpointSource::parameters() {
  return [this](const std::string& name, at::IntArrayRef shape) { return take(name, shape); };
}

torch::Tensor CheckpointSource::take(const std::string& name, at::IntArrayRef shape) {
  taken_.insert(name);
  if (!files_.contains(name)) return reject(name, shape, "missing");
  const TensorView view = files_.view(name);
  const auto stored = to_scalar_type(view.dtype);
  if (at::IntArrayRef(view.shape) != shape) {
    return reject(name, shape,
                  concat("expected shape ", shape, ", got ", at::IntArrayRef(view.shape)));
  }
  if (!c10::isFloatingType(stored)) {
    return reject(name, shape, concat("expected floating-point values, got ", stored));
  }
  return writable_(name) || stored != dtype_ ? copy_tensor(view, dtype_) : map_tensor(view);
}

void CheckpointSource::check_all(const std::function<bool(const std::string&)>& is_ignored) {
  for (const std::string& name : files_.names()) {
    if (!taken_.contains(name) && !is_ignored(name)) add_problem(name, "unexpected");
  }
  const std::string rest =
      count_ > kMostListed ? concat("\n  and ", count_ - kMostListed, " more") : "";
  SHIRA_CHECK(IoError, count_ == 0, files_.directory().string(),
              ": the weights do not fit config.json:", problems_, rest);
}

void CheckpointSource::add_problem(const std::string& name, const std::string& what) {
  if (++count_ <= kMostListed) problems_ += "\n  " + name + ": " + what;
}

torch::Tensor CheckpointSource::reject(const std::string& name, at::IntArrayRef shape,
                                       const std::string& why) {
  add_problem(name, why);
  return at::empty({1}, dtype_).expand(shape);  // no memory for a model that will not be
}

}  // namespace shira::detail
