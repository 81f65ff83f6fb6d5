// Captions, DreamBooth directories, and files that are damaged.
#include "data/picture_files.h"
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/data/image_dataset.h>

#include <gtest/gtest.h>

#include <algorithm>

namespace shira {
namespace {

class ImageDatasetTest : public testing::Test {
 protected:
  void metadata(const std::string& lines) { write_file(directory_ / "metadata.jsonl", lines); }
  std::vector<ImageSample> load(OnCorruptImage on_corrupt = OnCorruptImage::kError) {
    return load_captioned_images(directory_.path(), on_corrupt);
  }
  static std::vector<std::string> captions(const std::vector<ImageSample>& samples) {
    std::vector<std::string> texts;
    for (const ImageSample& sample : samples) texts.push_back(sample.caption);
    return texts;
  }

  TemporaryDirectory directory_;
};

using Texts = std::vector<std::string>;

TEST_F(ImageDatasetTest, MetadataGivesCaptionsInItsOrder) {
  write_picture(directory_ / "a.png", 5, 3);
  std::filesystem::create_directory(directory_ / "more");
  write_picture(directory_ / "more/b.png", 4, 8);
  metadata(
      "{\"file_name\": \"more/b.png\", \"caption\": \"below\"}\n"
      "{\"file_name\": \"a.png\", \"text\": \"one\"}\n"
      "{\"file_name\": \"./a.png\", \"prompt\": \"once more\"}\n");
  const auto samples = load();
  EXPECT_EQ(captions(samples), (Texts{"below", "one", "once more"}));
  EXPECT_EQ(std::pair(samples[0].width, samples[0].height), std::pair(4, 8));
  EXPECT_EQ(samples[1].file, directory_ / "a.png");
  EXPECT_EQ(samples[1].content, samples[2].content);
  EXPECT_NE(samples[0].content, samples[1].content);
}

TEST_F(ImageDatasetTest, TextFilesGiveCaptionsInOrderOfNames) {
  for (const char* name : {"b.png", "a.PNG"}) write_picture(directory_ / name, 5, 3);
  write_file(directory_ / "a.txt", "\xef\xbb\xbf first\n");
  write_file(directory_ / "b.txt", "sec\xc3\xb6nd\r\n");
  write_file(directory_ / "notes.md", "not a picture");
  EXPECT_EQ(captions(load()), (Texts{"first", "sec\xc3\xb6nd"}));
}

TEST_F(ImageDatasetTest, PicturesWithoutACaptionAreAllNamed) {
  for (const char* name : {"a.png", "b.png", "c.png"}) write_picture(directory_ / name, 5, 3);
  write_file(directory_ / "b.txt", "b");
  expect_error<IoError>([&] { load(); }, {"2 pictures have no caption", "\"a.png\"", "\"c.png\""});
  metadata("{\"file_name\": \"a.png\", \"text\": \"a\"}\n");
  expect_error<IoError>([&] { load(); }, {"2 pictures have no caption", "\"b.png\"", "\"c.png\""});
}

TEST_F(ImageDatasetTest, LinesThatNameNoPictureAreAllNamed) {
  write_picture(directory_ / "a.png", 5, 3);
  metadata(
      "{\"file_name\": \"../a.png\", \"text\": \"a\"}\n"
      "{\"file_name\": \"b.png\", \"text\": \"b\"}\n"
      "{\"file_name\": \"a.png\"}\n"
      "{\"file_name\": \"/a.png\", \"text\": \"a\"}\n");
  expect_error<IoError>([&] { load(); },
                        {"4 of 4", "record 1", "\"../a.png\" is not inside", "record 2",
                         "no file \"b.png\"", "record 3", "no 'text'", "record 4"});
}

TEST_F(ImageDatasetTest, DirectoryWithoutPicturesSaysWhatIsExpected) {
  expect_error<IoError>([&] { load(); }, {"holds no pictures", ".png"});
  expect_error<IoError>([&] { load_captioned_images(directory_ / "none", OnCorruptImage::kError); },
                        {"none", "No such file"});
}

TEST_F(ImageDatasetTest, DamagedPicturesAreAllNamedOrLeftOut) {
  for (const char* name : {"a.png", "b.png", "c.png"}) write_picture(directory_ / name, 5, 3);
  write_file(directory_ / "a.png", "no picture");
  write_file(directory_ / "c.png", read_file(directory_ / "b.png").substr(0, 40));
  const auto subject = [&](OnCorruptImage on_corrupt) {
    return load_images_of_subject(directory_.path(), "a sks dog", on_corrupt);
  };
  expect_error<IoError>([&] { subject(OnCorruptImage::kError); },
                        {"2 of 3", "a.png", "c.png", "on_corrupt_image: skip"});
  testing::internal::CaptureStderr();
  const auto samples = subject(OnCorruptImage::kSkip);
  const std::string warning = testing::internal::GetCapturedStderr();
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].file.filename(), "b.png");
  for (const char* word : {"2 of 3", "a.png", "c.png"}) {
    EXPECT_NE(warning.find(word), warning.npos) << word << " in: " << warning;
  }
  std::filesystem::remove(directory_ / "b.png");
  expect_error<IoError>([&] { subject(OnCorruptImage::kSkip); }, {"none of its pictures"});
}

