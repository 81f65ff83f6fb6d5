// Everything an application includes: models, adapters, switching, generation and training.
#pragma once

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/config/config_parser.h>
#include <shira/data/data_loader.h>
#include <shira/data/dataset.h>
#include <shira/data/tokenizer.h>
#include <shira/methods/full_training.h>
#include <shira/methods/hooked_shira.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/targets.h>
#include <shira/models/llama.h>
#include <shira/models/load_llama.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/gradient_mask.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/mask_file.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/evaluation.h>
#include <shira/tasks/generation.h>
#include <shira/tasks/training_run.h>
#include <shira/tasks/verify.h>
#include <shira/train/calibration.h>
#include <shira/train/trainer.h>
