#include "io/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace shira::detail {
namespace {

// RFC 3720, appendix B.4; it prints the bytes in the order of the wire, lowest first.
TEST(Crc32cTest, GivesTheValuesOfRfc3720) {
  std::string rising;
  for (char i = 0; i < 32; ++i) rising += i;
  const std::string read_command(
      "\x01\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\x04\0\0\0\0\x14\0\0\0\x18\x28\0\0\0\0\0\0"
      "\0"
      "\x02\0\0\0\0\0\0\0",
      48);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(std::string(rising.rbegin(), rising.rend())), 0x113fdb5cu);
  EXPECT_EQ(crc32c(read_command), 0xd9963a56u);
  EXPECT_EQ(crc32c(""), 0u);
}

}  // namespace
}  // namespace shira::detail
