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
  config.datasets = {{"a.txt", "text"}, {"b.json", "alpaca"}};
  config.output_dir = "out";
  config.shira_density = 0.01;
  return config;
}

TEST(YamlWriter, DefaultsLookLikeAFileThatAPersonWrote) {
  EXPECT_EQ(to_yaml(complete_config()),
            R"(# Model and adapter
base_model: base  # a HuggingFace checkpoint directory
base_dtype: auto
adapter: shira
target_modules: all-linear  # suffixes of module names, or all-linear (without lm_head)
shira_mask: wm
shira_density: 0.01  # trained share of each tensor
shira_r:  # instead of the share: r * (out + in) entries a tensor
shira_seed: 0  # of the rand mask
shira_wm_band: 0  # the k-th band of entries in order of magnitude

# Data
datasets:
  - path: a.txt
    type: text
  - path: b.json
    type: alpaca
sequence_len: 512  # tokens of a sample at most
train_on_inputs: false  # prompt tokens carry loss too
val_set_size: 0  # below 1: a share of the samples; 1 and above: a count

# Optimisation
micro_batch_size: 1
gradient_accumulation_steps: 1
num_epochs: 1
max_steps:  # wins over num_epochs
optimizer: adamw
learning_rate: 0.0005
weight_decay: 0
adam_beta1: 0.9
adam_beta2: 0.999
adam_epsilon: 1e-08
lr_scheduler: linear
warmup_steps:
warmup_ratio:  # of all steps; instead of warmup_steps
max_grad_norm: 1  # 0 = no clipping

# Run
logging_steps: 10
eval_steps: 0  # 0 = only at the end
save_steps: 0  # 0 = only at the end
save_total_limit: 2  # newest checkpoints kept; 0 = all
output_dir: out
seed: 42
device: cpu
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
  config.shira_wm_band = 3;
  config.datasets = {{"data/a: b #c.json", "alpaca"}};
  config.sequence_len = 128;
  config.train_on_inputs = true;
  config.val_set_size = 0.1;
  config.micro_batch_size = 4;
  config.gradient_accumulation_steps = 8;
  config.num_epochs = 1.0 / 3.0;
  config.max_steps = 1000;
  config.optimizer = "sgd";
  config.learning_rate = 1.0 / 7e5;
  config.weight_decay = 0.1;
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
  EXPECT_EQ(read.target_modules, config.target_modules);
  EXPECT_EQ(read.shira_density, std::nullopt);
  EXPECT_EQ(read.shira_r, 32);
  EXPECT_EQ(read.seed, config.seed);
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
