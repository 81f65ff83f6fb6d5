// What must hold between keys: the refusals hold the whole message, and what is filled in.
#include "config_text.h"

#include <gmock/gmock.h>

namespace shira::testing {
namespace {

using ::testing::HasSubstr;

TEST(ConfigRules, KeysThatExcludeEachOther) {
  EXPECT_EQ(problems_with("shira_r: 8\nshira_density: 0.1\n"),
            "my.yaml:5: shira_density: given together with shira_r, expected one of the two");
  EXPECT_EQ(problems_with("warmup_steps: 8\nwarmup_ratio: 0.1\n"),
            "my.yaml:5: warmup_ratio: given together with warmup_steps, expected one of the two");
}

TEST(ConfigRules, OverrideThatExcludesAFilesKeyIsToldTheWayOut) {
  EXPECT_EQ(problems_with("shira_density: 0.1\n", {"shira_r=8"}),
            "--set shira_r=8: shira_r: given together with shira_density, expected one of the two; "
            "`--set shira_density=` takes the file's back");
}

TEST(ConfigRules, Bf16IsAnAliasOfBaseDtype) {
  EXPECT_EQ(load_text(kRequired + "bf16: true\n").base_dtype, "bfloat16");
  EXPECT_EQ(load_text(kRequired + "bf16: false\n").base_dtype, "auto");
  EXPECT_EQ(load_text(kRequired + "bf16: true\nbase_dtype: bfloat16\n").base_dtype, "bfloat16");
}

TEST(ConfigRules, Bf16ThatContradictsBaseDtype) {
  EXPECT_EQ(problems_with("bf16: true\nbase_dtype: float32\n"),
            "my.yaml:5: base_dtype: contradicts bf16, expected one of the two");
  EXPECT_EQ(problems_with("bf16: true\nbase_dtype: auto\n"),
            "my.yaml:5: base_dtype: contradicts bf16, expected one of the two");
  EXPECT_EQ(problems_with("base_dtype: bfloat16\nbf16: false\n"),
            "my.yaml:5: bf16: contradicts base_dtype, expected one of the two");
  EXPECT_EQ(problems_with("bf16: auto\n"), "my.yaml:4: bf16: got 'auto', expected true or false");
}

TEST(ConfigRules, DensityDefaultsToOnePercentOnlyWhenABudgetIsNeeded) {
  const auto density = [](const std::string& lines) {
    return load_text(kRequired + lines).shira_density;
  };
  EXPECT_EQ(density(""), 0.01);
  EXPECT_EQ(density("shira_density: 0.02\n"), 0.02);
  EXPECT_EQ(density("shira_mask: struct\n"), 0.01);
  EXPECT_EQ(density("shira_r: 32\n"), std::nullopt);
  EXPECT_EQ(density("adapter: full\n"), std::nullopt);
  EXPECT_EQ(density("adapter: lora\n"), std::nullopt);
  EXPECT_EQ(density("adapter: wm_dora\n"), 0.01);
  EXPECT_EQ(density("adapter_dir: a\n"), std::nullopt);
  EXPECT_EQ(density("shira_mask: masks.safetensors\n"), std::nullopt);
}

struct WithoutEffect {
  std::string line_4;  // decides that
  std::string line_5;  // has no effect
  std::string reason;
};

class ConfigWithoutEffect : public ::testing::TestWithParam<WithoutEffect> {};

TEST_P(ConfigWithoutEffect, IsRefused) {
  const auto& [decider, line, reason] = GetParam();
  const std::string key = line.substr(0, line.find(':'));
  EXPECT_EQ(problems_with(decider + "\n" + line + "\n"),
            "my.yaml:5: " + key + ": has no effect with " + reason);
}

INSTANTIATE_TEST_SUITE_P(
    Masks, ConfigWithoutEffect,
    ::testing::Values(
        WithoutEffect{"shira_mask: rand", "shira_wm_band: 0", "shira_mask: rand"},
        WithoutEffect{"shira_mask: wm", "shira_seed: 0", "shira_mask: wm"},
        WithoutEffect{"shira_mask: wm", "shira_struct_axis: row", "shira_mask: wm"},
        WithoutEffect{"shira_mask: rand", "shira_struct_offset: 1", "shira_mask: rand"},
        WithoutEffect{"shira_mask: struct", "shira_calibration_batches: 1", "shira_mask: struct"},
        WithoutEffect{"shira_mask: wm", "shira_calibration_memory: 1", "shira_mask: wm"}));

constexpr const char* kWithAdapterDir = "adapter_dir, whose entries are trained";
INSTANTIATE_TEST_SUITE_P(
    AdapterDir, ConfigWithoutEffect,
    ::testing::Values(WithoutEffect{"adapter_dir: a", "shira_mask: wm", kWithAdapterDir},
                      WithoutEffect{"adapter_dir: a", "shira_density: 0.1", kWithAdapterDir},
                      WithoutEffect{"adapter_dir: a", "shira_r: 1", kWithAdapterDir},
                      WithoutEffect{"adapter_dir: a", "shira_seed: 1", kWithAdapterDir},
                      WithoutEffect{"adapter_dir: a", "shira_wm_band: 1", kWithAdapterDir}));

constexpr const char* kWithFull = "adapter: full, which trains every weight";
INSTANTIATE_TEST_SUITE_P(
    Full, ConfigWithoutEffect,
    ::testing::Values(WithoutEffect{"adapter: full", "shira_mask: wm", kWithFull},
                      WithoutEffect{"adapter: full", "shira_r: 8", kWithFull},
                      WithoutEffect{"adapter: full", "shira_seed: 0", kWithFull},
                      WithoutEffect{"adapter: full", "shira_training: packed", kWithFull},
                      WithoutEffect{"adapter: full", "adapter_dir: a", kWithFull}));

INSTANTIATE_TEST_SUITE_P(
    Factors, ConfigWithoutEffect,
    ::testing::Values(
        WithoutEffect{"adapter: shira", "lora_r: 8", "adapter: shira, which trains no factors"},
        WithoutEffect{"adapter: full", "use_rslora: true", kWithFull},
        WithoutEffect{"adapter: lora", "shira_mask: wm", "adapter: lora, which has no mask"},
        WithoutEffect{"adapter: dora", "shira_density: 0.1", "adapter: dora, which has no mask"},
        WithoutEffect{"adapter: lora", "export_formats: [peft]",
                      "adapter: lora, which is saved in PEFT's layout"},
        WithoutEffect{"adapter: wm_dora", "shira_mask: wm", "adapter: wm_dora, whose mask is wm"},
        WithoutEffect{"adapter: wm_dora", "shira_seed: 1", "adapter: wm_dora, whose mask is wm"},
        WithoutEffect{"adapter: wm_dora", "lora_dropout: 0.1",
                      "adapter: wm_dora, which trains the weights' own entries"},
        WithoutEffect{"adapter: wm_dora", "adapter_dir: a",
                      "adapter: wm_dora, whose factors no adapter holds"}));

TEST(ConfigRules, TheFactorsOfAnAdapterHaveTheirRankAndLayers) {
  for (const std::string key : {"lora_r: 8", "lora_alpha: 8", "target_modules: all-linear"}) {
    EXPECT_EQ(problems_with("adapter: dora\nadapter_dir: a\n" + key + "\n"),
              "my.yaml:6: " + key.substr(0, key.find(':')) +
                  ": has no effect with adapter_dir, whose factors are trained");
  }
  EXPECT_EQ(problems_with("adapter: lora\nadapter_dir: a\nlora_dropout: 0.1\n"), "");
}

constexpr const char* kWithFile = "a file of masks";
INSTANTIATE_TEST_SUITE_P(
    MaskFile, ConfigWithoutEffect,
    ::testing::Values(WithoutEffect{"shira_mask: a.shira", "shira_density: 0.1", kWithFile},
                      WithoutEffect{"shira_mask: a.shira", "shira_r: 8", kWithFile},
                      WithoutEffect{"shira_mask: a.shira", "shira_wm_band: 1",
                                    "shira_mask: a.shira"}));

TEST(ConfigRules, MaskKeysWithTheirMaskAreAccepted) {
  for (const std::string lines :
       {"shira_mask: wm\nshira_wm_band: 2\n", "shira_mask: rand\nshira_seed: 2\n",
        "shira_mask: struct\nshira_struct_axis: column\nshira_struct_offset: 3\n",
        "shira_mask: grad\nshira_calibration_batches: 4\nshira_calibration_memory: 0.5\n",
        "shira_mask: snip\nshira_calibration_batches: 4\n",
        "adapter_dir: a\nshira_training: packed\n"}) {
    EXPECT_EQ(problems_with(lines), "") << lines;
  }
}

TEST(ConfigRules, AnOverrideCanMakeAFilesKeyIdle) {
  EXPECT_EQ(problems_with("shira_wm_band: 1\n", {"shira_mask=rand"}),
            "my.yaml:4: shira_wm_band: has no effect with shira_mask: rand");
  EXPECT_EQ(problems_with("shira_wm_band: 1\n", {"shira_mask=rand", "shira_wm_band="}), "");
}

// The field of a mistyped key holds its default, about which nothing is to be said.
TEST(ConfigRules, AMistypedValueHasNoConsequences) {
  EXPECT_EQ(problems_with("shira_mask: strukt\nshira_struct_offset: 1\n").find("no effect"),
            std::string::npos);
  EXPECT_EQ(problems_with("val_set_size: x\neval_steps: 5\nearly_stopping_patience: 2\n"),
            "my.yaml:4: val_set_size: got 'x', expected a number >= 0 that is whole from 1 on");
}

TEST(ConfigRules, WhatComparesEvaluationsNeedsSome) {
  const std::string needs = " needs evaluations: set val_set_size and eval_steps";
  EXPECT_EQ(problems_with("early_stopping_patience: 3\neval_steps: 10\n"),
            "my.yaml:4: early_stopping_patience:" + needs);
  EXPECT_EQ(problems_with("early_stopping_patience: 3\nval_set_size: 10\n"),
            "my.yaml:4: early_stopping_patience:" + needs);
  EXPECT_EQ(problems_with("load_best_model_at_end: true\nval_set_size: 10\n"),
            "my.yaml:4: load_best_model_at_end:" + needs);
  EXPECT_EQ(problems_with("load_best_model_at_end: false\n"), "");
}

TEST(ConfigRules, EarlyStoppingLoadsTheBestModelUnlessToldOtherwise) {
  const std::string stopping =
      kRequired + "val_set_size: 10\neval_steps: 5\nearly_stopping_patience: 3\n";
  EXPECT_TRUE(load_text(stopping).load_best_model_at_end);
  EXPECT_EQ(load_text(stopping).early_stopping_patience, 3);
  EXPECT_FALSE(load_text(stopping + "load_best_model_at_end: false\n").load_best_model_at_end);
  EXPECT_FALSE(load_text(kRequired).load_best_model_at_end);
}

TEST(ConfigRules, HooksRefuseWeightDecay) {
  EXPECT_EQ(problems_with("shira_training: hooks\nweight_decay: 0.1\n"),
            "my.yaml:5: weight_decay: would move weights outside the masks with shira_training: "
            "hooks, expected 0 (or shira_training: packed)");
  EXPECT_EQ(problems_with("shira_training: hooks\nweight_decay: 0\n"), "");
  EXPECT_EQ(problems_with("shira_training: packed\nweight_decay: 0.1\n"), "");
}

// Each line is written as to_yaml does.
TEST(ConfigRules, ResolvedConfigurationsReadBackAsTheyAre) {
  const std::vector<std::string> evaluated = {"val_set_size: 0.1", "eval_steps: 5"};
  std::vector<std::vector<std::string>> cases = {
      {"shira_mask: struct", "shira_struct_axis: column", "shira_struct_offset: 3", "shira_r: 1"},
      {"shira_mask: rand", "shira_seed: 9"},
      {"shira_mask: wm", "shira_wm_band: 2"},
      {"shira_mask: grad", "shira_calibration_batches: 3"},
      {"shira_mask: snip", "shira_calibration_memory: 0.25"},
      {"shira_mask: some/masks"},
      {"adapter_dir: first", "shira_training: hooks"},
      {"adapter: full", "weight_decay: 0.1"},
      {"sample_packing: true", "report_to: tensorboard", "resume_from_checkpoint: out/c-1"},
      {"sample_prompts: [Once, \"a: b\"]"},
      {"early_stopping_patience: 2"},
      {"load_best_model_at_end: true"},
      {"early_stopping_patience: 2", "load_best_model_at_end: false"}};
  for (auto& lines : cases) {
    lines.insert(lines.end(), evaluated.begin(), evaluated.end());
    std::string text = kRequired;
    for (const std::string& line : lines) text += line + "\n";
    const std::string resolved = to_yaml(load_text(text));
    for (const std::string& line : lines) EXPECT_THAT(resolved, HasSubstr("\n" + line));
    EXPECT_EQ(problems_of(resolved), "") << lines[0];
    EXPECT_EQ(to_yaml(load_text(resolved)), resolved) << lines[0];
  }
}

}  // namespace
}  // namespace shira::testing
