// Pages of 2 MB instead of 4 KB for memory that is about to be written for the first time: a page
// fault for each 4 KB takes longer than what is then written there.
#pragma once

#include <cstddef>

namespace shira::detail {

/// Asks for large pages where the system has them for those who ask; else does nothing.
void want_large_pages(void* memory, std::size_t size) noexcept;

}  // namespace shira::detail
