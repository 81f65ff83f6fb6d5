// The operations are those of peft/tuners/lora (Linear.forward, DoraLinearVariant.forward) with the
// same casts. The scaling is applied between the factors, where tensors are thin; DoRA's norms,
// which PEFT forms in every forward, change with the factors only: publish() renews them.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/methods/lora.h>

#include <ATen/Functions.h>

#include <cmath>

namespace shira {
namespace {

torch::ScalarType factor_dtype(const torch::Tensor& weight) {
  return c10::promoteTypes(weight.scalar_type(), torch::kFloat32);
}

double scaling_of(const LoraOptions& options) {
  const auto r = static_cast<double>(options.r);
  return options.alpha / (options.use_rslora ? std::sqrt(r) : r);
}

/// (r, ...) beside a weight (out, ...), uniform between plus and minus 1 / sqrt(inputs).
torch::Tensor uniform_factor(const std::string& name, std::int64_t r, const torch::Tensor& weight,
                             std::uint64_t seed) {
  PhiloxStream stream(seed, name);
  const std::int64_t inputs = weight[0].numel();
  const double bound = 1.0 / std::sqrt(static_cast<double>(inputs));
  std::vector<std::int64_t> shape = weight.sizes().vec();
  shape[0] = r;
  const torch::Tensor factor = at::empty(shape, torch::kFloat64);
  auto* values = factor.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < r * inputs; ++i) {
    values[i] = bound * (2.0 * stream.next_double() - 1.0);
  }
  return factor.to(weight.options().dtype(factor_dtype(weight)));
}

/// (out, r), or (out, r, 1, 1) for a convolution.
torch::Tensor zero_factor(std::int64_t r, const torch::Tensor& weight) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(weight.dim()), 1);
  shape[0] = weight.size(0);
  shape[1] = r;
  return at::zeros(shape, weight.options().dtype(factor_dtype(weight)));
}

/// A leaf of its own, to be trained beside `weight`.
torch::Tensor trained_copy(const torch::Tensor& factor, const torch::Tensor& weight) {
  return factor.detach()
      .to(weight.options().dtype(factor_dtype(weight)), /*non_blocking=*/false,
          /*copy=*/true)
      .requires_grad_();
}

void check_fits(const LayerTarget& target, const LoraTensor& factors) {
  const torch::Tensor& weight = target.layer->weight;
  SHIRA_CHECK(ShapeError, weight.sizes() == at::IntArrayRef(weight_shape(factors)),
              target.parameter_name(), " is ", weight.sizes(), ", its LoRA factors are for ",
              at::IntArrayRef(weight_shape(factors)), ". Is the adapter for another base?");
}

/// ConfigError for rows of zeros, whose direction DoRA cannot keep: it divides by their norm.
void check_rows(const std::string& name, const torch::Tensor& norms) {
  const torch::Tensor rows = (norms == 0).nonzero();
  SHIRA_CHECK(ConfigError, rows.size(0) == 0, name, ": ", rows.size(0),
              " rows are zeros, the first is row ", rows[0].item<std::int64_t>(),
              ": DoRA cannot scale them. Leave this layer out of target_modules, or train with "
              "adapter: lora or shira.");
}

}  // namespace

/// The factors of one layer in its socket.
class LoraPlug : public nn::LayerPlug {
 public:
  LoraPlug(const LoraTensor& factors, const torch::Tensor& weight, double dropout)
      : factors_(factors), dropout_(dropout) {
    factors_.a = trained_copy(factors.a, weight);
    factors_.b = trained_copy(factors.b, weight);
    if (is_dora()) factors_.magnitude = trained_copy(factors.magnitude, weight);
    renew_norms(weight);
  }

  torch::Tensor forward(const torch::Tensor& input, const nn::Layer& layer) override {
    const torch::Tensor wide = input.to(factors_.a.scalar_type());
    const bool drops = is_training && dropout_ > 0.0;
    const torch::Tensor x = drops ? at::dropout(wide, dropout_, /*train=*/true) : wide;
    const torch::Tensor change =
        layer.mix_channels(layer.apply(x, factors_.a) * factors_.scaling, factors_.b);
    torch::Tensor sum;
    if (!is_dora()) {
      sum = layer.frozen(input, layer.bias) + change;
    } else if (drops) {
      sum = dropped_dora(input, x, change, layer);
    } else {
      sum = layer.per_output(gains()) * (layer.frozen(input) + change);
      if (layer.bias.defined()) sum = sum + layer.per_output(layer.bias);
    }
    return sum.to(layer.weight.scalar_type());
  }

  void renew_norms(const torch::Tensor& weight) {
    if (is_dora()) norms_ = dora_norms(factors_, weight);
  }

