// to_yaml: what it writes is read back to the same values, and a person can read it.
#include "config_text.h"

#include <gmock/gmock.h>

#include <limits>
#include <random>

namespace shira::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RunConfig round_trip(const RunConfig& config) { return load_text(to_yaml(config)); }

RunConfig complete_config() {
  RunConfig config;
  config.base_model = "base";
  config.datasets = {{"a.txt", "text"}, {"b.json", "alpaca", 0.5}};
  config.output_dir = "out";
  config.shira_density = 0.01;
  return config;
}

TEST(YamlWriter, DefaultsLookLikeAFileThatAPersonWrote) {
  EXPECT_EQ(to_yaml(complete_config()),
            R"(# Model and adapter
base_model: base  # a HuggingFace checkpoint or diffusers pipeline directory, or org/name in the local cache
base_dtype: auto  # of the weights in memory; auto = the checkpoint's
adapter: shira  # shira trains entries of the targets, lora and dora factors beside them, wm_dora both, full every weight
adapter_dir:  # go on from this adapter: its entries and values, or its factors
target_modules: all-linear  # suffixes of module names, or all-linear (without lm_head)
shira_mask: wm  # which entries are trained, or a file that `shira mask -o` wrote
shira_density: 0.01  # trained share of each tensor; 0.01 unless shira_r is given
shira_r:  # instead of the share: r * (out + in) entries a tensor
shira_wm_band: 0  # the k-th band of entries in order of magnitude
shira_training: packed  # hooks: dense gradients under masks, the readable reference

# Data
datasets:  # files of text or records to train on
  - path: a.txt
    type: text
    weight: 1
  - path: b.json
    type: alpaca
    weight: 0.5
sequence_len: 512  # tokens of a sample at most
sample_packing: false  # several samples in one sequence, blind to each other
chat_template: llama-2  # of messages and sharegpt data
train_on_inputs: false  # prompt tokens carry loss too
val_set_size: 0  # below 1: a share of the samples or distinct pictures; 1 and above: a count

# Optimisation
micro_batch_size: 1  # sequences or pictures of a forward pass
gradient_accumulation_steps: 1  # micro-batches of an optimiser step
num_epochs: 1  # passes over the data; may be a fraction
max_steps:  # optimiser steps; wins over num_epochs
optimizer: adamw  # sgd is without momentum
learning_rate: 0.0005  # the peak, after the warm-up
weight_decay: 0  # not of norms and biases
adam_beta1: 0.9  # of the gradients' moving mean
adam_beta2: 0.999  # of their squares' moving mean
adam_epsilon: 1.0e-08  # added to the root of the second
lr_scheduler: linear  # from the peak; linear and cosine end at 0
warmup_steps:  # in which the learning rate rises from 0
warmup_ratio:  # of all steps; instead of warmup_steps
max_grad_norm: 1  # gradients are scaled down to this norm; 0 = no clipping
gradient_checkpointing: false  # computes each block twice and keeps its input alone: less memory, more time

# Run
logging_steps: 10  # from one line of metrics to the next
eval_steps: 0  # from one evaluation to the next; 0 = before the first step and at the end
save_steps: 0  # from one checkpoint to the next; 0 = only at the end
save_total_limit: 2  # newest checkpoints kept; 0 = all
early_stopping_patience:  # evaluations without a better eval_loss until the run ends
load_best_model_at_end: false  # true with early_stopping_patience unless given
resume_from_checkpoint:  # branch off from this checkpoint, in a new output_dir; --resume goes on with a run
report_to: none  # beside metrics.jsonl
sample_prompts:  # continued and logged at every evaluation
output_dir: out  # for the result, checkpoints and metrics
export_formats: [shira]  # of entries: shira is always written; peft: PEFT's layout too, into output_dir/peft
seed: 42  # of the held-out share, the order of the data, first factors and dropout
device: cpu  # where to train
num_threads: 0  # 0 = LibTorch's default
)");
}

