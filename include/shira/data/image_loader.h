// Pictures to batches for a diffusion model.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/data/image_dataset.h>
#include <shira/data/image_size.h>
#include <shira/io/picture.h>

#include <torch/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace shira {

/// A picture's resizing to `target`: PIL's antialiased bilinear filter, to uint8 (H, W, 3).
SHIRA_API torch::Tensor resize_picture(const Picture& picture, ImageSize target);

struct ImageLoaderOptions {
  std::int64_t batch_size = 1;        // with prior preservation: as many class pictures come on top
  std::int64_t resolution = 512;      // side of a square, or of the area of the buckets
  bool center_crop = false;           // else at random
  bool random_flip = false;           // left and right, half of the time
  bool aspect_ratio_buckets = false;  // not together with prior preservation
  Rgb background = {};                // under transparent pixels
  std::uint64_t seed = 0;             // of order, crops and flips
  bool shuffle = true;                // else the samples' own order (bucket after bucket)
  std::size_t memory = std::size_t{1} << 30;  // bytes of resized pictures kept, so that they are
                                              // decoded once
};

/// A sample as a model sees it, with SDXL's size conditioning as diffusers' training script
/// computes it. Sizes and places are (height, width).
struct PreparedImage {
  torch::Tensor pixels;                       // (3, H, W) float32, -1 to 1
  std::array<std::int64_t, 2> original_size;  // of the file's picture
  std::array<std::int64_t, 2> crop_top_left;  // in the resized and flipped picture
  std::array<std::int64_t, 2> target_size;    // of the crop
};

/// Batches of one epoch after another: "pixel_values" (B, 3, H, W) float32 in [-1, 1], "sample" (B)
/// int64, an index into samples(), and "original_size", "crop_top_left", "target_size" (B, 2) int64
/// (PreparedImage). A batch has one size; an epoch's last one (with buckets: each bucket's last
/// one) may be smaller.
///
/// With samples that are is_prior, a batch is `batch_size` of the others followed by as many of
/// them, with "is_prior" (B) bool, as diffusers' train_dreambooth collates it; an epoch takes the
/// larger one of both sets once and goes round in the other.
class SHIRA_API ImageLoader : public BatchSource {
 public:
  /// ConfigError for options that cannot be used and when there is nothing to train on; IoError for
  /// a picture so narrow that its resizing would be larger than decode_image allows.
  ImageLoader(std::vector<ImageSample> samples, ImageLoaderOptions options);

  const std::vector<ImageSample>& samples() const { return samples_; }
  const ImageLoaderOptions& options() const { return options_; }
  /// What the sample is cropped to.
  ImageSize target_size(std::int64_t sample) const { return targets_[sample]; }

  std::int64_t batches_in_epoch(std::int64_t epoch) override;
  /// IoError when a file is gone or has changed since it was loaded.
  Batch batch(std::int64_t epoch, std::int64_t number) override;
  /// XXH3-64 over names, contents and captions of the samples and the options that shape them.
  std::uint64_t fingerprint() const override;

  /// A place of a batch: a sample, and the epoch that `prepared` takes for it there.
  struct Item {
    std::int64_t sample;
    std::int64_t epoch;
  };
  /// The places of a batch, in its order, without decoding pictures.
  std::vector<Item> items_of(std::int64_t epoch, std::int64_t number);
  /// A sample as it is cropped and flipped in an epoch, a function of (seed, epoch, sample). When
  /// an epoch takes a sample n times, the k-th time has the crop and flip of "epoch" n * epoch + k.
  PreparedImage prepared(std::int64_t sample, std::int64_t epoch);

 private:
  void check_options() const;
  void choose_targets();
  std::int64_t items_in_epoch() const;
  std::vector<std::vector<std::int64_t>> cut_into_batches(
      const std::vector<std::int64_t>& order) const;
  void prepare(std::int64_t epoch);
  torch::Tensor resized(std::int64_t sample);

  std::vector<ImageSample> samples_;
  ImageLoaderOptions options_;
  std::vector<ImageSize> targets_;                  // of each sample
  std::vector<std::int64_t> instances_;             // samples that are not is_prior
  std::vector<std::int64_t> priors_;                // samples that are
  std::optional<std::int64_t> epoch_;               // the one that batches_ describes
  std::vector<std::vector<std::int64_t>> batches_;  // places in the epoch
  std::map<std::int64_t, torch::Tensor> resized_;   // uint8 (H, W, 3), those that fit
  std::size_t resized_bytes_ = 0;
};

}  // namespace shira
