// Batches made ahead of time, so that a training step never waits for one.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

namespace shira {

/// The source's batches, bit for bit, made by a thread that runs ahead of the one who asks: after
/// (epoch, number) it makes the rest of that epoch and then the next one, `depth` batches at most.
/// Nobody else may use the source meanwhile.
class SHIRA_API BatchReader {
 public:
  explicit BatchReader(BatchSource& source, std::int64_t depth = 4);
  /// Waits for the batch that is being made, if any.
  ~BatchReader();
  BatchReader(const BatchReader&) = delete;
  BatchReader& operator=(const BatchReader&) = delete;

  /// Any position can be asked for; another one than the next throws away what was made ahead. What
  /// the source throws is thrown here, when that batch is asked for.
  Batch batch(std::int64_t epoch, std::int64_t number);
  std::int64_t batches_in_epoch(std::int64_t epoch);

 private:
  struct Position {
    std::int64_t epoch = 0;
    std::int64_t number = 0;
    bool operator==(const Position&) const = default;
  };
  struct Made {
    Batch batch;
    std::optional<Position> next;  // what follows; nothing after an error
    std::exception_ptr error;
  };

  Made make(Position position);
  void restart_at(Position position);
  void run();

  std::mutex source_mutex_;  // taken alone
  BatchSource& source_;

  std::mutex mutex_;  // all that follows
  std::condition_variable made_one_;
  std::condition_variable has_work_;
  const std::size_t depth_;
  std::deque<Made> made_;
  std::optional<Position> due_;  // what made_ begins, or will begin, with
  Position to_make_;
  std::int64_t restarts_ = 0;
  bool is_idle_ = true;  // until somebody asks, and after an error
  bool stop_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace shira
