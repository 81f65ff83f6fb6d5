// One producer, one consumer, one bounded queue. A restart is counted, so that the thread can tell
// that the batch it was making meanwhile is no longer wanted.
#include <shira/base/error.h>
#include <shira/data/batch_reader.h>

#include <utility>

namespace shira {

BatchReader::BatchReader(BatchSource& source, std::int64_t depth)
    : source_(source), depth_(static_cast<std::size_t>(depth)) {
  SHIRA_CHECK(ConfigError, depth >= 1, "[BatchReader] got depth ", depth, ", expected 1 or more.");
  thread_ = std::thread([this] { run(); });
}

BatchReader::~BatchReader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  has_work_.notify_one();
  thread_.join();
}

std::int64_t BatchReader::batches_in_epoch(std::int64_t epoch) {
  const std::lock_guard lock(source_mutex_);
  return source_.batches_in_epoch(epoch);
}

BatchReader::Made BatchReader::make(Position position) {
  const auto [epoch, number] = position;
  const std::lock_guard lock(source_mutex_);
  try {
    Batch batch = source_.batch(epoch, number);
    const bool is_last = number + 1 == source_.batches_in_epoch(epoch);
    return {std::move(batch), is_last ? Position{epoch + 1, 0} : Position{epoch, number + 1}, {}};
  } catch (...) {
    return {{}, std::nullopt, std::current_exception()};
  }
}

void BatchReader::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    has_work_.wait(lock, [this] { return stop_ || (!is_idle_ && made_.size() < depth_); });
    if (stop_) return;
    const std::int64_t restarts = restarts_;
    const Position position = to_make_;
    lock.unlock();
    Made made = make(position);
    lock.lock();
    if (restarts != restarts_) continue;
    is_idle_ = !made.next;
    if (made.next) to_make_ = *made.next;
    made_.push_back(std::move(made));
    made_one_.notify_one();
  }
}

void BatchReader::restart_at(Position position) {
  ++restarts_;
  made_.clear();
  due_ = position;
  to_make_ = position;
  is_idle_ = false;
  has_work_.notify_one();
}

Batch BatchReader::batch(std::int64_t epoch, std::int64_t number) {
  const Position position{epoch, number};
  std::unique_lock lock(mutex_);
  if (position != due_) restart_at(position);
  made_one_.wait(lock, [this] { return !made_.empty(); });
  Made made = std::move(made_.front());
  made_.pop_front();
  due_ = made.next;
  lock.unlock();
  has_work_.notify_one();
  if (made.error) std::rethrow_exception(made.error);
  return std::move(made.batch);
}

}  // namespace shira
