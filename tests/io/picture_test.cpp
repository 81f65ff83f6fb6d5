// PNG files byte by byte where the format fixes them; tests/cli/test_pictures_and_events.py reads
// whole ones with another reader.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/picture.h>

#include <gtest/gtest.h>

#include <algorithm>

namespace shira {
namespace {

TEST(PictureTest, IsWhiteAtFirstAndAddressedByColumnThenRow) {
  Picture picture(3, 2);
  ASSERT_EQ(picture.pixels.size(), 6u);
  EXPECT_EQ(std::count(picture.pixels.begin(), picture.pixels.end(), Rgb{255, 255, 255}), 6);
  picture.at(2, 1) = Rgb{1, 2, 3};
  EXPECT_EQ(picture.pixels.back(), (Rgb{1, 2, 3}));
}

// Signature and header: section 5.2 and 11.2.2 of the PNG specification (third edition).
TEST(PictureTest, PngHeaderHasTheSizeAndEightBitRgb) {
  TemporaryDirectory directory;
  write_png(directory / "a.png", Picture(3, 258));
  const std::string expected("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x03\0\0\x01\x02\x08\x02\0\0\0",
                             29);
  EXPECT_EQ(read_file(directory / "a.png").substr(0, 29), expected);
}

TEST(PictureTest, PngReplacesAnOldFileOnlyWhenItIsWhole) {
  TemporaryDirectory directory;
  write_file(directory / "a.png", "old");
  expect_error<ShapeError>([&] { write_png(directory / "a.png", Picture(0, 7)); },
                           {"a.png", "0 x 7"});
  EXPECT_EQ(read_file(directory / "a.png"), "old");
  write_png(directory / "a.png", Picture(1, 1));
  EXPECT_EQ(read_file(directory / "a.png").substr(1, 3), "PNG");
  expect_error<IoError>([&] { write_png(directory / "missing/a.png", Picture(1, 1)); },
                        {"missing/a.png", "No such file"});
}

}  // namespace
}  // namespace shira
