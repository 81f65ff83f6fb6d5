// Errors. Every message says where, what is wrong, what was found, what was expected and what the
// user can do; the type says whose mistake it was.
#pragma once

#include <shira/base/export.h>

#include <sstream>
#include <stdexcept>
#include <string>

namespace shira {

/// Anything that went wrong and that the caller can act on.
class SHIRA_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A configuration, a flag or an option that cannot be used.
class SHIRA_API ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file or directory that is missing, damaged, of another format, or cannot be written.
class SHIRA_API IoError : public Error {
 public:
  using Error::Error;
};

/// Tensors whose shapes, dtypes or values do not fit together.
class SHIRA_API ShapeError : public Error {
 public:
  using Error::Error;
};

namespace detail {

/// Joins its arguments with operator<<.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace detail
}  // namespace shira

/// Throws `type` with the concatenated message parts unless `condition` holds.
#define SHIRA_CHECK(type, condition, ...)                        \
  do {                                                           \
    if (!(condition)) {                                          \
      throw ::shira::type(::shira::detail::concat(__VA_ARGS__)); \
    }                                                            \
  } while (false)
