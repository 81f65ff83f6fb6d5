// Online best fit (Johnson, Demers, Ullman, Garey, Graham, "Worst-case performance bounds for
// simple one-dimensional packing algorithms", SIAM J. Comput. 3(4), 1974).
#include "packing.h"

#include <cstddef>
#include <map>

namespace shira {

std::vector<std::vector<std::int64_t>> pack_best_fit(const std::vector<std::int64_t>& lengths,
                                                     std::int64_t capacity) {
  std::vector<std::vector<std::int64_t>> sequences;
  std::multimap<std::int64_t, std::size_t> open;  // room left -> sequence, the oldest first
  for (std::int64_t item = 0; item < std::ssize(lengths); ++item) {
    const auto best = open.lower_bound(lengths[item]);
    const bool fits = best != open.end();
    const std::int64_t room = (fits ? best->first : capacity) - lengths[item];
    const std::size_t sequence = fits ? best->second : sequences.size();
    if (fits) {
      open.erase(best);
    } else {
      sequences.emplace_back();
    }
    sequences[sequence].push_back(item);
    if (room > 0) open.emplace(room, sequence);
  }
  return sequences;
}

}  // namespace shira
