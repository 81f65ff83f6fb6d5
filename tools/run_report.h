// What `shira train` says about a run: before it (--dry_run) and after it.
#pragma once

#include <shira/config/run_config.h>
#include <shira/tasks/training_run.h>
#include <shira/train/trainer.h>

#include <string>

namespace shira::tools {

/// Targets, counts, a memory estimate and the first batch as text; nothing is trained or written.
void print_dry_run(const RunConfig& config, bool json);

/// Speed, memory, losses, files and the next command to try. `config_file` is for --resume.
void print_summary(const RunConfig& config, const RunMethod& method, const TrainResult& result,
                   const std::string& config_file);
void print_summary_json(const RunConfig& config, const RunMethod& method,
                        const TrainResult& result);

}  // namespace shira::tools
