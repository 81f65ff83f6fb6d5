// Ends a text before the first of its stop texts.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// Passes text on until a stop text appears in it; what might be the beginning of one is held back.
class StopFilter {
 public:
  /// Both must outlive this; an empty `sink` is not called.
  StopFilter(const std::vector<std::string>& stops,
             const std::function<void(std::string_view)>& sink)
      : stops_(stops), sink_(sink) {}

  void push(const std::string& piece);
  void finish(const std::string& last_piece);

  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }

 private:
  std::size_t first_stop() const;
  std::size_t open_suffix() const;
  void flush(std::size_t size);

  const std::vector<std::string>& stops_;
  const std::function<void(std::string_view)>& sink_;
  std::string held_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace shira
