// The reference's loss is the mean over predicted tokens, as transformers computes it.
#include <shira/base/error.h>
#include <shira/io/safetensors.h>
#include <shira/methods/full_training.h>
#include <shira/sparse/tensor_file.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/verify.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

constexpr std::string_view kGradPrefix = "grad.";

/// A reference file, its tensors read on demand.
class Reference {
 public:
  explicit Reference(const std::filesystem::path& path) : file_(path) {}

  std::vector<std::string> names() const { return file_.names(); }

  torch::Tensor require(const std::string& name) const {
    SHIRA_CHECK(IoError, file_.contains(name), file_.path().string(), ": no tensor '", name,
                "'. Is this a reference state (scripts/make_reference_state.py)?");
    return map_tensor(file_.view(name));
  }

  bool has(const std::string& name) const { return file_.contains(name); }

  /// The inputs, checked to be ids of the model's vocabulary.
  Batch batch(const Llama& model) const {
    const torch::Tensor ids = require_integers("input_ids");
    SHIRA_CHECK(IoError, ids.dim() == 2 && ids.numel() > 0 && ids.size(1) >= 2,
                file_.path().string(), ": input_ids must be (B, T) with T >= 2. Got ", ids.sizes(),
                ".");
    SHIRA_CHECK(IoError,
                ids.min().item<std::int64_t>() >= 0 &&
                    ids.max().item<std::int64_t>() < model->config.vocab_size,
                file_.path().string(), ": input_ids outside the model's vocabulary of ",
                model->config.vocab_size, ".");
    const auto mask =
        has("attention_mask") ? require_integers("attention_mask") : at::ones_like(ids);
    const auto labels =
        has("labels") ? require_integers("labels") : ids.masked_fill(mask == 0, kIgnoreLabel);
    check_like_ids("attention_mask", mask, ids, (mask == 0).logical_or(mask == 1));
    check_like_ids("labels", labels, ids,
                   (labels == kIgnoreLabel)
                       .logical_or((labels >= 0).logical_and(labels < model->config.vocab_size)));
    SHIRA_CHECK(IoError, mask.any().item<bool>(), file_.path().string(),
                ": attention_mask is 0 everywhere.");
    return {{"input_ids", ids}, {"labels", labels}, {"attention_mask", mask}};
  }

 private:
  torch::Tensor require_integers(const std::string& name) const {
    const torch::Tensor tensor = require(name);
    SHIRA_CHECK(IoError, c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/false),
                file_.path().string(), ": ", name, " must be integers. Got ",
                torch_dtype_name(tensor.scalar_type()), ".");
    return tensor.to(torch::kInt64);
  }

  void check_like_ids(const char* name, const torch::Tensor& tensor, const torch::Tensor& ids,
                      const torch::Tensor& allowed) const {
    SHIRA_CHECK(IoError, tensor.sizes() == ids.sizes(), file_.path().string(), ": ", name,
                " must have input_ids' shape ", ids.sizes(), ". Got ", tensor.sizes(), ".");
    SHIRA_CHECK(IoError, allowed.all().item<bool>(), file_.path().string(), ": ", name,
                " holds values that this model cannot take.");
  }

  SafetensorsFile file_;
};

TensorDifference compare(const std::string& name, const torch::Tensor& ours,
                         const torch::Tensor& reference, double tolerance) {
  SHIRA_CHECK(IoError, ours.sizes() == reference.sizes(), name, ": the reference has shape ",
              reference.sizes(), ", the model ", ours.sizes(), ".");
  const torch::Tensor expected = reference.to(torch::kFloat64).reshape({-1});
  const torch::Tensor error = (ours.detach().to(torch::kFloat64).reshape({-1}) - expected).abs();
  TensorDifference difference{name, error.max().item<double>(), expected.abs().max().item<double>(),
                              false};
  const bool finite =
      std::isfinite(difference.max_abs_error) && std::isfinite(difference.max_abs_reference);
  difference.passed = finite && difference.max_abs_error <=
                                    tolerance * std::max(difference.max_abs_reference, 1e-6);
  return difference;
}

/// Both sides where attention_mask is 1.
TensorDifference compare_logits(const torch::Tensor& logits, const torch::Tensor& reference,
                                const torch::Tensor& mask, double tolerance) {
  SHIRA_CHECK(IoError, logits.sizes() == reference.sizes(), "logits: the reference has shape ",
              reference.sizes(), ", the model ", logits.sizes(), ".");
  const torch::Tensor rows = mask.to(torch::kBool).unsqueeze(-1);
  return compare("logits", logits.detach().masked_select(rows), reference.masked_select(rows),
                 tolerance);
}

void compare_gradients(const Reference& reference, const std::vector<NamedTensor>& parameters,
                       double tolerance, VerifyReport& report) {
  for (const std::string& name : reference.names()) {
    if (!name.starts_with(kGradPrefix)) continue;
    const std::string parameter_name = name.substr(kGradPrefix.size());
    const auto found =
        std::find_if(parameters.begin(), parameters.end(),
                     [&](const auto& parameter) { return parameter.first == parameter_name; });
    SHIRA_CHECK(IoError, found != parameters.end(), name, ": the model has no parameter ",
                parameter_name, ".");
    const torch::Tensor& parameter = found->second;
    const torch::Tensor grad =
        parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter);
    report.tensors.push_back(compare(name, grad, reference.require(name), tolerance));
  }
}

}  // namespace

double TensorDifference::relative() const {
  return max_abs_reference > 0.0 ? max_abs_error / max_abs_reference : max_abs_error;
}

bool VerifyReport::passed() const {
  return std::all_of(tensors.begin(), tensors.end(),
                     [](const TensorDifference& tensor) { return tensor.passed; });
}

VerifyReport verify(Llama& model, const std::filesystem::path& path, double tolerance) {
  const Reference reference(path);
  const Batch batch = reference.batch(model);
  FullTraining training(*model);
  const torch::Tensor hidden = model->hidden(batch.at("input_ids"));
  const torch::Tensor logits = model->logits(hidden.detach());
  CausalLmObjective objective(model);
  const auto terms = std::max<std::int64_t>(objective.term_count(batch), 1);
  const torch::Tensor loss =
      next_token_loss_sum(model, hidden, batch.at("labels")) / static_cast<double>(terms);
  loss.backward();

  VerifyReport report;
  if (reference.has("logits")) {
    report.tensors.push_back(
        compare_logits(logits, reference.require("logits"), batch.at("attention_mask"), tolerance));
  }
  if (reference.has("loss")) {  // one element, of any shape
    const torch::Tensor expected = reference.require("loss").flatten();
    report.tensors.push_back(compare("loss", loss.flatten(), expected, tolerance));
  }
  compare_gradients(reference, training.parameters(), tolerance, report);
  SHIRA_CHECK(IoError, !report.tensors.empty(), path.string(),
              ": holds neither logits, loss nor gradients.");
  return report;
}

}  // namespace shira
