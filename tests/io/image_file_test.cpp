// The 6 x 4 pictures of tests/fuzz/corpus/image, made by scripts/make_image_fixtures.py; red is
// 40 x, green 60 y, blue 128, the left half transparent where there is alpha.
// tests/cli/test_pictures.py compares many more with Pillow.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/image_file.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace shira {
namespace {

const std::filesystem::path kPictures = "tests/fuzz/corpus/image";

Rgb colour_at(int x, int y) {
  return {static_cast<std::uint8_t>(40 * x), static_cast<std::uint8_t>(60 * y), 128};
}

int distance(const Rgb& a, const Rgb& b) {
  return std::max(
      {std::abs(a.red - b.red), std::abs(a.green - b.green), std::abs(a.blue - b.blue)});
}

TEST(ImageFileTest, LosslessPicturesHaveTheirPixels) {
  const Picture picture = read_image(kPictures / "rgb.png");
  ASSERT_EQ(std::pair(picture.width, picture.height), std::pair(6, 4));
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 6; ++x) EXPECT_EQ(picture.at(x, y), colour_at(x, y)) << x << ", " << y;
  }
}

TEST(ImageFileTest, TransparentPixelsShowTheBackground) {
  for (const char* name : {"rgba.png", "lossless.webp"}) {
    const Rgb background{1, 2, 3};
    const Picture picture = read_image(kPictures / name, background);
    for (int x = 0; x < 6; ++x) {
      EXPECT_EQ(picture.at(x, 2), x < 3 ? background : colour_at(x, 2)) << name << " " << x;
    }
    EXPECT_EQ(read_image(kPictures / name).at(0, 0), (Rgb{255, 255, 255}));
  }
}

TEST(ImageFileTest, JpegsStandAsTheirCameraWasHeld) {
  const Picture picture = read_image(kPictures / "turned.jpg");  // a quarter clockwise
  ASSERT_EQ(std::pair(picture.width, picture.height), std::pair(4, 6));
  EXPECT_LE(distance(picture.at(3, 0), colour_at(0, 0)), 6);
  EXPECT_LE(distance(picture.at(0, 0), colour_at(0, 3)), 6);
  EXPECT_LE(distance(picture.at(0, 5), colour_at(5, 3)), 6);
}

TEST(ImageFileTest, OfSixteenBitsTheUpperByteCounts) {
  const Rgb deep = read_image(kPictures / "grey16.png").at(5, 3);
  EXPECT_EQ(deep, read_image(kPictures / "l.png").at(5, 3) /* not rounded */);
}

TEST(ImageFileTest, EveryCutIsFound) {
  for (const char* name : {"rgb.png", "p.png", "la.png", "grey16.png", "turned.jpg", "grey.jpg",
                           "progressive.jpg", "lossless.webp", "lossy.webp"}) {
    const std::string bytes = read_file(kPictures / name);
    EXPECT_NO_THROW(decode_image(bytes)) << name;
    for (std::size_t kept = 0; kept < bytes.size(); ++kept) {
      EXPECT_THROW(decode_image(bytes.substr(0, kept)), IoError) << name << " " << kept;
    }
  }
}

TEST(ImageFileTest, EveryFlippedBitOfAPngIsFound) {
  const std::string bytes = read_file(kPictures / "rgb.png");
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] ^= 4;
    EXPECT_THROW(decode_image(damaged), IoError) << "byte " << i;
  }
}

TEST(ImageFileTest, ErrorsNameTheFileAndWhatItIs) {
  expect_error<IoError>([] { read_image(kPictures / "cmyk.jpg"); }, {"cmyk.jpg", "CMYK"});
  expect_error<IoError>([] { read_image(kPictures / "animated.webp"); },
                        {"animated.webp", "animated"});
  expect_error<IoError>([] { read_image(kPictures / "none.png"); }, {"none.png", "No such file"});
  TemporaryDirectory directory;
  write_file(directory / "a.png", "GIF89a");
  expect_error<IoError>([&] { read_image(directory / "a.png"); }, {"a.png", "neither PNG"});
}

TEST(ImageFileTest, AnyNameWillDo) {
  TemporaryDirectory directory;
  write_file(directory / "a.webp", read_file(kPictures / "rgb.png"));
  EXPECT_EQ(read_image(directory / "a.webp").at(5, 3), colour_at(5, 3));
}

TEST(ImageFileTest, ColoursAreNamesOrSixDigits) {
  EXPECT_EQ(parse_colour("white"), (Rgb{255, 255, 255}));
  EXPECT_EQ(parse_colour("black"), (Rgb{0, 0, 0}));
  EXPECT_EQ(parse_colour("#1E90ff"), (Rgb{0x1E, 0x90, 0xFF}));
  for (const char* text : {"", "#fff", "#1E90fg", "1E90ff0", "red"}) {
    expect_error<ConfigError>([&] { parse_colour(text); }, {text, "#rrggbb"});
  }
}

}  // namespace
}  // namespace shira
