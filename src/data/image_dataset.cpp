// Captions are looked for first: that is quick, and decoding every file is not.
#include "held_out.h"
#include "io/quote.h"
#include "records.h"
#include "text/utf8.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/data/image_dataset.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checksum.h>
#include <shira/io/image_file.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <system_error>

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMetadata = "metadata.jsonl";
constexpr std::string_view kExpectedLine = "{\"file_name\": ..., \"text\": ...}";

/// By its extension; hidden files (macOS's ._a.png) are none.
bool has_image_name(const fs::path& file) {
  if (file.filename().string().starts_with('.')) return false;
  static constexpr std::array<std::string_view, 4> kExtensions = {".png", ".jpg", ".jpeg", ".webp"};
  std::string extension = file.extension().string();
  std::ranges::transform(extension, extension.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  });
  return std::ranges::find(kExtensions, extension) != kExtensions.end();
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Sorted by name.
std::vector<fs::path> image_files(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> files;
  fs::directory_iterator entry(directory, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (has_image_name(entry->path()) && entry->is_regular_file(ignored)) {
      files.push_back(entry->path());
    }
  }
  SHIRA_CHECK(IoError, !error, directory.string(),
              ": cannot be read as a directory of pictures: ", error.message(), ".");
  std::ranges::sort(files);
  return files;
}

/// Pictures one level deeper are easily taken to be part of the data; `named`: those that are.
void warn_of_subdirectories(const fs::path& directory, const std::set<fs::path>& named = {}) {
  std::string unread;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (!entry.is_directory(ignored)) continue;
    const std::vector<fs::path> files = image_files(entry.path());
    const bool is_known = std::ranges::any_of(
        files, [&](const fs::path& file) { return named.contains(file.lexically_normal()); });
    if (files.empty() || is_known) continue;
    unread += detail::concat("\n  ", detail::quote(entry.path().filename().string()), ": ",
                             files.size(), " pictures");
  }
  if (unread.empty()) return;
  log_warning(directory.string() + ": its subdirectories are not read. Move the pictures up" +
              " or name them in metadata.jsonl:" + unread);
}

/// Like image_files; IoError when there are none.
std::vector<fs::path> some_image_files(const fs::path& directory) {
  std::vector<fs::path> files = image_files(directory);
  SHIRA_CHECK(IoError, !files.empty(), directory.string(),
              ": holds no pictures. Expected .png, .jpg, .jpeg or .webp files in the directory "
              "itself.");
  return files;
}

// --- Captions -----------------------------------------------------------------------------------

/// IoError with the names, unless there are none.
void check_all_captioned(const std::vector<fs::path>& without, const fs::path& directory,
                         std::string_view expected) {
  std::string names;
  for (const fs::path& file : without) names += "\n  " + detail::quote(file.filename().string());
  SHIRA_CHECK(IoError, without.empty(), directory.string(), ": ", without.size(),
              " pictures have no caption. Expected ", expected, ":", names);
}

std::string caption_in(const nlohmann::json& record) {
  for (const char* key : {"text", "caption", "prompt"}) {
    if (record.contains(key)) return text_field(record, key, kExpectedLine);
  }
  return text_field(record, "text", kExpectedLine);  // which says that it is missing
}

/// The file that a record names, inside the directory.
fs::path file_in(const nlohmann::json& record, const fs::path& directory) {
  const std::string text = text_field(record, "file_name", kExpectedLine);
  const fs::path name = fs::path(text).lexically_normal();
  SHIRA_CHECK(IoError, !text.empty() && name.is_relative() && *name.begin() != "..", "file_name ",
              detail::quote(text), " is not inside the directory.");
  std::error_code ignored;
  SHIRA_CHECK(IoError, fs::is_regular_file(directory / name, ignored), "there is no file ",
              detail::quote(text), ".");
  return directory / name;
}

std::vector<ImageSample> samples_of_metadata(const fs::path& directory,
                                             std::vector<fs::path> files) {
  const RecordFile records(directory / kMetadata);
  std::vector<ImageSample> samples(records.size());
  records.for_each([&](std::size_t i, const nlohmann::json& record) {
    samples[i] = {.file = file_in(record, directory), .caption = caption_in(record)};
  });
  std::set<fs::path> named;
  for (const ImageSample& sample : samples) named.insert(sample.file.lexically_normal());
  warn_of_subdirectories(directory, named);
  std::erase_if(files,
                [&](const fs::path& file) { return named.contains(file.lexically_normal()); });
  check_all_captioned(files, directory, "a line for each in its metadata.jsonl");
  SHIRA_CHECK(IoError, !samples.empty(), (directory / kMetadata).string(),
              ": names no pictures. Expected lines like ", kExpectedLine, ".");
  return samples;
}

/// Without blanks around it and without a byte order mark, which Windows' editors write.
std::string trimmed(const std::string& text) {
  constexpr const char* kBlanksOfText = " \t\r\n";
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  const std::size_t start = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  const std::size_t begin = text.find_first_not_of(kBlanksOfText, start);
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanksOfText) + 1 - begin);
}

std::vector<ImageSample> samples_of_texts(const fs::path& directory,
                                          const std::vector<fs::path>& files) {
  std::vector<ImageSample> samples;
  std::vector<fs::path> without;
  for (const fs::path& file : files) {
    fs::path text = file;
    text.replace_extension(".txt");
    if (!is_there(text)) {
      without.push_back(file);
      continue;
    }
    samples.push_back({.file = file, .caption = trimmed(read_utf8_file(text))});
  }
  warn_of_subdirectories(directory);
  check_all_captioned(without, directory,
                      "a metadata.jsonl, or a .txt file of the same name beside each");
  return samples;
}

