// The main function of the test programs. Beside GoogleTest's own flags it takes
// --test_file=<layer>/<name>_test.cpp, which runs the tests of that one file: ctest has an entry
// for each file, because starting a program that loads LibTorch costs more than most tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <string_view>

namespace {

/// A --gtest_filter of all tests defined in `file`; empty when there are none.
std::string filter_of_file(std::string_view file) {
  std::string filter;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const testing::TestInfo& test = *suite.GetTestInfo(t);
      if (!std::string_view(test.file()).ends_with(file)) continue;
      filter += std::string(suite.name()) + "." + test.name() + ":";
    }
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  constexpr std::string_view kFlag = "--test_file=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kFlag)) {
      std::cerr << "unknown argument " << argument << "\n";
      return 2;
    }
    const std::string filter = filter_of_file(argument.substr(kFlag.size()));
    if (filter.empty()) {
      std::cerr << "no tests in " << argument.substr(kFlag.size()) << "\n";
      return 2;
    }
    GTEST_FLAG_SET(filter, filter);
  }
  return RUN_ALL_TESTS();
}