  bool is_dora() const { return factors_.magnitude.defined(); }
  const LoraTensor& factors() const { return factors_; }

  bool is_training = false;

 private:
  /// By how much the rows of the sum are lengthened, (out).
  torch::Tensor gains() const { return factors_.magnitude / norms_; }

  /// The base's own share sees every input, what DoRA adds to it the dropped ones `x`.
  torch::Tensor dropped_dora(const torch::Tensor& input, const torch::Tensor& x,
                             const torch::Tensor& change, const nn::Layer& layer) const {
    const torch::Tensor gain = layer.per_output(gains());
    const torch::Tensor dropped = layer.frozen(x.to(layer.weight.scalar_type()));
    return layer.frozen(input, layer.bias) + ((gain - 1) * dropped + gain * change);
  }

  LoraTensor factors_;
  torch::Tensor norms_;  // DoRA: (out), no gradient
  double dropout_;
};

LoraTensor initial_factors(const std::string& name, const torch::Tensor& weight,
                           const LoraOptions& options) {
  torch::NoGradGuard no_grad;
  LoraTensor factors{uniform_factor(name + ".lora_A", options.r, weight, options.seed),
                     zero_factor(options.r, weight),
                     scaling_of(options),
                     {}};
  if (options.use_dora) {
    factors.magnitude = dora_norms(factors, weight);
    check_rows(name, factors.magnitude);
  }
  return factors;
}

std::int64_t count_factors(at::IntArrayRef weight, std::int64_t r, bool use_dora) {
  const std::int64_t inputs = c10::multiply_integers(weight.slice(1));
  return r * (weight[0] + inputs) + (use_dora ? weight[0] : 0);
}

void append_factors(const std::string& layer, const LoraTensor& factors,
                    std::vector<NamedTensor>& parameters) {
  parameters.emplace_back(layer + ".lora_A.weight", factors.a);
  parameters.emplace_back(layer + ".lora_B.weight", factors.b);
  if (!factors.magnitude.defined()) return;
  parameters.emplace_back(layer + ".lora_magnitude_vector", factors.magnitude);
}

LoraTraining::LoraTraining(std::vector<LayerTarget> targets, const LoraOptions& options)
    : dropout_(options.dropout), use_rslora_(options.use_rslora) {
  for (LayerTarget& target : targets) {
    const LoraTensor factors =
        initial_factors(target.parameter_name(), target.layer->weight, options);
    add(std::move(target), factors);
  }
  plug_in();
}

LoraTraining::LoraTraining(const torch::nn::Module& model, const LoraAdapter& adapter,
                           double dropout)
    : dropout_(dropout), use_rslora_(adapter.use_rslora) {
  std::set<std::string> names;
  for (const auto& [name, factors] : adapter.tensors) names.insert(name);
  for (LayerTarget& target : targets_named(model, names)) {
    const LoraTensor& factors = adapter.tensors.at(target.parameter_name());
    add(std::move(target), factors);
  }
  plug_in();
}

void LoraTraining::add(LayerTarget target, const LoraTensor& factors) {
  check_trainable(target);
  check_fits(target, factors);
  auto plug = std::make_shared<LoraPlug>(factors, target.layer->weight, dropout_);
  layers_.push_back({std::move(target), std::move(plug)});
}

void LoraTraining::plug_in() {
  for (Layer& layer : layers_) layer.target.layer->plug = layer.plug;
}

LoraTraining::~LoraTraining() {
  for (Layer& layer : layers_) layer.target.layer->plug.reset();
}

std::vector<NamedTensor> LoraTraining::parameters() const {
  std::vector<NamedTensor> parameters;
  for (const Layer& layer : layers_) {
    append_factors(layer.target.name, layer.plug->factors(), parameters);
  }
  return parameters;
}

void LoraTraining::publish() {
  for (const Layer& layer : layers_) layer.plug->renew_norms(layer.target.layer->weight);
}

void LoraTraining::set_training(bool is_training) {
  for (const Layer& layer : layers_) layer.plug->is_training = is_training;
}

LoraAdapter LoraTraining::extract() const {
  LoraAdapter adapter;
  adapter.use_rslora = use_rslora_;
  adapter.dropout = dropout_;
  for (const Layer& layer : layers_) {
    const LoraTensor& factors = layer.plug->factors();
    LoraTensor copy{factors.a.detach().clone(), factors.b.detach().clone(), factors.scaling, {}};
    if (layer.plug->is_dora()) copy.magnitude = factors.magnitude.detach().clone();
    adapter.tensors.emplace(layer.target.parameter_name(), std::move(copy));
  }
  return adapter;
}

}  // namespace shira
