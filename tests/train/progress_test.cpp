// The bar's output, byte for byte, with a clock that the test turns.
#include <shira/train/progress.h>

#include <gtest/gtest.h>

#include <sstream>

namespace shira {
namespace {

class ProgressBarTest : public ::testing::Test {
 protected:
  ProgressOptions options(bool is_terminal, int width = 80) {
    return {.total_steps = 400,
            .logging_steps = 10,
            .is_terminal = is_terminal,
            .width = width,
            .seconds_clock = [this] { return now_; }};
  }

  double now_ = 1000.0;
  std::ostringstream out_;
};

TEST_F(ProgressBarTest, TerminalLineHasStepBarLossSpeedAndRemainingTime) {
  ProgressBar bar(out_, options(true));
  now_ += 100.0;  // 1 s a step
  bar.update(100, "loss 2.3457  12.3k tokens/s");
  EXPECT_EQ(out_.str(),
            "\r100/400 [=======>                     ] loss 2.3457  12.3k tokens/s  05:00 left"
            "\x1b[K");
}

TEST_F(ProgressBarTest, TerminalLineEndsWithOneNewline) {
  {
    ProgressBar bar(out_, options(true));
    bar.update(400, "loss 1.0000  850 tokens/s");
    bar.finish();
  }
  EXPECT_EQ(out_.str(),
            "\r400/400 [==============================] loss 1.0000  850 tokens/s  00:00 left"
            "\x1b[K\n");
}

TEST_F(ProgressBarTest, DestructorFinishesTheLine) {
  {
    ProgressBar(out_, options(true)).update(1, "loss 1.0000  1 tokens/s");
  }
  EXPECT_TRUE(out_.str().ends_with("\x1b[K\n"));
}

TEST_F(ProgressBarTest, ClearLeavesAnEmptyLineForALogMessage) {
  ProgressBar bar(out_, options(true));
  bar.clear();
  EXPECT_EQ(out_.str(), "");
  bar.update(1, "loss 1.0000  1 tokens/s");
  out_.str("");
  bar.clear();
  bar.clear();
  EXPECT_EQ(out_.str(), "\r\x1b[K");
  bar.finish();
  EXPECT_EQ(out_.str(), "\r\x1b[K");
}

TEST_F(ProgressBarTest, TheLineIsAlwaysNarrowerThanTheTerminal) {
  const std::size_t control_bytes = std::string("\r\x1b[K").size();
  for (int width = 1; width <= 120; ++width) {
    std::ostringstream out;
    ProgressBar bar(out, options(true, width));
    bar.update(123, "loss 2.0000  1.0M tokens/s");
    const std::size_t columns = out.str().size() - control_bytes;
    EXPECT_LE(columns, static_cast<std::size_t>(std::max(1, width - 1)));
  }
}

TEST_F(ProgressBarTest, ANarrowTerminalGetsTheNumbersWithoutTheBar) {
  ProgressBar bar(out_, options(true, 50));
  bar.update(0, "loss 2.0000  1.0M tokens/s");
  EXPECT_EQ(out_.str(), "\r0/400 [>             ] loss 2.0000  1.0M tokens/s\x1b[K");
  out_.str("");
  now_ += 7200;
  bar.update(200, "loss 2.0000  1.0M tokens/s");
  EXPECT_EQ(out_.str(), "\r200/400 loss 2.0000  1.0M tokens/s  2:00:00 left\x1b[K");
}

TEST_F(ProgressBarTest, ElsewhereAPlainLineAtLoggingStepsAndTheLastOne) {
  ProgressOptions plain = options(false);
  plain.total_steps = 25;
  {
    ProgressBar bar(out_, plain);
    for (int step = 1; step <= 25; ++step) {
      now_ += 2.0;
      bar.update(step, "loss 1.5000  640 tokens/s");
      bar.clear();
    }
  }
  EXPECT_EQ(out_.str(),
            "step 10/25  loss 1.5000  640 tokens/s  00:30 left\n"
            "step 20/25  loss 1.5000  640 tokens/s  00:10 left\n"
            "step 25/25  loss 1.5000  640 tokens/s  00:00 left\n");
}

TEST_F(ProgressBarTest, RemainingTimeOfAResumedRunCountsItsOwnStepsOnly) {
  ProgressOptions resumed = options(false);
  resumed.first_step = 390;
  resumed.logging_steps = 5;
  ProgressBar bar(out_, resumed);
  now_ += 10.0;
  bar.update(395, "loss 1.0000  1 tokens/s");
  EXPECT_EQ(out_.str(), "step 395/400  loss 1.0000  1 tokens/s  00:10 left\n");
}

}  // namespace
}  // namespace shira
