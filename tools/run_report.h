// What `shira train` says about a run: before it (--dry_run) and after it.
#pragma once

#include <shira/config/run_config.h>
#include <shira/tasks/training_run.h>
#include <shira/train/trainer.h>

namespace shira::tools {

/// Targets, counts, a memory estimate and the first batch as text; nothing is trained or written.
void print_dry_run(const RunConfig& config, bool json);

/// Speed, memory, losses, files and the next command to try.
void print_summary(const RunConfig& config, const RunMethod& method, const TrainResult& result);
void print_summary_json(const RunConfig& config, const RunMethod& method,
                        const TrainResult& result);

}  // namespace shira::tools
