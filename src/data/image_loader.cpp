// Order, crops and flips come from the counter-based generator, keyed by seed, epoch and sample.
#include <shira/base/error.h>
#include <shira/data/image_loader.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checksum.h>
#include <shira/io/image_file.h>
#include <shira/kernels/philox.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

namespace shira {
namespace {

using Pair = std::array<std::int64_t, 2>;

constexpr std::int64_t kMostResizedPixels = 178'956'970;  // as decode_image allows

ImageSize size_of(const ImageSample& sample) { return {sample.height, sample.width}; }

/// Half of a crop's margin, rounded as Python's round() does: a half goes to the even number.
std::int64_t centred(std::int64_t margin) {
  const std::int64_t half = margin / 2;
  return margin % 2 == 1 && half % 2 == 1 ? half + 1 : half;
}

Pair random_corner(PhiloxStream& random, Pair margin) {
  Pair corner;
  for (std::size_t i = 0; i < corner.size(); ++i) {
    corner[i] =
        static_cast<std::int64_t>(random.bounded(static_cast<std::uint64_t>(margin[i]) + 1));
  }
  return corner;
}

/// The crop (height, width, 3) of uint8 pixels, mirrored if asked, as (3, height, width) float32.
/// A loop of its own: LibTorch's operations would take threads from the training step.
torch::Tensor to_planes(const torch::Tensor& pixels, Pair top_left, ImageSize size,
                        bool is_mirrored) {
  static const auto value_of = [] {
    std::array<float, 256> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {  // ToTensor, then Normalize(0.5, 0.5)
      values[i] = (static_cast<float>(i) / 255.0f - 0.5f) / 0.5f;
    }
    return values;
  }();
  torch::Tensor planes = at::empty({3, size.height, size.width}, torch::kFloat32);
  const auto* in = pixels.const_data_ptr<std::uint8_t>();
  float* out = planes.mutable_data_ptr<float>();
  const auto [top, left] = top_left;
  for (std::int64_t channel = 0; channel < 3; ++channel) {
    for (std::int64_t y = 0; y < size.height; ++y) {
      const std::uint8_t* row = in + ((top + y) * pixels.size(1) + left) * 3 + channel;
      for (std::int64_t x = 0; x < size.width; ++x) {
        *out++ = value_of[row[3 * (is_mirrored ? size.width - 1 - x : x)]];
      }
    }
  }
  return planes;
}

/// One member of every prepared picture, as (B, 2).
torch::Tensor stack_pairs(const std::vector<PreparedImage>& images, Pair PreparedImage::* member) {
  std::vector<std::int64_t> values;
  for (const PreparedImage& image : images) {
    values.insert(values.end(), (image.*member).begin(), (image.*member).end());
  }
  return at::tensor(values, torch::kInt64).view({-1, 2});
}

std::uint64_t hash_of(const std::string& text) { return xxh3_64(text.data(), text.size()); }

}  // namespace

torch::Tensor resize_picture(const Picture& picture, ImageSize target) {
  // Read only; LibTorch has no tensor of const values.
  const torch::Tensor pixels =
      at::from_blob(const_cast<Rgb*>(picture.pixels.data()), {1, picture.height, picture.width, 3},
                    at::TensorOptions(torch::kUInt8))
          .permute({0, 3, 1, 2});
  if (ImageSize{picture.height, picture.width} == target) {
    return pixels.permute({0, 2, 3, 1}).squeeze(0).clone(at::MemoryFormat::Contiguous);
  }
  return at::_upsample_bilinear2d_aa(pixels, {target.height, target.width}, false)
      .permute({0, 2, 3, 1})
      .squeeze(0)
      .contiguous();
}

ImageLoader::ImageLoader(std::vector<ImageSample> samples, ImageLoaderOptions options)
    : samples_(std::move(samples)), options_(std::move(options)) {
  for (std::int64_t i = 0; i < std::ssize(samples_); ++i) {
    (samples_[i].is_prior ? priors_ : instances_).push_back(i);
  }
  check_options();
  choose_targets();
}

void ImageLoader::check_options() const {
  SHIRA_CHECK(ConfigError, !instances_.empty() && options_.batch_size >= 1, "[ImageLoader] got ",
              instances_.size(), " samples to train on and batch size ", options_.batch_size,
              "; both must be at least 1.");
  SHIRA_CHECK(ConfigError, options_.resolution >= 8, "resolution: got ", options_.resolution,
              ", expected 8 pixels or more.");
  SHIRA_CHECK(ConfigError, priors_.empty() || !options_.aspect_ratio_buckets,
              "aspect_ratio_buckets: not together with with_prior_preservation, whose batches "
              "hold pictures of both kinds in one size. Turn one of them off.");
  for (const ImageSample& sample : samples_) {
    SHIRA_CHECK(ConfigError, sample.width > 0 && sample.height > 0, "[ImageLoader] ",
                sample.file.string(),
                " has no size: samples come from load_captioned_images, "
                "load_images_of_subject or load_prior_images.");
  }
}

void ImageLoader::choose_targets() {
  const std::vector<ImageSize> sizes =
      options_.aspect_ratio_buckets
          ? bucket_sizes(options_.resolution)
          : std::vector<ImageSize>{{options_.resolution, options_.resolution}};
  for (const ImageSample& sample : samples_) {
    const ImageSize target = sizes[nearest_bucket(sizes, size_of(sample))];
    const auto [height, width] = covering_size(size_of(sample), target);
    SHIRA_CHECK(IoError, height <= kMostResizedPixels / width, sample.file.string(), ": ",
                sample.width, " x ", sample.height, " pixels are too narrow: resized to cover ",
                target.width, " x ", target.height, " they would be ", width, " x ", height,
                ". Cut the picture, or take it out.");
    targets_.push_back(target);
  }
}

/// Places of an epoch: one for each sample, or for each of the larger set.
std::int64_t ImageLoader::items_in_epoch() const {
  return std::max(std::ssize(instances_), std::ssize(priors_));
}

/// Batches of one size each, in the order of their first places' sizes.
std::vector<std::vector<std::int64_t>> ImageLoader::cut_into_batches(
    const std::vector<std::int64_t>& order) const {
  std::map<ImageSize, std::vector<std::int64_t>> places_of_size;
  for (const std::int64_t place : order) {
    places_of_size[targets_[instances_[place % std::ssize(instances_)]]].push_back(place);
  }
  std::vector<std::vector<std::int64_t>> batches;
  for (const auto& [size, places] : places_of_size) {
    for (std::int64_t begin = 0; begin < std::ssize(places); begin += options_.batch_size) {
      const std::int64_t end = std::min(std::ssize(places), begin + options_.batch_size);
      batches.emplace_back(places.begin() + begin, places.begin() + end);
    }
  }
  return batches;
}

void ImageLoader::prepare(std::int64_t epoch) {
  if (epoch == epoch_) return;
  epoch_.reset();
  std::vector<std::int64_t> order(static_cast<std::size_t>(items_in_epoch()));
  std::iota(order.begin(), order.end(), 0);
  if (options_.shuffle) {
    PhiloxStream stream(options_.seed, detail::concat("pictures of epoch ", epoch));
    order = random_permutation(stream, std::ssize(order));
  }
  auto batches = cut_into_batches(order);
  if (options_.shuffle && options_.aspect_ratio_buckets) {
    PhiloxStream stream(options_.seed, detail::concat("picture batches of epoch ", epoch));
    std::vector<std::vector<std::int64_t>> shuffled_batches;
    for (const std::int64_t i : random_permutation(stream, std::ssize(batches))) {
      shuffled_batches.push_back(std::move(batches[i]));
    }
    batches = std::move(shuffled_batches);
  }
  batches_ = std::move(batches);
  epoch_ = epoch;
}

std::int64_t ImageLoader::batches_in_epoch(std::int64_t epoch) {
  prepare(epoch);
  return std::ssize(batches_);
}

std::vector<ImageLoader::Item> ImageLoader::items_of(std::int64_t epoch, std::int64_t number) {
  prepare(epoch);
  SHIRA_CHECK(Error, number >= 0 && number < std::ssize(batches_), "[ImageLoader] got batch ",
              number, " of epoch ", epoch, ", which has ", batches_.size(), ".");
  std::vector<Item> items;
  for (const auto* set : {&instances_, &priors_}) {
    const std::int64_t count = std::ssize(*set);
    if (count == 0) continue;
    const std::int64_t rounds = (items_in_epoch() + count - 1) / count;
    for (const std::int64_t place : batches_[number]) {
      items.push_back({(*set)[place % count], epoch * rounds + place / count});
    }
  }
  return items;
}

Batch ImageLoader::batch(std::int64_t epoch, std::int64_t number) {
  std::vector<PreparedImage> images;
  std::vector<torch::Tensor> pixels;
  std::vector<std::int64_t> numbers;
  std::vector<std::int64_t> are_prior;
  for (const Item& item : items_of(epoch, number)) {
    images.push_back(prepared(item.sample, item.epoch));
    pixels.push_back(images.back().pixels);
    numbers.push_back(item.sample);
    are_prior.push_back(samples_[item.sample].is_prior ? 1 : 0);
  }
  Batch batch = {{"pixel_values", at::stack(pixels)},
                 {"sample", at::tensor(numbers, torch::kInt64)},
                 {"original_size", stack_pairs(images, &PreparedImage::original_size)},
                 {"crop_top_left", stack_pairs(images, &PreparedImage::crop_top_left)},
                 {"target_size", stack_pairs(images, &PreparedImage::target_size)}};
  if (!priors_.empty()) batch["is_prior"] = at::tensor(are_prior, torch::kInt64).to(torch::kBool);
  return batch;
}

torch::Tensor ImageLoader::resized(std::int64_t sample) {
  const auto found = resized_.find(sample);
  if (found != resized_.end()) return found->second;
  const ImageSample& source = samples_[sample];
  const std::string bytes = read_file(source.file);
  SHIRA_CHECK(IoError, xxh3_64(bytes.data(), bytes.size()) == source.content, source.file.string(),
              ": has changed since it was first read. Start the run again.");
  torch::Tensor pixels = resize_picture(decode_image(bytes, options_.background),
                                        covering_size(size_of(source), targets_[sample]));
  if (resized_bytes_ + pixels.nbytes() <= options_.memory) {
    resized_bytes_ += pixels.nbytes();
    resized_[sample] = pixels;
  }
  return pixels;
}

PreparedImage ImageLoader::prepared(std::int64_t sample, std::int64_t epoch) {
  SHIRA_CHECK(Error, sample >= 0 && sample < std::ssize(samples_), "[ImageLoader] got sample ",
              sample, ", expected one of ", samples_.size(), ".");
  const torch::Tensor pixels = resized(sample);
  const ImageSize target = targets_[sample];
  PhiloxStream random(options_.seed,
                      detail::concat("crop and flip of picture ", sample, " in epoch ", epoch));
  const bool is_mirrored = random.next_u32() % 2 == 1 && options_.random_flip;
  const Pair margin = {pixels.size(0) - target.height, pixels.size(1) - target.width};
  const Pair top_left = options_.center_crop ? Pair{centred(margin[0]), centred(margin[1])}
                                             : random_corner(random, margin);
  const Pair in_file = {top_left[0], is_mirrored ? margin[1] - top_left[1] : top_left[1]};
  return {to_planes(pixels, in_file, target, is_mirrored),
          {samples_[sample].height, samples_[sample].width},
          top_left,
          {target.height, target.width}};
}

std::uint64_t ImageLoader::fingerprint() const {
  std::vector<std::uint64_t> hashes = {static_cast<std::uint64_t>(options_.resolution),
                                       options_.center_crop,
                                       options_.random_flip,
                                       options_.aspect_ratio_buckets,
                                       options_.background.red,
                                       options_.background.green,
                                       options_.background.blue};
  for (const ImageSample& sample : samples_) {
    hashes.push_back(hash_of(sample.file.filename().string()));
    hashes.push_back(hash_of(sample.caption));
    hashes.push_back(sample.content);
    hashes.push_back(sample.is_prior);
  }
  return xxh3_64(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

}  // namespace shira
