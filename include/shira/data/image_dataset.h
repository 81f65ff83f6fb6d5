// Directories of pictures as training samples: each picture with a caption of its own, or all of
// one subject (DreamBooth, Ruiz et al. 2022, arXiv 2208.12242).
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace shira {

/// A picture's file and what is said about it.
struct ImageSample {
  std::filesystem::path file;
  std::string caption = {};
  bool is_prior = false;      // of the class: for prior preservation
  int width = 0;              // after its EXIF orientation
  int height = 0;             //
  std::uint64_t content = 0;  // XXH3-64 of the file
};

/// What to do about files that cannot be decoded.
enum class OnCorruptImage {
  kError,  // IoError lists them
  kSkip,   // a warning lists them, and they are left out
};

/// "error" or "skip"; ConfigError for anything else.
SHIRA_API OnCorruptImage parse_on_corrupt_image(const std::string& text);

/// The .png, .jpg, .jpeg and .webp files of a directory (not of its subdirectories), sorted by
/// name, with the captions of its metadata.jsonl, or else of a .txt file beside each. A line of
/// metadata.jsonl is {"file_name": ..., "text" (or "caption", "prompt"): ...}, as HuggingFace's
/// imagefolder has it; its order counts, it may name files in subdirectories, and one several
/// times. Every file is decoded once, so that a damaged one is found now and not hours later.
/// IoError lists the pictures without a caption, and the lines that name no file.
SHIRA_API std::vector<ImageSample> load_captioned_images(const std::filesystem::path& directory,
                                                         OnCorruptImage on_corrupt);

/// The same files, all with the caption `prompt`.
SHIRA_API std::vector<ImageSample> load_images_of_subject(const std::filesystem::path& directory,
                                                          const std::string& prompt,
                                                          OnCorruptImage on_corrupt);

/// load_images_of_subject for prior preservation: the first `limit` files by name, is_prior set.
SHIRA_API std::vector<ImageSample> load_prior_images(const std::filesystem::path& directory,
                                                     const std::string& prompt, std::int64_t limit,
                                                     OnCorruptImage on_corrupt);

/// How many files there are that load_images_of_subject would read: 0 where the directory is
/// missing.
SHIRA_API std::int64_t count_image_files(const std::filesystem::path& directory);

struct ImageSplit {
  std::vector<ImageSample> train;
  std::vector<ImageSample> validation;
};

/// As split_datasets (dataset.h), by pictures: what has the same content is on one side. Samples
/// with is_prior are all for training.
SHIRA_API ImageSplit split_images(std::vector<ImageSample> samples, double val_set_size,
                                  std::uint64_t seed);

}  // namespace shira
