// A data set in a temporary file, loaded with the tokenizer of the embedded base.
#pragma once

#include "io/temporary_directory.h"
#include "text/asset_tokenizer.h"

#include <shira/data/dataset.h>
#include <shira/io/atomic_file.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shira {

class DatasetFileTest : public testing::Test {
 protected:
  /// What load_dataset makes of a file "data" with this content.
  std::vector<Sample> load(const std::string& type, const std::string& content,
                           const DatasetOptions& options = {}) {
    write_file(directory_ / "data", content);
    return load_dataset(type, directory_ / "data", tokenizer_, options);
  }

  /// The labels that carry loss.
  static TokenIds learnt(const Sample& sample) {
    TokenIds ids = sample.labels;
    std::erase(ids, kIgnoreLabel);
    return ids;
  }

  TemporaryDirectory directory_;
  Tokenizer tokenizer_ = asset_tokenizer();
};

}  // namespace shira
