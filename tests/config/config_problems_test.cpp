// What is refused, and in which words. Every test holds the whole message: nothing may be missing
// from it, and nothing else may be in it.
#include "../io/temporary_directory.h"
#include "config_text.h"

#include <shira/io/atomic_file.h>

#include <gmock/gmock.h>

namespace shira::testing {
namespace {

using ::testing::HasSubstr;

TEST(ConfigProblems, AllOfThemAreListedInOrderALineEach) {
  EXPECT_EQ(problems_of("datasets: [{path: a.txt}]\n"
                        "learning_rate: abc\n"
                        "learnig_rate: 1e-3\n"
                        "num_epochs: 0\n"
                        "seed: 1.5\n",
                        {"micro_batch_size=0", "nonsense"}),
            "my.yaml:2: learning_rate: got 'abc', expected a number > 0\n"
            "my.yaml:3: learnig_rate: unknown key, did you mean 'learning_rate'?\n"
            "my.yaml:4: num_epochs: got '0', expected a number > 0 and <= 1000000\n"
            "my.yaml:5: seed: got '1.5', expected a whole number >= 0\n"
            "--set micro_batch_size=0: micro_batch_size: got '0', expected a whole number >= 1 and "
            "<= 1000000\n"
            "--set nonsense: expected key=value\n"
            "my.yaml: base_model: missing, expected a value\n"
            "my.yaml: output_dir: missing, expected a value");
}

const std::string kMaskChoices =
    "expected one of struct, rand, wm, grad, snip, or a file's path (with a / or a .)";

struct BadValue {
  std::string line;
  std::string problem;  // what follows "my.yaml:4: "
};

class ConfigBadValue : public ::testing::TestWithParam<BadValue> {};

TEST_P(ConfigBadValue, IsReportedWithWhatIsAllowed) {
  EXPECT_EQ(problems_with(GetParam().line + "\n"), "my.yaml:4: " + GetParam().problem);
}

INSTANTIATE_TEST_SUITE_P(
    Types, ConfigBadValue,
    ::testing::Values(
        BadValue{"learning_rate: [1, 2]", "learning_rate: got a list, expected a number > 0"},
        BadValue{"learning_rate: {a: 1}", "learning_rate: got a map, expected a number > 0"},
        BadValue{"learning_rate: ''",
                 "learning_rate: got '' in quotes, which is a text, expected a number > 0"},
        BadValue{"seed: '42'",
                 "seed: got '42' in quotes, which is a text, expected a whole number >= 0"},
        BadValue{"train_on_inputs: 1", "train_on_inputs: got '1', expected true or false"},
        BadValue{"train_on_inputs: [true]", "train_on_inputs: got a list, expected true or false"},
        BadValue{"shira_mask: [wm]", "shira_mask: got a list, " + kMaskChoices},
        BadValue{"shira_mask: ''", "shira_mask: got '', " + kMaskChoices},
        BadValue{"target_modules: q_proj",
                 "target_modules: got 'q_proj', expected all-linear or a list of texts"},
        BadValue{"target_modules: []",
                 "target_modules: got a list, expected all-linear or a list of texts"},
        BadValue{"target_modules: [q_proj, '']",
                 "target_modules[1]: got '', expected a text that is not empty"}));

INSTANTIATE_TEST_SUITE_P(
    Numbers, ConfigBadValue,
    ::testing::Values(
        BadValue{"learning_rate: .inf", "learning_rate: got '.inf', expected a number > 0"},
        BadValue{"learning_rate: .nan", "learning_rate: got '.nan', expected a number > 0"},
        BadValue{"learning_rate: inf", "learning_rate: got 'inf', expected a number > 0"},
        BadValue{"learning_rate: 1e999", "learning_rate: got '1e999', expected a number > 0"},
        BadValue{"learning_rate: 1e", "learning_rate: got '1e', expected a number > 0"},
        BadValue{"learning_rate: +-1", "learning_rate: got '+-1', expected a number > 0"},
        BadValue{"max_steps: 1_000", "max_steps: got '1_000', expected a whole number >= 1"},
        BadValue{"max_steps: 1e3", "max_steps: got '1e3', expected a whole number >= 1"},
        BadValue{"max_steps: 99999999999999999999",
                 "max_steps: got '99999999999999999999', expected a whole number >= 1"},
        BadValue{"weight_decay: -0.1", "weight_decay: got '-0.1', expected a number >= 0"},
        BadValue{"adam_beta1: 1", "adam_beta1: got '1', expected a number >= 0 and < 1"},
        BadValue{"shira_density: 0", "shira_density: got '0', expected a number > 0 and <= 1"},
        BadValue{"shira_density: 1.01",
                 "shira_density: got '1.01', expected a number > 0 and <= 1"},
        BadValue{"val_set_size: 1.5",
                 "val_set_size: got '1.5', expected a number >= 0 that is whole from 1 on"}));

INSTANTIATE_TEST_SUITE_P(
    Choices, ConfigBadValue,
    ::testing::Values(
        BadValue{"base_dtype: int8",
                 "base_dtype: got 'int8', expected one of auto, float32, bfloat16, float16"},
        BadValue{"adapter: qlora",
                 "adapter: got 'qlora', expected one of shira, lora, dora, wm_dora, full"},
        BadValue{"shira_mask: magnitude", "shira_mask: got 'magnitude', " + kMaskChoices},
        BadValue{"chat_template: vicuna",
                 "chat_template: got 'vicuna', expected one of llama-2, llama-3, chatml, qwen, "
                 "mistral"},
        BadValue{"device: tpu", "device: got 'tpu', expected one of cpu, cuda"}));

INSTANTIATE_TEST_SUITE_P(
    Keys, ConfigBadValue,
    ::testing::Values(
        BadValue{"batch_size: 2", "batch_size: unknown key, did you mean 'micro_batch_size'?"},
        BadValue{"lr: 1", "lr: unknown key, did you mean 'learning_rate'?"},
        BadValue{"sede: 1", "sede: unknown key, did you mean 'seed'?"},
        BadValue{"Learning_Rate: 1", "Learning_Rate: unknown key, did you mean 'learning_rate'?"},
        BadValue{"zzzzzzzzzz: 1", "zzzzzzzzzz: unknown key"},
        BadValue{"zzzzzzzzzz:", "zzzzzzzzzz: unknown key"},
        BadValue{"output_dir: again", "output_dir: given twice, first on line 3"},
        BadValue{"[a, b]: 1", "a key must be a text"}));

TEST(ConfigProblems, DatasetEntriesAreReportedOnTheirOwnLines) {
  EXPECT_EQ(problems_of("base_model: m\n"
                        "output_dir: o\n"
                        "datasets:\n"
                        "  - path: a.txt\n"
                        "    typ: text\n"
                        "  - type: csv\n"
                        "    path: ''\n"
                        "  - type: text\n"
                        "  - a.txt\n"
                        "  - path: a\n"
                        "    path: b\n"
                        "    weight: 0\n"),
            "my.yaml:5: datasets[0].typ: unknown key, did you mean 'type'?\n"
            "my.yaml:6: datasets[1].type: got 'csv', expected one of text, completion, alpaca, "
            "messages, sharegpt\n"
            "my.yaml:7: datasets[1].path: got '', expected a text that is not empty\n"
            "my.yaml:8: datasets[2].path: missing, expected a value\n"
            "my.yaml:9: datasets[3]: got 'a.txt', expected a map {path: FILE, type: TYPE}\n"
            "my.yaml:11: datasets[4].path: given twice, first on line 10\n"
            "my.yaml:12: datasets[4].weight: got '0', expected a number > 0 and <= 1000000");
}

TEST(ConfigProblems, EmptyDatasetsAreRefused) {
  EXPECT_EQ(problems_of("base_model: m\noutput_dir: o\ndatasets: []\n"),
            "my.yaml:3: datasets: got a list, expected a list of {path: FILE, type: TYPE}");
}

TEST(ConfigProblems, AKeyWithoutAValueIsMissing) {
  EXPECT_EQ(problems_of("base_model:\ndatasets: [{path: a}]\noutput_dir: o\n"),
            "my.yaml: base_model: missing, expected a value");
}

TEST(ConfigProblems, OverridesGetTheSameChecks) {
  EXPECT_EQ(problems_with("", {"sed=1", "=1", "seed=[", "datasets=[{pth: x}]"}),
            "--set sed=1: sed: unknown key, did you mean 'seed'?\n"
            "--set =1: expected key=value\n"
            "--set seed=[: seed: not valid YAML: end of sequence flow not found\n"
            "--set datasets=[{pth: x}]: datasets[0].pth: unknown key, did you mean 'path'?\n"
            "--set datasets=[{pth: x}]: datasets[0].path: missing, expected a value");
}

TEST(ConfigProblems, AReplacedValueIsStillChecked) {
  EXPECT_EQ(problems_with("seed: x\n", {"seed=1"}),
            "my.yaml:4: seed: got 'x', expected a whole number >= 0");
}

TEST(ConfigProblems, SyntaxErrorsNameLineAndColumn) {
  EXPECT_EQ(problems_of("base_model: m\ndatasets: [a\n"),
            "my.yaml:3:1: not valid YAML: end of sequence flow not found");
  EXPECT_EQ(problems_of("a: 1\n---\nb: 2\n"),
            "my.yaml:2:1: not valid YAML: expected one document, got a second");
}

TEST(ConfigProblems, ControlCharactersAreNoYaml) {
  EXPECT_EQ(problems_with("seed: 1\n# \x04\nno_key: 1\n"),
            "my.yaml:5:3: not valid YAML: a control character, code 4; expected UTF-8 text");
  EXPECT_THAT(problems_of(std::string("b\0a\0s\0e\0", 8)),
              HasSubstr("my.yaml:1:2: not valid YAML: a control character, code 0"));
}

TEST(ConfigProblems, DeepNestingIsASyntaxError) {
  for (const std::string level : {"[", "{a: ", "- "}) {
    std::string deep;
    for (int i = 0; i < 10'000; ++i) deep += level;
    EXPECT_THAT(problems_of(deep), HasSubstr(": not valid YAML: nests too deeply")) << level;
  }
}

// yaml-cpp's LoadAll never returns on the first of these.
TEST(ConfigProblems, WhatFollowsTheFirstValueIsNotIgnored) {
  EXPECT_EQ(problems_with("", {"seed=,a"}),
            "--set seed=,a: seed: not valid YAML: expected one document, got a second");
  EXPECT_EQ(problems_with("", {"seed=[1] 2"}),
            "--set seed=[1] 2: seed: not valid YAML: expected one document, got a second");
}

TEST(ConfigProblems, EmptyFilesAndFilesOfAnotherForm) {
  const std::string missing =
      "my.yaml: base_model: missing, expected a value\nmy.yaml: datasets: missing, expected a "
      "value\nmy.yaml: output_dir: missing, expected a value";
  EXPECT_EQ(problems_of(""), missing);
  EXPECT_EQ(problems_of("# nothing yet\n"), missing);
  EXPECT_EQ(problems_of("- a\n"), "my.yaml:1: expected a map of keys and values\n" + missing);
}

// Which family a run is of follows from base_model, or from its data where that is not here.
TEST(ConfigProblems, AKeyOfTheOtherFamilyIsRefused) {
  EXPECT_EQ(problems_with("resolution: 64\nsnr_gamma: 5\n"),
            "my.yaml:4: resolution: has no effect with a language model as base_model\n"
            "my.yaml:5: snr_gamma: has no effect with a language model as base_model");
  EXPECT_EQ(problems_of("base_model: a/b\ntrain_data_dir: x\nsequence_len: 8\noutput_dir: o\n"),
            "my.yaml:3: sequence_len: has no effect with a diffusers pipeline as base_model");
  EXPECT_EQ(
      problems_of("base_model: a/b\ntrain_data_dir: x\ntext_encoder_lr: 1e-5\noutput_dir: o\n"),
      "my.yaml:3: text_encoder_lr: has no effect without train_text_encoder");
  TemporaryDirectory base;
  write_file(base / "model_index.json", "{}");
  EXPECT_EQ(problems_of("base_model: " + base.path().string() +
                        "\ndatasets: [{path: a}]\noutput_dir: o\n"),
            "my.yaml:2: datasets: has no effect with a diffusers pipeline as base_model\n"
            "my.yaml: train_data_dir: missing, expected it or instance_data_dir: a folder of "
            "pictures");
}

TEST(ConfigProblems, DreamBoothIsGivenWhole) {
  const std::string run = "base_model: a/b\noutput_dir: o\n";
  EXPECT_EQ(problems_of(run + "instance_data_dir: x\nwith_prior_preservation: true\n"),
            "my.yaml:3: instance_data_dir: needs instance_prompt beside it\n"
            "my.yaml:4: with_prior_preservation: needs class_data_dir beside it\n"
            "my.yaml:4: with_prior_preservation: needs class_prompt beside it");
  EXPECT_EQ(problems_of(run + "instance_data_dir: x\ninstance_prompt: p\nclass_prompt: c\n"),
            "my.yaml:5: class_prompt: has no effect without with_prior_preservation");
  EXPECT_EQ(problems_of(run + "train_data_dir: x\ninstance_prompt: p\n"),
            "my.yaml:4: instance_prompt: has no effect without instance_data_dir");
  EXPECT_EQ(problems_of(run + "train_data_dir: x\ninstance_data_dir: y\ninstance_prompt: p\n"),
            "my.yaml:4: instance_data_dir: given together with train_data_dir, expected one of the "
            "two");
}

TEST(ConfigProblems, LongAndMultiLineValuesStayOnOneLine) {
  EXPECT_EQ(problems_with("device: \"a\\nb\"\n"),
            "my.yaml:4: device: got 'a b', expected one of cpu, cuda");
  EXPECT_EQ(problems_with("device: " + std::string(100, 'x') + "\n"),
            "my.yaml:4: device: got '" + std::string(60, 'x') + "...', expected one of cpu, cuda");
}

TEST(ConfigProblems, AFileThatCannotBeReadIsAnIoError) {
  EXPECT_THROW(load_config("/no/such/file.yaml"), IoError);
  EXPECT_THROW(load_config("/tmp"), IoError);
}

}  // namespace
}  // namespace shira::testing