TEST_F(ImageDatasetTest, SubjectAndClassHaveOneCaptionEach) {
  for (const char* name : {"a.png", "b.png", "c.png"}) write_picture(directory_ / name, 5, 3);
  const auto subject =
      load_images_of_subject(directory_.path(), "a sks dog", OnCorruptImage::kError);
  EXPECT_EQ(captions(subject), (Texts{"a sks dog", "a sks dog", "a sks dog"}));
  EXPECT_FALSE(subject[0].is_prior);
  const auto priors = load_prior_images(directory_.path(), "a dog", 2, OnCorruptImage::kError);
  EXPECT_EQ(captions(priors), (Texts{"a dog", "a dog"}));
  EXPECT_TRUE(priors[1].is_prior);
  EXPECT_EQ(priors[1].file.filename(), "b.png");
  EXPECT_EQ(count_image_files(directory_.path()), 3);
  EXPECT_EQ(count_image_files(directory_ / "none"), 0);
}

TEST_F(ImageDatasetTest, ValidationTakesInstancesAlone) {
  std::vector<ImageSample> samples(10);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].caption = std::to_string(i);
    samples[i].is_prior = i % 2 == 1;
    samples[i].content = i;
  }
  const auto [train, validation] = split_images(samples, 0.4, 3);
  ASSERT_EQ(validation.size(), 2u);
  EXPECT_EQ(train.size(), 8u);
  for (const ImageSample& sample : validation) EXPECT_FALSE(sample.is_prior);
  EXPECT_EQ(captions(validation), captions(split_images(samples, 2, 3).validation));
  expect_error<ConfigError>([&] { split_images(samples, 5, 3); }, {"val_set_size 5", "5 samples"});
}

TEST_F(ImageDatasetTest, APictureWithSeveralCaptionsIsOnOneSideOfTheSplit) {
  std::vector<ImageSample> samples(20);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i].content = i % 5;
  const auto [train, validation] = split_images(samples, 2, 0);
  EXPECT_EQ(validation.size(), 8u);  // of two pictures
  for (const ImageSample& held_out : validation) {
    EXPECT_EQ(std::ranges::count(train, held_out.content, &ImageSample::content), 0);
  }
}

TEST(OnCorruptImageTest, HasTwoNames) {
  EXPECT_EQ(parse_on_corrupt_image("skip"), OnCorruptImage::kSkip);
  EXPECT_EQ(parse_on_corrupt_image("error"), OnCorruptImage::kError);
  expect_error<ConfigError>([] { parse_on_corrupt_image("Skip"); }, {"Skip", "error or skip"});
}

}  // namespace
}  // namespace shira