// --- Files --------------------------------------------------------------------------------------

void read_size_and_content(ImageSample& sample) {
  const std::string bytes = read_file(sample.file);
  sample.content = xxh3_64(bytes.data(), bytes.size());
  try {
    const Picture picture = decode_image(bytes);
    sample.width = picture.width;
    sample.height = picture.height;
  } catch (const IoError& error) {
    throw IoError(detail::concat(sample.file.string(), ": ", error.what()));
  }
}

/// What is wrong with each sample's file; empty where nothing is.
std::vector<std::string> read_files(std::vector<ImageSample>& samples) {
  std::vector<std::string> problems(samples.size());
  at::parallel_for(0, std::ssize(samples), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      try {
        read_size_and_content(samples[i]);
      } catch (const IoError& error) {
        problems[i] = error.what();
      }
    }
  });
  return problems;
}

/// A message that names all files with a problem; empty when there are none.
std::string list_problems(const std::vector<std::string>& problems, const fs::path& directory,
                          std::string_view what_then) {
  const auto count =
      static_cast<std::ptrdiff_t>(problems.size()) - std::ranges::count(problems, std::string());
  if (count == 0) return "";
  std::string list = detail::concat(directory.string(), ": ", count, " of ", problems.size(),
                                    " pictures cannot be read", what_then, ":");
  for (const std::string& problem : problems) {
    if (!problem.empty()) list += "\n  " + problem;
  }
  return list;
}

/// The samples with what their files say, without those that cannot be read.
std::vector<ImageSample> with_files(std::vector<ImageSample> samples, const fs::path& directory,
                                    OnCorruptImage on_corrupt) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> problems = read_files(samples);
  const bool skip = on_corrupt == OnCorruptImage::kSkip;
  const std::string list =
      list_problems(problems, directory,
                    skip ? " and are left out" : " (on_corrupt_image: skip leaves them out)");
  SHIRA_CHECK(IoError, skip || list.empty(), list);
  if (!list.empty()) log_warning(list);
  std::vector<ImageSample> readable;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (problems[i].empty()) readable.push_back(std::move(samples[i]));
  }
  SHIRA_CHECK(IoError, !readable.empty(), directory.string(),
              ": none of its pictures can be read.");
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (taken.count() > 2.0) {
    log_info(detail::concat(directory.string(), ": ", readable.size(), " pictures checked in ",
                            static_cast<int>(taken.count()), " s"));
  }
  return readable;
}

std::vector<ImageSample> with_one_caption(const std::vector<fs::path>& files,
                                          const std::string& prompt, bool is_prior) {
  std::vector<ImageSample> samples;
  for (const fs::path& file : files) {
    samples.push_back({.file = file, .caption = prompt, .is_prior = is_prior});
  }
  return samples;
}

}  // namespace

OnCorruptImage parse_on_corrupt_image(const std::string& text) {
  if (text == "error") return OnCorruptImage::kError;
  if (text == "skip") return OnCorruptImage::kSkip;
  throw ConfigError("on_corrupt_image: got '" + text + "', expected error or skip.");
}

std::vector<ImageSample> load_captioned_images(const fs::path& directory,
                                               OnCorruptImage on_corrupt) {
  std::vector<ImageSample> samples = is_there(directory / kMetadata)
                                         ? samples_of_metadata(directory, image_files(directory))
                                         : samples_of_texts(directory, some_image_files(directory));
  return with_files(std::move(samples), directory, on_corrupt);
}

std::vector<ImageSample> load_images_of_subject(const fs::path& directory,
                                                const std::string& prompt,
                                                OnCorruptImage on_corrupt) {
  return with_files(with_one_caption(some_image_files(directory), prompt, false), directory,
                    on_corrupt);
}

std::vector<ImageSample> load_prior_images(const fs::path& directory, const std::string& prompt,
                                           std::int64_t limit, OnCorruptImage on_corrupt) {
  SHIRA_CHECK(ConfigError, limit >= 1, "num_class_images: got ", limit, ", expected 1 or more.");
  SHIRA_CHECK(ConfigError, count_image_files(directory) > 0, "class_data_dir ", directory.string(),
              ": holds no pictures yet. `shira train` makes them.");
  std::vector<fs::path> files = some_image_files(directory);
  if (std::ssize(files) > limit) files.resize(static_cast<std::size_t>(limit));
  return with_files(with_one_caption(files, prompt, true), directory, on_corrupt);
}

std::int64_t count_image_files(const fs::path& directory) {
  return is_there(directory) ? std::ssize(image_files(directory)) : 0;
}

ImageSplit split_images(std::vector<ImageSample> samples, double val_set_size, std::uint64_t seed) {
  std::map<std::uint64_t, std::size_t> pictures;  // numbered in their order
  for (const ImageSample& sample : samples) {
    if (!sample.is_prior) pictures.try_emplace(sample.content, pictures.size());
  }
  const auto is_held_out = choose_held_out(std::ssize(pictures), val_set_size, seed);
  ImageSplit split;
  for (ImageSample& sample : samples) {
    const bool is_for_validation = !sample.is_prior && is_held_out[pictures.at(sample.content)];
    (is_for_validation ? split.validation : split.train).push_back(std::move(sample));
  }
  return split;
}

}  // namespace shira