TEST(YamlWriter, EveryFieldComesBack) {
  RunConfig config;
  config.base_model = "models/Llama 2";
  config.base_dtype = "float32";
  config.target_modules = {"q_proj", "mlp.down_proj"};
  config.shira_mask = "rand";
  config.shira_r = 32;
  config.shira_seed = 7;
  config.shira_training = "hooks";
  config.datasets = {{"data/a: b #c.json", "alpaca", 1.0 / 3.0}};
  config.sequence_len = 128;
  config.sample_packing = true;
  config.train_on_inputs = true;
  config.val_set_size = 0.1;
  config.micro_batch_size = 4;
  config.gradient_accumulation_steps = 8;
  config.num_epochs = 1.0 / 3.0;
  config.max_steps = 1000;
  config.optimizer = "sgd";
  config.learning_rate = 1.0 / 7e5;
  config.adam_beta1 = 0.8;
  config.adam_beta2 = 0.95;
  config.adam_epsilon = std::numeric_limits<double>::denorm_min();
  config.lr_scheduler = "cosine";
  config.warmup_ratio = 0.03;
  config.max_grad_norm = 1e300;
  config.logging_steps = 1;
  config.eval_steps = 2;
  config.save_steps = 3;
  config.save_total_limit = 4;
  config.early_stopping_patience = 5;
  config.resume_from_checkpoint = "out/checkpoint-3";
  config.report_to = "tensorboard";
  config.sample_prompts = {"Once upon a time,\n", "- no"};
  config.output_dir = "out \"x\"\n";
  config.seed = std::numeric_limits<std::int64_t>::max();
  config.num_threads = 2;
  const RunConfig read = round_trip(config);
  EXPECT_EQ(to_yaml(read), to_yaml(config));
  // What the text could hide: exact doubles and exact strings.
  EXPECT_EQ(read.num_epochs, config.num_epochs);
  EXPECT_EQ(read.learning_rate, config.learning_rate);
  EXPECT_EQ(read.adam_epsilon, config.adam_epsilon);
  EXPECT_EQ(read.max_grad_norm, config.max_grad_norm);
  EXPECT_EQ(read.output_dir, config.output_dir);
  EXPECT_EQ(read.base_model, config.base_model);
  EXPECT_EQ(read.datasets[0].path, config.datasets[0].path);
  EXPECT_EQ(read.datasets[0].weight, config.datasets[0].weight);
  EXPECT_EQ(read.target_modules, config.target_modules);
  EXPECT_EQ(read.sample_prompts, config.sample_prompts);
  EXPECT_EQ(read.shira_density, std::nullopt);
  EXPECT_EQ(read.shira_r, 32);
  EXPECT_EQ(read.seed, config.seed);
}

TEST(YamlWriter, AWordThatStandsForAListDoesSoForItsOwnKeyOnly) {
  RunConfig config = complete_config();
  config.sample_prompts = {"all-linear"};
  EXPECT_THAT(to_yaml(config), HasSubstr("\nsample_prompts: [all-linear]  #"));
  EXPECT_THAT(to_yaml(config), HasSubstr("\ntarget_modules: all-linear  #"));
  EXPECT_EQ(round_trip(config).sample_prompts, config.sample_prompts);
}

TEST(YamlWriter, FullTrainingIsWrittenWithoutShiraKeys) {
  const RunConfig full = load_text(kRequired + "adapter: full\n");
  EXPECT_THAT(to_yaml(full), Not(HasSubstr("shira_")));
  EXPECT_EQ(to_yaml(round_trip(full)), to_yaml(full));
}

class YamlText : public ::testing::TestWithParam<std::string> {};

TEST_P(YamlText, ComesBack) {
  RunConfig config = complete_config();
  config.base_model = GetParam();
  config.target_modules = {GetParam(), "x"};
  config.datasets[0].path = GetParam();
  const RunConfig read = round_trip(config);
  EXPECT_EQ(read.base_model, GetParam());
  EXPECT_EQ(read.target_modules[0], GetParam());
  EXPECT_EQ(read.datasets[0].path, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Hard, YamlText,
                         ::testing::Values("null", "~", "true", "No", "1e-3", "-", "---", "- a",
                                           " a ", "a\tb", "a\r\nb\n", "'", "\"", "\\", "a: b",
                                           "a #b", "#", "&a", "*a", "!a", "|", ">", "%", "@", "`",
                                           "{a}", "[a]", "a,b", "?", "./a", "../a", "/a/b-c_d.e",
                                           "süß 日本 🦜", std::string("\0\x01\x04\x7f", 4)));

TEST(YamlWriter, RandomDoublesComeBackToTheSameBits) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    RunConfig config = complete_config();
    config.learning_rate = std::ldexp(1.0 + std::generate_canonical<double, 53>(random),
                                      static_cast<int>(random() % 2000) - 1000);
    EXPECT_EQ(round_trip(config).learning_rate, config.learning_rate);
  }
}

}  // namespace
}  // namespace shira::testing
