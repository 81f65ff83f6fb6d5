// Writes a chart, two mask pictures and a run's event files into the directory given, for
// tests/cli/test_pictures_and_events.py, which reads them with Pillow and TensorBoard.
#include <shira/io/event_file.h>
#include <shira/io/line_chart.h>
#include <shira/io/mask_picture.h>
#include <shira/io/picture.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>

namespace {

void draw_chart(const std::filesystem::path& path) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  shira::LineChart chart{"Loss (0.5%)", "step", "loss", {}};
  chart.series.push_back({"training", {{0, 4}, {25, 2}, {50, nan}, {75, 1}, {100, 0}}});
  chart.series.push_back({"held-out", {{0, 4}, {100, 4}}});
  shira::write_png(path, shira::draw_line_chart(chart));
}

void draw_masks(const std::filesystem::path& directory) {
  const std::array<std::int32_t, 2> small{0, 7};
  const std::array<std::int32_t, 2> large{0, 2048 * 4096 - 1};
  shira::write_png(directory / "small.png", shira::draw_mask(2, 4, small));
  shira::write_png(directory / "large.png", shira::draw_mask(2048, 4096, large));
}

/// A run that logged up to step 4, was killed, and went on from its checkpoint after step 2.
void write_events(const std::filesystem::path& directory) {
  {
    shira::EventFile killed(directory);
    killed.text("config", 0, "seed: **1** \xc3\xa9");
    for (int step = 1; step <= 4; ++step) killed.scalar("loss", step, 0.1 * step, 1e9 + step);
  }
  shira::EventFile resumed(directory);
  resumed.restart_at(3);
  resumed.scalar("loss", 3, -1.5, 2e9);
  resumed.scalar("loss", 1'000'000'000'000, std::numeric_limits<double>::infinity(), 2e9);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path directory = argv[1];
  draw_chart(directory / "chart.png");
  draw_masks(directory);
  write_events(directory / "events");
}
