// Errors are part of the interface: tests name the words that a user must find in them.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace shira {

/// Expects `action` to throw `Type` with a message that contains every one of `words`.
template <typename Type, typename Action>
void expect_error(Action action, std::initializer_list<std::string_view> words) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Type& error) {
    for (const std::string_view word : words) {
      EXPECT_NE(std::string_view(error.what()).find(word), std::string_view::npos)
          << "no '" << word << "' in: " << error.what();
    }
  }
}

}  // namespace shira
