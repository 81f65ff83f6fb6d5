// metrics.jsonl: the form of a line, and what is cut away before a run goes on.
#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/train/metrics.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <limits>

namespace shira {
namespace {

class MetricsFileTest : public ::testing::Test {
 protected:
  MetricsFileTest() {
    std::string pattern = ::testing::TempDir() + "shira_metrics_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ / "metrics.jsonl";
  }
  ~MetricsFileTest() override { std::filesystem::remove_all(directory_); }

  std::string text() const { return read_file(path_); }

  std::filesystem::path directory_;
  std::filesystem::path path_;
};

TEST_F(MetricsFileTest, ARecordIsOneLineWithItsKeysInOrder) {
  MetricsFile file(path_);
  file.write({{"step", 10}, {"loss", 2.5}, {"epoch", 0.1}, {"note", "a \"b\"\n"}});
  file.write({{"step", 20}, {"eval_loss", 1e-8}});
  EXPECT_EQ(text(),
            "{\"step\":10,\"loss\":2.5,\"epoch\":0.1,\"note\":\"a \\\"b\\\"\\n\"}\n"
            "{\"step\":20,\"eval_loss\":1e-08}\n");
}

TEST_F(MetricsFileTest, NumbersJsonDoesNotHaveAreNull) {
  MetricsFile file(path_);
  file.write({{"loss", std::numeric_limits<double>::quiet_NaN()},
              {"grad_norm", std::numeric_limits<double>::infinity()}});
  EXPECT_EQ(text(), "{\"loss\":null,\"grad_norm\":null}\n");
}

TEST_F(MetricsFileTest, OpeningAgainAppends) {
  MetricsFile(path_).write({{"step", 1}});
  MetricsFile(path_).write({{"step", 2}});
  EXPECT_EQ(text(), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsFileTest, TruncatingDropsLaterStepsAndWritingGoesOn) {
  MetricsFile file(path_);
  for (const std::int64_t step : {10, 20, 30}) file.write({{"step", step}, {"loss", 1.0}});
  file.truncate_after(20, 20);
  file.write({{"step", 30}, {"loss", 0.5}});
  EXPECT_EQ(text(),
            "{\"step\":10,\"loss\":1.0}\n{\"step\":20,\"loss\":1.0}\n{\"step\":30,\"loss\":0.5}\n");
}

TEST_F(MetricsFileTest, TruncatingDropsATornLastLine) {
  write_file(path_, "{\"step\":1}\n{\"step\":2,\"lo");
  MetricsFile file(path_);
  file.truncate_after(5, 5);
  file.write({{"step", 3}});
  EXPECT_EQ(text(), "{\"step\":1}\n{\"step\":3}\n");
}

TEST_F(MetricsFileTest, TruncatingKeepsAWholeLastLineWithoutItsNewline) {
  write_file(path_, "{\"step\":1}\n{\"step\":2}");
  MetricsFile(path_).truncate_after(2, 2);
  EXPECT_EQ(text(), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsFileTest, TruncatingAtMinusOneStartsOver) {
  MetricsFile file(path_);
  file.write({{"step", 0}});
  file.truncate_after(-1, -1);
  EXPECT_EQ(text(), "");
}

TEST_F(MetricsFileTest, TruncatingDropsAnEvaluationThatTheStateDoesNotKnow) {
  MetricsFile file(path_);
  for (const std::int64_t step : {10, 20}) {
    file.write({{"step", step}, {"loss", 1.0}});
    file.write({{"step", step}, {"eval_loss", 2.0}});
    file.write({{"step", step}, {"prompt", "a"}, {"sample", "b"}});
  }
  file.truncate_after(20, 10);
  EXPECT_EQ(text(),
            "{\"step\":10,\"loss\":1.0}\n{\"step\":10,\"eval_loss\":2.0}\n"
            "{\"step\":10,\"prompt\":\"a\",\"sample\":\"b\"}\n{\"step\":20,\"loss\":1.0}\n");
}

TEST_F(MetricsFileTest, AFileThatCannotBeWrittenIsAnIoError) {
  EXPECT_THROW(MetricsFile(directory_ / "none" / "metrics.jsonl"), IoError);
  EXPECT_THROW(MetricsFile("/dev/full").write({{"step", 1}}), IoError);
}

}  // namespace
}  // namespace shira
