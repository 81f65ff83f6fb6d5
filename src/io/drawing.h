// Rectangles, smooth lines and small text in a picture. What lies outside of it is not drawn.
#pragma once

#include <shira/io/picture.h>

#include <span>
#include <string_view>

namespace shira::detail {

constexpr int kTextHeight = 18;  // from the top of a capital to the bottom of a "g"

void fill_rectangle(Picture& picture, int x, int y, int width, int height, Rgb colour);

/// NaN coordinates are a gap in a line.
struct PixelPoint {
  float x = 0;
  float y = 0;
};

/// A line of this width through the points; a point between gaps is a disc four times as wide.
void draw_polyline(Picture& picture, std::span<const PixelPoint> points, float width, Rgb colour);

/// In pixels, from the first letter's left edge to the last one's right edge.
int text_width(std::string_view text);

/// Text whose upper left corner is (x, y).
void draw_text(Picture& picture, int x, int y, std::string_view text, Rgb colour);

/// Text that runs upwards from (x, y), which is the corner left of its first letter's head.
void draw_text_upwards(Picture& picture, int x, int y, std::string_view text, Rgb colour);

}  // namespace shira::detail
