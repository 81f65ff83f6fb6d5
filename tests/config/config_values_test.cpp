// What a good file is read as.
#include "config_text.h"

namespace shira::testing {
namespace {

TEST(ConfigValues, RequiredKeysAloneGiveTheDefaultsOfTheStruct) {
  const RunConfig config = load_text(kRequired);
  EXPECT_EQ(config.base_model, "base");
  ASSERT_EQ(config.datasets.size(), 1u);
  EXPECT_EQ(config.datasets[0].path, "a.txt");
  EXPECT_EQ(config.datasets[0].type, "text");
  EXPECT_EQ(config.output_dir, "out");
  EXPECT_EQ(config.learning_rate, 5e-4);
  EXPECT_EQ(config.target_modules, std::vector<std::string>{"all-linear"});
  EXPECT_EQ(config.max_steps, std::nullopt);
}

TEST(ConfigValues, NumbersAreReadAsYaml12WritesThem) {
  const auto rate = [](const std::string& text) {
    return load_text(kRequired + "learning_rate: " + text + "\n").learning_rate;
  };
  EXPECT_EQ(rate("1e-3"), 0.001);
  EXPECT_EQ(rate("5E-4"), 0.0005);
  EXPECT_EQ(rate("1.0e-3"), 0.001);
  EXPECT_EQ(rate(".5"), 0.5);
  EXPECT_EQ(rate("+2."), 2.0);
  EXPECT_EQ(rate("3"), 3.0);
}

TEST(ConfigValues, LeadingZeroIsDecimal) {
  EXPECT_EQ(load_text(kRequired + "max_steps: 010\n").max_steps, 10);
}

TEST(ConfigValues, BooleansInAllOfYamlsSpellings) {
  for (const std::string text : {"true", "True", "yes", "on"}) {
    EXPECT_TRUE(load_text(kRequired + "train_on_inputs: " + text + "\n").train_on_inputs) << text;
  }
  for (const std::string text : {"false", "no", "OFF"}) {
    EXPECT_FALSE(load_text(kRequired + "train_on_inputs: " + text + "\n").train_on_inputs) << text;
  }
}

TEST(ConfigValues, NullMeansNotGiven) {
  const RunConfig config = load_text(kRequired + "max_steps:\nlearning_rate: ~\nsnr_gamma: null\n");
  EXPECT_EQ(config.max_steps, std::nullopt);
  EXPECT_EQ(config.learning_rate, 5e-4);
}

TEST(ConfigValues, TextsMayBeQuotedAndMayLookLikeNumbers) {
  EXPECT_EQ(load_text(kRequired + "optimizer: 'sgd'\n").optimizer, "sgd");
  const RunConfig config = load_text("base_model: 7\ndatasets: [{path: 1}]\noutput_dir: \"2\"\n");
  EXPECT_EQ(config.base_model, "7");
  EXPECT_EQ(config.output_dir, "2");
}

TEST(ConfigValues, TargetModulesAreAListOrTheWordAllLinear) {
  const auto targets = [](const std::string& text) {
    return load_text(kRequired + "target_modules: " + text + "\n").target_modules;
  };
  EXPECT_EQ(targets("[q_proj, v_proj]"), (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(targets("all-linear"), std::vector<std::string>{"all-linear"});
}

TEST(ConfigValues, DatasetsKeepTheirOrder) {
  const RunConfig config = load_text(
      "base_model: m\noutput_dir: o\ndatasets:\n  - path: a.txt\n  - path: b.json\n    type: "
      "alpaca\n");
  ASSERT_EQ(config.datasets.size(), 2u);
  EXPECT_EQ(config.datasets[0].path, "a.txt");
  EXPECT_EQ(config.datasets[1].path, "b.json");
  EXPECT_EQ(config.datasets[1].type, "alpaca");
}

TEST(ConfigValues, ValidationSizeIsAShareOrACount) {
  EXPECT_EQ(load_text(kRequired + "val_set_size: 0.05\n").val_set_size, 0.05);
  EXPECT_EQ(load_text(kRequired + "val_set_size: 200\n").val_set_size, 200.0);
}

TEST(ConfigValues, MaskIsAChoiceOrAFile) {
  for (const std::string mask : {"struct", "rand", "wm", "grad", "snip", "masks/a", "a.shira"}) {
    EXPECT_EQ(load_text(kRequired + "shira_mask: " + mask + "\n").shira_mask, mask);
  }
}

TEST(ConfigValues, DatasetsHaveTypesAndWeights) {
  const RunConfig config = load_text(
      "base_model: m\noutput_dir: o\ndatasets: [{path: a}, {path: b, type: sharegpt, weight: "
      ".5}]\n");
  EXPECT_EQ(config.datasets[0].weight, 1.0);
  EXPECT_EQ(config.datasets[1].type, "sharegpt");
  EXPECT_EQ(config.datasets[1].weight, 0.5);
}

TEST(ConfigValues, OverrideReplacesTheFilesValueAndTheLastOneCounts) {
  const RunConfig config = load_text(
      kRequired + "learning_rate: 1\nmax_steps: 5\nseed: 1\n",
      {"learning_rate=1e-3", "learning_rate=2e-3", "max_steps=", "target_modules=[q_proj, v_proj]",
       "datasets=[{path: x, type: alpaca}]", "output_dir=a=b"});
  EXPECT_EQ(config.learning_rate, 2e-3);
  EXPECT_EQ(config.max_steps, std::nullopt);
  EXPECT_EQ(config.target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  ASSERT_EQ(config.datasets.size(), 1u);
  EXPECT_EQ(config.datasets[0].path, "x");
  EXPECT_EQ(config.datasets[0].type, "alpaca");
  EXPECT_EQ(config.output_dir, "a=b");
  EXPECT_EQ(config.seed, 1);
}

TEST(ConfigValues, OverrideCanTakeBackAValueThatExcludesIt) {
  const RunConfig config =
      load_text(kRequired + "shira_density: 0.1\n", {"shira_density=", "shira_r=4"});
  EXPECT_EQ(config.shira_density, std::nullopt);
  EXPECT_EQ(config.shira_r, 4);
}

}  // namespace
}  // namespace shira::testing
