// The held text is searched anew with each piece: it is no longer than a piece and a stop text.
#include "stop_filter.h"

#include <algorithm>

namespace shira {

void StopFilter::push(const std::string& piece) {
  if (stopped_) return;
  held_ += piece;
  const std::size_t first = first_stop();
  stopped_ = first != std::string::npos;
  if (stopped_) held_.resize(first);
  flush(stopped_ ? held_.size() : held_.size() - open_suffix());
}

void StopFilter::finish(const std::string& last_piece) {
  push(last_piece);
  flush(held_.size());
}

std::size_t StopFilter::first_stop() const {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    if (!stop.empty()) first = std::min(first, held_.find(stop));
  }
  return first;
}

/// The length of the longest end of the held text that a stop text begins with.
std::size_t StopFilter::open_suffix() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t size = std::min(stop.size(), held_.size()); size > longest; --size) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, size))) longest = size;
    }
  }
  return longest;
}

void StopFilter::flush(std::size_t size) {
  if (size == 0) return;
  if (sink_) sink_(std::string_view(held_).substr(0, size));
  text_.append(held_, 0, size);
  held_.erase(0, size);
}

}  // namespace shira
