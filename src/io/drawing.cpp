// Lines are smoothed by distance: a pixel's share of colour falls from one to zero within one pixel
// around the line's edge. Text is stb_easy_font, compiled into this file alone: its letters are
// made of upright rectangles, doubled here.
#include "drawing.h"

#include <stb_easy_font.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

namespace shira::detail {
namespace {

constexpr int kTextScale = 2;

/// Of a pixel (x, y) from the line between two points.
float distance_to_line(float x, float y, PixelPoint a, PixelPoint b) {
  const float dx = b.x - a.x;
  const float dy = b.y - a.y;
  const float length = dx * dx + dy * dy;
  const float along = length > 0 ? ((x - a.x) * dx + (y - a.y) * dy) / length : 0;
  const float t = std::clamp(along, 0.0F, 1.0F);
  return std::hypot(x - a.x - t * dx, y - a.y - t * dy);
}

/// The share of each pixel that a line covers.
struct Coverage {
  explicit Coverage(const Picture& picture)
      : width(picture.width), height(picture.height), shares(picture.pixels.size()) {}

  void add_line(PixelPoint a, PixelPoint b, float radius) {
    const int left = std::max(0, static_cast<int>(std::min(a.x, b.x) - radius - 1));
    const int right = std::min(width - 1, static_cast<int>(std::max(a.x, b.x) + radius + 1));
    const int top = std::max(0, static_cast<int>(std::min(a.y, b.y) - radius - 1));
    const int bottom = std::min(height - 1, static_cast<int>(std::max(a.y, b.y) + radius + 1));
    for (int y = top; y <= bottom; ++y) {
      for (int x = left; x <= right; ++x) {
        const float distance = distance_to_line(static_cast<float>(x), static_cast<float>(y), a, b);
        float& share = shares[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                              static_cast<std::size_t>(x)];
        share = std::max(share, std::clamp(radius + 0.5F - distance, 0.0F, 1.0F));
      }
    }
  }

  int width;
  int height;
  std::vector<float> shares;  // (height, width)
};

std::uint8_t blend(std::uint8_t under, std::uint8_t over, float share) {
  const float mixed = static_cast<float>(under) * (1 - share) + static_cast<float>(over) * share;
  return static_cast<std::uint8_t>(std::lround(mixed));
}

/// What stb_easy_font has: it reads outside of its tables for anything else.
std::string printable(std::string_view text) {
  std::string result(text);
  std::replace_if(result.begin(), result.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return result;
}

/// Calls `draw(x, y, width, height)` for every rectangle of the text, relative to its corner.
template <typename Draw>
void for_each_stroke(std::string_view text, Draw draw) {
  constexpr std::size_t kVertexBytes = 16;  // x, y, z as float; a colour
  constexpr std::size_t kQuadBytes = 4 * kVertexBytes;
  constexpr std::size_t kMostQuads = 24;  // of one letter
  std::string letters = printable(text);
  std::vector<char> vertices(letters.size() * kMostQuads * kQuadBytes);
  const int quads = stb_easy_font_print(0, 0, letters.data(), nullptr, vertices.data(),
                                        static_cast<int>(vertices.size()));
  for (int i = 0; i < quads; ++i) {
    const char* quad = vertices.data() + static_cast<std::size_t>(i) * kQuadBytes;
    std::array<float, 2> upper_left;
    std::array<float, 2> lower_right;
    std::memcpy(upper_left.data(), quad, sizeof upper_left);
    std::memcpy(lower_right.data(), quad + 2 * kVertexBytes, sizeof lower_right);
    const auto pixels = [](float units) { return kTextScale * static_cast<int>(units); };
    draw(pixels(upper_left[0]), pixels(upper_left[1]), pixels(lower_right[0] - upper_left[0]),
         pixels(lower_right[1] - upper_left[1]));
  }
}

}  // namespace

void fill_rectangle(Picture& picture, int x, int y, int width, int height, Rgb colour) {
  for (int row = std::max(0, y); row < std::min(picture.height, y + height); ++row) {
    for (int column = std::max(0, x); column < std::min(picture.width, x + width); ++column) {
      picture.at(column, row) = colour;
    }
  }
}

void draw_polyline(Picture& picture, std::span<const PixelPoint> points, float width, Rgb colour) {
  Coverage coverage(picture);
  const auto is_gap = [&](std::size_t i) { return i >= points.size() || std::isnan(points[i].x); };
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (is_gap(i)) continue;
    const bool first = i == 0 || is_gap(i - 1);
    if (!first) coverage.add_line(points[i - 1], points[i], width / 2);
    if (first && is_gap(i + 1)) coverage.add_line(points[i], points[i], 2 * width);
  }
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    Rgb& pixel = picture.pixels[i];
    const float share = coverage.shares[i];
    pixel = {blend(pixel.red, colour.red, share), blend(pixel.green, colour.green, share),
             blend(pixel.blue, colour.blue, share)};
  }
}

int text_width(std::string_view text) {
  std::string letters = printable(text);
  const int units = stb_easy_font_width(letters.data());  // with the space after the last letter
  return kTextScale * std::max(0, units - 1);
}

void draw_text(Picture& picture, int x, int y, std::string_view text, Rgb colour) {
  for_each_stroke(text, [&](int left, int top, int width, int height) {
    fill_rectangle(picture, x + left, y + top, width, height, colour);
  });
}

void draw_text_upwards(Picture& picture, int x, int y, std::string_view text, Rgb colour) {
  for_each_stroke(text, [&](int left, int top, int width, int height) {
    fill_rectangle(picture, x + top, y - left - width, height, width, colour);
  });
}

}  // namespace shira::detail
