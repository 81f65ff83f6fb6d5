// The methods on a convolution: against autograd with a dense weight, and against what live PEFT
// computed (scripts/make_conv_fixture.py).
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/safetensors.h>
#include <shira/methods/lora.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/wm_dora.h>
#include <shira/nn/conv2d.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

namespace shira {
namespace {

std::filesystem::path fixture() {
  const char* source = std::getenv("SHIRA_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : ".") /
         "tests/fixtures/peft_conv.safetensors";
}

constexpr nn::Conv2dGeometry kGeometry = {.stride = {2, 2}, .padding = {1, 1}};

struct OneConvolution : torch::nn::Module {
  explicit OneConvolution(torch::Tensor weight, torch::Tensor bias = {}) {
    conv = register_module("conv", nn::Conv2d(std::move(weight), std::move(bias), kGeometry));
  }
  nn::Conv2d conv{nullptr};
};

OneConvolution random_convolution(torch::ScalarType dtype) {
  torch::manual_seed(2);
  return OneConvolution(at::randn({5, 3, 3, 2}, torch::kFloat64).to(dtype),
                        at::randn({5}, torch::kFloat64).to(dtype));
}

torch::Tensor random_input(torch::ScalarType dtype) {
  return at::randn({2, 3, 7, 6}, torch::kFloat64).to(dtype);
}

torch::Tensor loss_of(const torch::Tensor& output) { return output.tanh().square().sum(); }

torch::Tensor convolve(const torch::Tensor& x, const torch::Tensor& weight,
                       const torch::Tensor& bias) {
  return at::conv2d(x, weight, bias, kGeometry.stride, kGeometry.padding);
}

TEST(Conv2dMethods, PackedGradientsAreThoseOfTheDenseWeightUnderTheMask) {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32}) {
    OneConvolution model = random_convolution(dtype);
    const torch::Tensor x = random_input(dtype).requires_grad_();
    const torch::Tensor dense_x = x.detach().clone().requires_grad_();
    const torch::Tensor dense = model.conv->weight.clone().requires_grad_();
    loss_of(convolve(dense_x, dense, model.conv->bias)).backward();

    const auto targets = select_targets(model, {"conv"});
    const MaskMap masks = build_masks(target_weights(targets), rand_mask({.density = 0.3}, 3));
    PackedShira shira(targets, masks);
    loss_of(model.conv->forward(x)).backward();
    const torch::Tensor indices = masks.at("conv.weight").indices();
    const torch::Tensor expected = dense.grad().reshape({-1}).index_select(0, indices);
    const double tolerance = dtype == torch::kFloat64 ? 1e-12 : 1e-5;
    EXPECT_TRUE(at::allclose(shira.parameters()[0].second.grad(), expected, tolerance, tolerance));
    EXPECT_TRUE(at::allclose(x.grad(), dense_x.grad(), tolerance, tolerance));
  }
}

TEST(Conv2dMethods, PackedTrainingWritesTheMaskedEntriesAlone) {
  OneConvolution model = random_convolution(torch::kBFloat16);
  const torch::Tensor before = model.conv->weight.clone();
  const auto targets = select_targets(model, {"conv"});
  const MaskMap masks = build_masks(target_weights(targets), rand_mask({.density = 0.3}, 3));
  PackedShira shira(targets, masks);
  {
    torch::NoGradGuard no_grad;
    shira.parameters()[0].second.add_(1);
  }
  shira.publish();
  const torch::Tensor changed = model.conv->weight.ne(before);
  EXPECT_TRUE(changed.equal(masks.at("conv.weight").to_dense()));
}

TEST(Conv2dMethods, AllLinearLeavesConvolutionsOut) {
  const OneConvolution model = random_convolution(torch::kFloat32);
  EXPECT_THROW(select_targets(model, {"all-linear"}), ConfigError);
  EXPECT_EQ(select_targets(model, {"conv"}).size(), 1U);
}

class Conv2dFactors : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(LoraAndDora, Conv2dFactors, testing::Values("lora", "dora"),
                         [](const auto& info) { return info.param; });

TEST_P(Conv2dFactors, OutputsAndGradientsAreThoseOfPeft) {
  const SafetensorsFile file(fixture());
  const auto stored = [&](const std::string& name) {
    return copy_tensor(file.view(GetParam() + "." + name), torch::kFloat32);
  };
  OneConvolution model(stored("weight"), stored("bias"));
  LoraTensor factors{stored("a"), stored("b"), 1.5, {}};
  const bool is_dora = GetParam() == "dora";
  // PEFT keeps (1, out, 1, 1) in memory.
  if (is_dora) factors.magnitude = stored("magnitude").flatten();
  LoraAdapter adapter;
  adapter.tensors.emplace("conv.weight", factors);
  const LoraTraining lora(model, adapter);
  const torch::Tensor x = stored("input").requires_grad_();
  const torch::Tensor output = model.conv->forward(x);
  EXPECT_TRUE(at::allclose(output, stored("output"), 1e-5, 1e-5));
  loss_of(output).backward();
  EXPECT_TRUE(at::allclose(x.grad(), stored("grad.input"), 1e-4, 1e-5));
  const auto leaves = lora.parameters();
  EXPECT_TRUE(at::allclose(leaves[0].second.grad(), stored("grad.a"), 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(leaves[1].second.grad(), stored("grad.b"), 1e-4, 1e-5));
  ASSERT_EQ(leaves.size(), is_dora ? 3U : 2U);
  if (!is_dora) return;
  EXPECT_TRUE(
      at::allclose(leaves[2].second.grad(), stored("grad.magnitude").flatten(), 1e-4, 1e-5));
}

TEST_P(Conv2dFactors, AreSavedAndLoadedBitForBit) {
  const TemporaryDirectory directory;
  const OneConvolution model = random_convolution(torch::kFloat32);
  const LoraTraining lora(select_targets(model, {"conv"}),
                          {.r = 2, .alpha = 4.0, .use_dora = GetParam() == "dora"});
  const LoraTensor expected = lora.extract().tensors.at("conv.weight");
  save_lora_adapter(directory.path(), lora.extract(), "");
  const LoraTensor read = load_lora_adapter(directory.path()).tensors.at("conv.weight");
  EXPECT_TRUE(read.a.equal(expected.a) && read.b.equal(expected.b));
  EXPECT_EQ(read.scaling, 2.0);
  EXPECT_EQ(read.magnitude.defined(), GetParam() == "dora");
  EXPECT_TRUE(!read.magnitude.defined() || read.magnitude.equal(expected.magnitude));
}

TEST_P(Conv2dFactors, StartAsTheBase) {
  OneConvolution model = random_convolution(torch::kFloat32);
  const torch::Tensor x = random_input(torch::kFloat32);
  const torch::Tensor before = model.conv->forward(x);
  const LoraTraining lora(select_targets(model, {"conv"}),
                          {.r = 2, .alpha = 4.0, .use_dora = GetParam() == "dora"});
  EXPECT_TRUE(at::allclose(model.conv->forward(x), before, 1e-5, 1e-6));
  const auto leaves = lora.parameters();
  EXPECT_EQ(leaves[0].second.sizes(), (at::IntArrayRef{2, 3, 3, 2}));
  EXPECT_EQ(leaves[1].second.sizes(), (at::IntArrayRef{5, 2, 1, 1}));
  std::int64_t count = 0;
  for (const auto& [name, leaf] : leaves) count += leaf.numel();
  EXPECT_EQ(count, count_factors({5, 3, 3, 2}, 2, GetParam() == "dora"));
  const double bound = 1.0 / std::sqrt(18.0);  // in * kh * kw
  EXPECT_LE(leaves[0].second.abs().max().item<double>(), bound);
  EXPECT_GT(leaves[0].second.abs().max().item<double>(), 0.8 * bound);
}

TEST(Conv2dMethods, WmDoraIsDoraUnderTheMask) {
  OneConvolution model = random_convolution(torch::kFloat64);
  const torch::Tensor base = model.conv->weight.clone();
  const torch::Tensor x = random_input(torch::kFloat64);
  const auto targets = select_targets(model, {"conv"});
  const MaskMap masks = build_masks(target_weights(targets), wm_mask({.density = 0.3}));
  WmDora method(targets, masks, {.r = 2, .alpha = 3.0, .seed = 5});
  const auto parameters = method.parameters();
  {
    torch::NoGradGuard no_grad;
    for (const auto& [name, leaf] : parameters) leaf.add_(0.1 * at::randn_like(leaf));
  }
  method.publish();
  std::vector<torch::Tensor> leaves;
  for (const auto& [name, leaf] : parameters) {
    leaves.push_back(leaf.detach().clone().requires_grad_());
  }
  const torch::Tensor product = leaves[1].flatten(1).mm(leaves[0].flatten(1)).view_as(base);
  const torch::Tensor sum = base + 1.5 * product;
  const torch::Tensor gain = leaves[2] / sum.flatten(1).norm(2, 1).detach();
  const torch::Tensor dora = gain.view({-1, 1, 1, 1}) * sum;
  const torch::Tensor weight = base + masks.at("conv.weight").to_dense() * (dora - base);
  EXPECT_TRUE(at::allclose(model.conv->weight, weight, 1e-12, 1e-12));
  loss_of(convolve(x, weight, model.conv->bias)).backward();
  loss_of(model.conv->forward(x)).backward();
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(at::allclose(parameters[i].second.grad(), leaves[i].grad(), 1e-10, 1e-10)) << i;
  }
}

}  // namespace
}  // namespace shira
