// Records of a JSON list or of JSONL: which ones there are, and what is said about broken ones.
#include "data/dataset_file.h"
#include "io/expect_error.h"

#include <shira/base/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shira {
namespace {

using testing::HasSubstr;
using testing::Not;

class RecordsTest : public DatasetFileTest {
 protected:
  /// The texts of a completion data set.
  std::vector<std::string> texts(const std::string& content) {
    std::vector<std::string> texts;
    for (const Sample& sample : load("completion", content)) {
      texts.push_back(tokenizer_.decode(sample.ids));
    }
    return texts;
  }

  std::string error_of(const std::string& content) {
    try {
      load("completion", content);
    } catch (const IoError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(RecordsTest, AListAndLinesGiveTheSameRecordsInOrder) {
  const std::vector<std::string> expected = {"a [1], {\"b\"}", "c \\", "d"};
  EXPECT_EQ(texts("\xEF\xBB\xBF [ {\"text\": \"a [1], {\\\"b\\\"}\", \"n\": [[1, {}], \"]\"]},\n"
                  "{\"text\": \"c \\\\\"} ,{\"text\": \"d\"}\n]\n"),
            expected);
  EXPECT_EQ(texts("{\"text\": \"a [1], {\\\"b\\\"}\"}\r\n\n  {\"text\": \"c \\\\\"}\n"
                  "{\"text\": \"d\"}"),
            expected);
}

TEST_F(RecordsTest, ManyRecordsKeepTheirOrder) {
  std::string lines;
  std::vector<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    expected.push_back("number " + std::to_string(i));
    lines += R"({"text": ")" + expected.back() + "\"}\n";
  }
  EXPECT_EQ(texts(lines), expected);
}

TEST_F(RecordsTest, EveryBrokenRecordIsNamedByLineAndNumber) {
  const std::string error = error_of(
      "{\"text\": \"good\"}\n\n{\"text\": }\n[1]\n  {\"test\": 1}\n"
      "{\"text\": 7}\n{\"text\": 1e999}\n");
  EXPECT_THAT(error, HasSubstr("data: 5 of 6 records cannot be used:"));
  EXPECT_THAT(error, HasSubstr("data:3:10: record 2: not valid JSON"));
  EXPECT_THAT(error, HasSubstr("data:4:1: record 3: expected a JSON object, got array."));
  EXPECT_THAT(error, HasSubstr("data:5:3: record 4: no 'text'."));
  EXPECT_THAT(error, HasSubstr("data:6:1: record 5: 'text' is not a text."));
  EXPECT_THAT(error, HasSubstr("data:7:1: record 6: not valid JSON"));
}

TEST_F(RecordsTest, BrokenElementsOfAListHaveTheirLinesToo) {
  const std::string error = error_of(
      "[\n {\"text\": \"good\"},\n\n {\n  \"test\": 1},\n {\"text\" 1},\n"
      " 5, ]");
  EXPECT_THAT(error, HasSubstr("4 of 5 records"));
  EXPECT_THAT(error, HasSubstr("data:4:2: record 2: no 'text'."));
  EXPECT_THAT(error, HasSubstr("data:6:10: record 3: not valid JSON"));
  EXPECT_THAT(error, HasSubstr("data:7:2: record 4: expected a JSON object, got number."));
  EXPECT_THAT(error, HasSubstr("record 5: not valid JSON"));
}

TEST_F(RecordsTest, TheFirstTwentyProblemsAreListedAndTheOthersCounted) {
  std::string lines;
  for (int i = 0; i < 51; ++i) lines += "{}\n";
  const std::string error = error_of(lines);
  EXPECT_THAT(error, HasSubstr("51 of 51 records"));
  EXPECT_THAT(error, HasSubstr("record 20:"));
  EXPECT_THAT(error, Not(HasSubstr("record 21:")));
  EXPECT_THAT(error, HasSubstr("and 31 more"));
}

TEST_F(RecordsTest, AListThatDoesNotCloseIsNamedWhereItBreaks) {
  EXPECT_THAT(error_of("[{\"text\": \"a\"},\n{\"text\": \"b\"}\n"),
              HasSubstr("data:3:1: not valid"));
  EXPECT_THAT(error_of("[{\"text\": \"a},\n {\"text\": \"b\"}]"),
              HasSubstr("data:1:15: not valid"));
  EXPECT_THAT(error_of("[{\"text\": \"a\"}]\n]"), HasSubstr("data:2:1: not valid"));
  EXPECT_THAT(error_of("["), HasSubstr("not valid"));
}

TEST_F(RecordsTest, AFileWithoutRecordsIsRefused) {
  for (const char* empty : {"", " \n\n", "[]", "[ \n]"}) {
    EXPECT_THAT(error_of(empty), HasSubstr("no usable sample")) << empty;
  }
}

TEST_F(RecordsTest, RecordsThatAreNotUtf8AreRefused) {
  EXPECT_THAT(error_of("{\"text\": \"a\"}\n{\"text\": \"\xFF\"}"),
              HasSubstr("data:2:11: not UTF-8"));
}

}  // namespace
}  // namespace shira
