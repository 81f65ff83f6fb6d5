// A maximum matching of rows with columns by Hopcroft and Karp ("An n^(5/2) algorithm for maximum
// matchings in bipartite graphs", SIAM J. Comput. 2(4), 1973), after a greedy start.
#include <shira/base/error.h>
#include <shira/kernels/structural_rank.h>

#include <algorithm>
#include <vector>

namespace shira {
namespace {

constexpr std::int64_t kNone = -1;

using Numbers = std::vector<std::int64_t>;

/// The chosen columns, and where each row's begin; one more at the end.
struct Pattern {
  Numbers columns;
  Numbers row_begin;
};

Pattern make_pattern(std::int64_t rows, std::int64_t columns,
                     std::span<const std::int32_t> indices) {
  SHIRA_CHECK(ShapeError, rows > 0 && columns > 0, "structural_rank: got a pattern of ", rows,
              " x ", columns, ", expected at least one row and column");
  Pattern pattern;
  pattern.columns.reserve(indices.size());
  pattern.row_begin.assign(static_cast<std::size_t>(rows) + 1, 0);
  std::int64_t previous = -1;
  for (const std::int64_t index : indices) {
    SHIRA_CHECK(ShapeError, index > previous && index / columns < rows, "structural_rank: got ",
                index, " after ", previous, ", expected sorted positions within ", rows, " x ",
                columns);
    previous = index;
    pattern.columns.push_back(index % columns);
    ++pattern.row_begin[static_cast<std::size_t>(index / columns) + 1];
  }
  for (std::size_t row = 1; row < pattern.row_begin.size(); ++row) {
    pattern.row_begin[row] += pattern.row_begin[row - 1];
  }
  return pattern;
}

/// Rows and columns joined in pairs; grows until no path from a free row to a free column is left.
class Matching {
 public:
  Matching(const Pattern& pattern, std::int64_t columns)
      : pattern_(pattern),
        rows_(static_cast<std::int64_t>(pattern.row_begin.size()) - 1),
        level_(static_cast<std::size_t>(rows_)),
        edge_of_(static_cast<std::size_t>(rows_), kNone),
        row_of_(static_cast<std::size_t>(columns), kNone),
        next_edge_(static_cast<std::size_t>(rows_)) {
    join_greedily();
  }

  /// A phase: joins along a largest set of shortest paths that share no row or column. False when
  /// there is no path.
  bool grow() {
    assign_levels();
    std::copy_n(pattern_.row_begin.begin(), rows_, next_edge_.begin());
    const std::int64_t before = size_;
    for (std::int64_t row = 0; row < rows_; ++row) {
      if (edge_of_[std::size_t(row)] == kNone) join_along_a_path(row);
    }
    return size_ > before;
  }

  std::int64_t size() const { return size_; }

 private:
  /// The row joined with an edge's column.
  std::int64_t& owner(std::int64_t edge) {
    return row_of_[std::size_t(pattern_.columns[std::size_t(edge)])];
  }
  std::int64_t begin(std::int64_t row) const { return pattern_.row_begin[std::size_t(row)]; }
  std::int64_t end(std::int64_t row) const { return pattern_.row_begin[std::size_t(row) + 1]; }

  void join(std::int64_t row, std::int64_t edge) {
    edge_of_[std::size_t(row)] = edge;
    owner(edge) = row;
  }

  void join_greedily() {
    for (std::int64_t row = 0; row < rows_; ++row) {
      std::int64_t edge = begin(row);
      while (edge < end(row) && owner(edge) != kNone) ++edge;
      if (edge == end(row)) continue;
      join(row, edge);
      ++size_;
    }
  }

  /// The distance of each row from the free ones, in pairs; kNone where no path leads.
  void assign_levels() {
    Numbers queue;
    for (std::int64_t row = 0; row < rows_; ++row) {
      const bool is_free = edge_of_[std::size_t(row)] == kNone;
      level_[std::size_t(row)] = is_free ? 0 : kNone;
      if (is_free) queue.push_back(row);
    }
    for (std::size_t head = 0; head < queue.size(); ++head) {
      const std::int64_t row = queue[head];
      for (std::int64_t edge = begin(row); edge < end(row); ++edge) {
        const std::int64_t next = owner(edge);
        if (next == kNone || level_[std::size_t(next)] != kNone) continue;
        level_[std::size_t(next)] = level_[std::size_t(row)] + 1;
        queue.push_back(next);
      }
    }
  }

  /// Depth first from a free row down the levels; next_edge_ remembers what was tried, so that a
  /// phase looks at each edge once.
  void join_along_a_path(std::int64_t start) {
    Numbers path{start};
    while (!path.empty()) {
      const std::int64_t row = path.back();
      std::int64_t& edge = next_edge_[std::size_t(row)];
      if (edge == end(row)) {
        path.pop_back();
        if (!path.empty()) ++next_edge_[std::size_t(path.back())];
      } else if (owner(edge) == kNone) {
        for (const std::int64_t step : path) join(step, next_edge_[std::size_t(step)]);
        ++size_;
        return;
      } else if (level_[std::size_t(owner(edge))] == level_[std::size_t(row)] + 1) {
        path.push_back(owner(edge));
      } else {
        ++edge;
      }
    }
  }

  const Pattern& pattern_;
  std::int64_t rows_;
  std::int64_t size_ = 0;
  Numbers level_;      // of each row
  Numbers edge_of_;    // each row's joined edge, or kNone
  Numbers row_of_;     // each column's joined row, or kNone
  Numbers next_edge_;  // of each row: where the phase's search goes on
};

}  // namespace

std::int64_t structural_rank(std::int64_t rows, std::int64_t columns,
                             std::span<const std::int32_t> indices) {
  const Pattern pattern = make_pattern(rows, columns, indices);
  Matching matching(pattern, columns);
  while (matching.grow()) continue;
  return matching.size();
}

}  // namespace shira
