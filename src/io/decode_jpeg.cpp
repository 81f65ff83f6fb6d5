// JPEG by libjpeg, which reports errors by a callback that must not return: it jumps back over C
// frames alone.
#include "decoders.h"

#include <shira/base/error.h>

#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which needs it

namespace shira::detail {
namespace {

struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg knows this part
  std::jmp_buf back;
  bool is_truncated = false;
};

JpegErrors& errors_of(j_common_ptr info) { return *reinterpret_cast<JpegErrors*>(info->err); }

[[noreturn]] void jump_back(j_common_ptr info) { std::longjmp(errors_of(info).back, 1); }

/// Warnings are of no concern, except for those of a file that ends too early: libjpeg would fill
/// up with grey.
void note_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  const bool ends_early = code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER;
  if (level < 0 && ends_early) errors_of(info).is_truncated = true;
}

/// What the C frames work on: nothing here is made or destroyed while they may jump.
struct JpegReading {
  jpeg_decompress_struct info{};
  JpegErrors errors{};
  RgbaImage image;
  std::vector<std::uint8_t> row;
  int orientation = 1;
  bool is_cmyk = false;
  bool is_too_large = false;
};

void read_header(JpegReading& reading, std::span<const std::uint8_t> encoded) {
  jpeg_create_decompress(&reading.info);
  jpeg_mem_src(&reading.info, encoded.data(), static_cast<unsigned long>(encoded.size()));
  jpeg_save_markers(&reading.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&reading.info, TRUE);
}

/// Whether the pixels are of a kind that is read on.
bool prepare(JpegReading& reading) {
  const jpeg_decompress_struct& info = reading.info;
  reading.is_cmyk = info.num_components == 4;
  if (reading.is_cmyk) return false;
  check_image_size(info.image_width, info.image_height);
  reading.image.width = static_cast<int>(info.image_width);
  reading.image.height = static_cast<int>(info.image_height);
  const std::size_t width = info.image_width, height = info.image_height;
  reading.image.bytes.assign(4 * width * height, 255);
  reading.row.resize(3 * width);
  for (const auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const int found = exif_orientation({marker->data, marker->data_length});
    if (found != 1) reading.orientation = found;
  }
  return true;
}

void read_rows(JpegReading& reading) {
  reading.info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&reading.info);
  std::uint8_t* out = reading.image.bytes.data();
  while (reading.info.output_scanline < reading.info.output_height) {
    JSAMPROW row = reading.row.data();
    jpeg_read_scanlines(&reading.info, &row, 1);
    for (std::size_t x = 0; x < reading.row.size(); x += 3, out += 4) {
      out[0] = reading.row[x];
      out[1] = reading.row[x + 1];
      out[2] = reading.row[x + 2];
    }
  }
  jpeg_finish_decompress(&reading.info);
}

/// False where libjpeg gave up.
bool run_header(JpegReading& reading, std::span<const std::uint8_t> encoded) {
  if (setjmp(reading.errors.back) != 0) return false;
  read_header(reading, encoded);
  return true;
}

bool run_rows(JpegReading& reading) {
  if (setjmp(reading.errors.back) != 0) return false;
  read_rows(reading);
  return true;
}

struct Destroyer {
  JpegReading& reading;
  ~Destroyer() { jpeg_destroy_decompress(&reading.info); }
};

std::string last_message(JpegReading& reading) {
  char text[JMSG_LENGTH_MAX] = {};
  reading.info.err->format_message(reinterpret_cast<j_common_ptr>(&reading.info), text);
  return text;
}

}  // namespace

RgbaImage decode_jpeg(std::span<const std::uint8_t> encoded) {
  JpegReading reading;
  reading.info.err = jpeg_std_error(&reading.errors.base);
  reading.errors.base.error_exit = jump_back;
  reading.errors.base.emit_message = note_message;
  const Destroyer destroyer{reading};
  SHIRA_CHECK(IoError, run_header(reading, encoded),
              "not a JPEG file that can be read: ", last_message(reading));
  SHIRA_CHECK(IoError, prepare(reading), "a JPEG file of four colours (CMYK). Convert it to RGB.");
  SHIRA_CHECK(IoError, run_rows(reading), "a damaged JPEG file: ", last_message(reading));
  SHIRA_CHECK(IoError, !reading.errors.is_truncated, "a truncated JPEG file");
  return upright(std::move(reading.image), reading.orientation);
}

}  // namespace shira::detail
