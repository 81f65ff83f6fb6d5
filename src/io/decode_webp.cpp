#include "decoders.h"

#include <shira/base/error.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <utility>

namespace shira::detail {
namespace {

int orientation_of(std::span<const std::uint8_t> encoded) {
  const WebPData data{encoded.data(), encoded.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data),
                                                                         WebPDemuxDelete);
  WebPChunkIterator chunk;
  if (!demuxer || WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) == 0) return 1;
  const int orientation = exif_orientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

RgbaImage decode_webp(std::span<const std::uint8_t> encoded) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(encoded.data(), encoded.size(), &features);
  SHIRA_CHECK(IoError, status == VP8_STATUS_OK,
              "not a WebP file that can be read (libwebp's status ", static_cast<int>(status), ")");
  SHIRA_CHECK(IoError, features.has_animation == 0, "an animated WebP file. Save one frame of it.");
  check_image_size(features.width, features.height);
  RgbaImage image{features.width, features.height, {}};
  const int stride = 4 * image.width;
  image.bytes.resize(static_cast<std::size_t>(stride) * static_cast<std::size_t>(image.height));
  const auto* done = WebPDecodeRGBAInto(encoded.data(), encoded.size(), image.bytes.data(),
                                        image.bytes.size(), stride);
  SHIRA_CHECK(IoError, done != nullptr, "a damaged or truncated WebP file");
  return upright(std::move(image), orientation_of(encoded));
}

}  // namespace shira::detail
