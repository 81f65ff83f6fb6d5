// Adapter files outlive this library: their checksum must stay the published algorithm.
#include <shira/io/checksum.h>

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace shira {
namespace {

std::uint64_t hash(std::string_view text) { return xxh3_64(text.data(), text.size()); }

// From Python's xxhash 4.1.0: xxhash.xxh3_64_intdigest(...).
TEST(ChecksumTest, AgreesWithThePublishedAlgorithm) {
  EXPECT_EQ(hash(""), 0x2d06800538d394c2u);
  EXPECT_EQ(hash("a"), 0xe6c632b61e964e1fu);
  EXPECT_EQ(hash("SHiRA"), 0x90b481be6e1301beu);
  EXPECT_EQ(hash(std::string(1000, 'x')), 0xc0a4877b962cba82u);
}

}  // namespace
}  // namespace shira
