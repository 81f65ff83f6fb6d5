// Batches are a function of (seed, epoch, number); tests/cli/test_pictures.py compares their pixels
// with Pillow and their sizes with diffusers.
#include "data/picture_files.h"
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/image_loader.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

namespace shira {
namespace {

class ImageLoaderTest : public testing::Test {
 protected:
  /// A sample with a picture of this size; its blue tells it from others.
  ImageSample add(int width, int height, bool is_prior = false) {
    const int number = count_++;
    const auto folder = directory_ / std::to_string(number);
    std::filesystem::create_directory(folder);
    write_picture(folder / (std::to_string(number) + ".png"), width, height,
                  static_cast<std::uint8_t>(number));
    ImageSample sample = load_images_of_subject(folder, "a", OnCorruptImage::kError).at(0);
    sample.is_prior = is_prior;
    return sample;
  }
  std::vector<ImageSample> squares(int count, bool is_prior = false) {
    std::vector<ImageSample> samples;
    for (int i = 0; i < count; ++i) samples.push_back(add(16, 16, is_prior));
    return samples;
  }
  static std::vector<ImageSample> joined(std::vector<ImageSample> a,
                                         const std::vector<ImageSample>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  TemporaryDirectory directory_;
  int count_ = 0;
};

using Numbers = std::vector<std::int64_t>;

Numbers to_numbers(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  const auto* values = flat.const_data_ptr<std::int64_t>();
  return {values, values + flat.numel()};
}

/// The samples of every batch of an epoch.
std::vector<Numbers> batches_of(ImageLoader& loader, std::int64_t epoch) {
  std::vector<Numbers> batches;
  for (std::int64_t i = 0; i < loader.batches_in_epoch(epoch); ++i) {
    batches.emplace_back();
    for (const auto& item : loader.items_of(epoch, i)) batches.back().push_back(item.sample);
  }
  return batches;
}

Numbers sorted_samples(const std::vector<Numbers>& batches) {
  Numbers all;
  for (const Numbers& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  std::ranges::sort(all);
  return all;
}

TEST_F(ImageLoaderTest, BatchHasPixelsAndSizeConditioning) {
  ImageLoader loader({add(20, 10), add(16, 40)},
                     {.batch_size = 2, .resolution = 8, .center_crop = true, .shuffle = false});
  const Batch batch = loader.batch(0, 0);
  const torch::Tensor& pixels = batch.at("pixel_values");
  EXPECT_EQ(pixels.sizes(), (at::IntArrayRef{2, 3, 8, 8}));
  EXPECT_EQ(pixels.scalar_type(), torch::kFloat32);
  EXPECT_EQ(to_numbers(batch.at("sample")), (Numbers{0, 1}));
  EXPECT_EQ(to_numbers(batch.at("original_size")), (Numbers{10, 20, 40, 16}));
  EXPECT_EQ(to_numbers(batch.at("crop_top_left")), (Numbers{0, 4, 6, 0}));
  EXPECT_EQ(to_numbers(batch.at("target_size")), (Numbers{8, 8, 8, 8}));
  EXPECT_FALSE(batch.contains("is_prior"));
  EXPECT_TRUE(at::allclose(pixels.select(1, 2).select(0, 1), at::full({8, 8}, 1 / 127.5 - 1)));
}

TEST_F(ImageLoaderTest, PixelsReachFromMinusOneToOne) {
  const ImageSample sample = add(8, 8);
  Picture picture(8, 8);
  picture.at(3, 2) = {0, 255, 51};
  write_png(sample.file, picture);
  ImageLoader loader(load_images_of_subject(sample.file.parent_path(), "", OnCorruptImage::kError),
                     {.resolution = 8});
  const torch::Tensor pixels = loader.prepared(0, 0).pixels;
  EXPECT_EQ(pixels[0][2][3].item<float>(), -1.0f);
  EXPECT_EQ(pixels[1][2][3].item<float>(), 1.0f);
  EXPECT_FLOAT_EQ(pixels[2][2][3].item<float>(), -0.6f);
}

TEST_F(ImageLoaderTest, EpochTakesEverySampleOnceInAnOrderOfItsOwn) {
  ImageLoader loader(squares(7), {.batch_size = 3, .resolution = 8, .seed = 5});
  EXPECT_EQ(loader.batches_in_epoch(0), 3);
  const auto first = batches_of(loader, 0), second = batches_of(loader, 1);
  EXPECT_EQ(sorted_samples(first), (Numbers{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(sorted_samples(second), sorted_samples(first));
  EXPECT_EQ(first[2].size(), 1u);
  EXPECT_NE(first, second);
  EXPECT_EQ(batches_of(loader, 0), first) << "after another epoch";
  ImageLoader other(loader.samples(), {.batch_size = 3, .resolution = 8, .seed = 6});
  EXPECT_NE(batches_of(other, 0), first);
}

TEST_F(ImageLoaderTest, BatchesDependOnNothingThatWasAskedBefore) {
  const auto samples = joined({add(40, 16), add(16, 40)}, squares(3));
  const ImageLoaderOptions options{
      .batch_size = 2, .resolution = 8, .random_flip = true, .seed = 5};
  ImageLoader loader(samples, options);
  for (int epoch = 0; epoch < 3; ++epoch) batches_of(loader, epoch);
  loader.batch(1, 2);
  ImageLoaderOptions without_memory = options;
  without_memory.memory = 0;
  ImageLoader fresh(samples, without_memory);
  for (const auto& [name, tensor] : loader.batch(2, 1)) {
    EXPECT_TRUE(at::equal(tensor, fresh.batch(2, 1).at(name))) << name;
  }
}

TEST_F(ImageLoaderTest, CropsAndFlipsChangeFromEpochToEpoch) {
  ImageLoader loader({add(64, 16)}, {.resolution = 16, .random_flip = true});
  std::set<std::int64_t> lefts;
  int flips = 0;
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    const PreparedImage image = loader.prepared(0, epoch);
    lefts.insert(image.crop_top_left[1]);
    const torch::Tensor red = image.pixels[0][0];  // 7 x modulo 256: steps of 7 to the right
    flips +=
        red[1].item<float>() < red[0].item<float>() && red[2].item<float>() < red[1].item<float>();
  }
  EXPECT_GT(lefts.size(), 40u);  // of 49: each is missed with a chance of 2 %
  EXPECT_EQ(*lefts.begin(), 0);
  EXPECT_EQ(*lefts.rbegin(), 48);
  EXPECT_GT(flips, 60);
  EXPECT_LT(flips, 140);
}

TEST_F(ImageLoaderTest, FlipIsTheMirroredPicture) {
  const ImageSample sample = add(8, 8);
  ImageLoader plain({sample}, {.resolution = 8});
  ImageLoader flipping({sample}, {.resolution = 8, .random_flip = true});
  const torch::Tensor upright = plain.prepared(0, 0).pixels;
  int flips = 0;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const torch::Tensor pixels = flipping.prepared(0, epoch).pixels;
    const bool is_flipped = at::equal(pixels, upright.flip(2));
    EXPECT_TRUE(is_flipped || at::equal(pixels, upright)) << epoch;
    flips += is_flipped;
  }
  EXPECT_GT(flips, 2);
  EXPECT_LT(flips, 18);
}

TEST_F(ImageLoaderTest, BatchHoldsOneBucket) {
  std::vector<ImageSample> samples;
  for (int i = 0; i < 5; ++i) samples.push_back(add(60, 30));
  for (int i = 0; i < 4; ++i) samples.push_back(add(30, 60));
  for (int i = 0; i < 3; ++i) samples.push_back(add(32, 32));
  ImageLoader loader(samples, {.batch_size = 2, .resolution = 64, .aspect_ratio_buckets = true});
  EXPECT_EQ(loader.batches_in_epoch(0), 3 + 2 + 2);
  EXPECT_EQ(sorted_samples(batches_of(loader, 0)).size(), 12u);
  std::set<std::pair<std::int64_t, std::int64_t>> sizes;
  for (std::int64_t i = 0; i < 7; ++i) {
    const Batch batch = loader.batch(3, i);
    const Numbers targets = to_numbers(batch.at("target_size"));
    const torch::Tensor& pixels = batch.at("pixel_values");
    for (std::size_t j = 0; j < targets.size(); j += 2) {
      EXPECT_EQ(targets[j], pixels.size(2));
      EXPECT_EQ(targets[j + 1], pixels.size(3));
    }
    sizes.emplace(pixels.size(2), pixels.size(3));
  }
  EXPECT_EQ(sizes.size(), 3u);
  EXPECT_TRUE(sizes.contains({64, 64}));
  EXPECT_NE(batches_of(loader, 0), batches_of(loader, 1));
}

TEST_F(ImageLoaderTest, ClassPicturesFollowTheInstances) {
  ImageLoader loader(joined(squares(2), squares(5, true)), {.batch_size = 2, .resolution = 8});
  EXPECT_EQ(loader.batches_in_epoch(0), 3);  // the five of the class once
  std::map<std::int64_t, int> taken;
  for (std::int64_t i = 0; i < 3; ++i) {
    const Batch batch = loader.batch(0, i);
    const Numbers numbers = to_numbers(batch.at("sample"));
    const auto instances = numbers.size() / 2;
    EXPECT_EQ(numbers.size(), i < 2 ? 4u : 2u);
    for (std::size_t j = 0; j < numbers.size(); ++j) {
      const bool is_prior = batch.at("is_prior")[static_cast<std::int64_t>(j)].item<bool>();
      EXPECT_EQ(is_prior, j >= instances);
      EXPECT_EQ(numbers[j] >= 2, is_prior);
      ++taken[numbers[j]];
    }
  }
  for (std::int64_t sample = 2; sample < 7; ++sample) EXPECT_EQ(taken[sample], 1) << sample;
  EXPECT_EQ(taken[0] + taken[1], 5);
  EXPECT_LE(std::abs(taken[0] - taken[1]), 1);
}

TEST_F(ImageLoaderTest, SampleTakenAgainInAnEpochIsCroppedAnew) {
  ImageLoader loader(joined({add(200, 16)}, squares(6, true)), {.resolution = 16});
  std::set<std::int64_t> lefts;
  for (std::int64_t i = 0; i < 6; ++i) {
    lefts.insert(to_numbers(loader.batch(0, i).at("crop_top_left"))[1]);
  }
  EXPECT_GT(lefts.size(), 3u);
}

TEST_F(ImageLoaderTest, FingerprintCoversNamesContentsCaptionsAndOptions) {
  const auto samples = squares(2);
  const ImageLoaderOptions options{.resolution = 8};
  const auto print = [](const std::vector<ImageSample>& of, const ImageLoaderOptions& with) {
    return ImageLoader(of, with).fingerprint();
  };
  const std::uint64_t first = print(samples, options);
  std::set<std::uint64_t> prints = {first};
  std::vector<std::function<void(ImageSample&)>> changes = {
      [](ImageSample& sample) { sample.caption = "b"; },
      [](ImageSample& sample) { sample.content ^= 1; },
      [](ImageSample& sample) { sample.file.replace_filename("other.png"); },
      [](ImageSample& sample) { sample.is_prior = true; }};
  for (const auto& change : changes) {
    auto changed = samples;
    change(changed[1]);
    prints.insert(print(changed, options));
  }
  prints.insert(print(samples, {.resolution = 16}));
  prints.insert(print(samples, {.resolution = 8, .center_crop = true}));
  prints.insert(print(samples, {.resolution = 8, .random_flip = true}));
  prints.insert(print(samples, {.resolution = 8, .aspect_ratio_buckets = true}));
  prints.insert(print(samples, {.resolution = 8, .background = {0, 0, 0}}));
  EXPECT_EQ(prints.size(), 10u);
  auto moved = samples;
  moved[0].file = "elsewhere" / moved[0].file.filename();
  EXPECT_EQ(print(moved, options), first) << "a data directory may move";
}

TEST_F(ImageLoaderTest, FileThatChangedMeanwhileIsNotTrainedOn) {
  const ImageSample sample = add(16, 16);
  ImageLoader loader({sample}, {.resolution = 8});
  write_picture(sample.file, 16, 16, 99);
  expect_error<IoError>([&] { loader.batch(0, 0); }, {"0.png", "changed"});
}

TEST_F(ImageLoaderTest, OptionsThatCannotBeUsedAreRefused) {
  const auto refused = [](std::vector<ImageSample> samples, const ImageLoaderOptions& options,
                          std::string_view word) {
    expect_error<ConfigError>([&] { ImageLoader(samples, options); }, {word});
  };
  refused({}, {}, "0 samples");
  refused(squares(1, true), {}, "0 samples");
  refused(squares(1), {.batch_size = 0}, "batch size 0");
  refused(squares(1), {.resolution = 7}, "resolution: got 7");
  refused(joined(squares(1), squares(1, true)), {.aspect_ratio_buckets = true},
          "with_prior_preservation");
  refused({{.file = "a.png"}}, {}, "a.png has no size");
  ImageSample narrow = add(1, 1);
  narrow.width = 1'000'000;
  expect_error<IoError>([&] { ImageLoader({narrow}, {}); }, {"1000000 x 1", "too narrow"});
}

}  // namespace
}  // namespace shira
