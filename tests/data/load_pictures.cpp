// load_pictures < REQUESTS: for tests. Each line is a JSON object, answered by one.
// {file, background, out, size (optional: height, width)}: decodes, and resizes, to the raw RGB
// bytes in `out`; {height, width} or {error}.
// {directory, out, resolution, center_crop, random_flip, aspect_ratio_buckets, epoch}: prepares
// every sample of a captioned directory, raw float32 planes one after another in `out`; {samples:
// [{file, caption, original_size, crop_top_left, target_size}]} or {error}.
#include <shira/base/error.h>
#include <shira/data/image_loader.h>
#include <shira/io/image_file.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>
#include <string>

namespace {

using nlohmann::json;

json decode(const json& request) {
  const shira::Picture picture =
      shira::read_image(request.at("file").get<std::string>(),
                        shira::parse_colour(request.value("background", "white")));
  const std::int64_t height = picture.height, width = picture.width;
  const auto size = request.value("size", std::vector<std::int64_t>{height, width});
  const torch::Tensor pixels = shira::resize_picture(picture, {size.at(0), size.at(1)});
  std::ofstream(request.at("out").get<std::string>(), std::ios::binary)
      .write(reinterpret_cast<const char*>(pixels.const_data_ptr<std::uint8_t>()),
             static_cast<std::streamsize>(pixels.nbytes()));
  return {{"height", height}, {"width", width}};
}

json prepare(const json& request) {
  shira::ImageLoader loader(shira::load_captioned_images(request.at("directory").get<std::string>(),
                                                         shira::OnCorruptImage::kError),
                            {.resolution = request.at("resolution"),
                             .center_crop = request.value("center_crop", false),
                             .random_flip = request.value("random_flip", false),
                             .aspect_ratio_buckets = request.value("aspect_ratio_buckets", false)});
  std::ofstream out(request.at("out").get<std::string>(), std::ios::binary);
  json samples = json::array();
  for (std::size_t i = 0; i < loader.samples().size(); ++i) {
    const auto number = static_cast<std::int64_t>(i);
    const auto image = loader.prepared(number, request.value("epoch", 0));
    out.write(reinterpret_cast<const char*>(image.pixels.const_data_ptr<float>()),
              static_cast<std::streamsize>(image.pixels.nbytes()));
    samples.push_back({{"file", loader.samples()[i].file.filename().string()},
                       {"caption", loader.samples()[i].caption},
                       {"original_size", image.original_size},
                       {"crop_top_left", image.crop_top_left},
                       {"target_size", image.target_size}});
  }
  return {{"samples", samples}};
}

json answer_to(const json& request) {
  try {
    return request.contains("file") ? decode(request) : prepare(request);
  } catch (const shira::Error& error) {
    return {{"error", error.what()}};
  }
}

}  // namespace

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer_to(json::parse(line)).dump(-1, ' ', /*ensure_ascii=*/true) << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
