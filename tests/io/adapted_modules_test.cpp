// Which component of a pipeline an adapter is for, from the names of its modules alone.
#include "io/adapted_modules.h"

#include "expect_error.h"

#include <shira/base/error.h>

#include <gtest/gtest.h>

namespace shira::detail {
namespace {

const ParameterShapes kPipeline = {{"unet.conv_in.weight", {4, 2, 3, 3}},
                                   {"unet.to_q.weight", {4, 4}},
                                   {"text_encoder.encoder.q.weight", {4, 4}},
                                   {"text_encoder_2.text_model.encoder.q.weight", {6, 6}}};

TEST(PipelineComponent, IsWhatTheNameBeginsWith) {
  EXPECT_EQ(pipeline_component("unet.conv_in.weight"), "unet");
  EXPECT_EQ(pipeline_component("text_encoder_2.x"), "text_encoder_2");
  for (const char* name : {"unet", "model.layers.0", "unets.x", "text_encoder_3.x", ""}) {
    EXPECT_EQ(pipeline_component(name), "") << name;
  }
}

TEST(FindModules, AddsTheComponentThatHasThemAll) {
  const BaseModules found = find_modules({{"conv_in"}, {"to_q"}}, kPipeline, "style");
  EXPECT_EQ(found.component, "unet");
  EXPECT_EQ(found.names.at("to_q"), "unet.to_q");
  const BaseModules own = find_modules({{"unet.to_q"}}, kPipeline, "style");
  EXPECT_EQ(own.component, "");
  EXPECT_EQ(own.names.at("unet.to_q"), "unet.to_q");
}

TEST(FindModules, ListsWhatTheClosestComponentLacks) {
  expect_error<IoError>(
      [] { find_modules({{"conv_in"}, {"to_q", {9, 9}}, {"x"}}, kPipeline, "style"); },
      {"\"x\": the base has no", "\"to_q\": is for a weight of (9, 9), the base's is (4, 4)"});
}

TEST(FindModules, KeepsTheNamesWhereTheBaseIsNoPipeline) {
  const BaseModules found = find_modules({{"a"}, {"b"}}, {{"a.weight", {4, 4}}}, "style");
  EXPECT_EQ(found.component, "");
  EXPECT_EQ(found.names.at("b"), "b");
}

TEST(FindModules, TakesTextModelForGranted) {
  const BaseModules first = find_modules({{"text_model.encoder.q", {4, 4}}}, kPipeline, "style");
  EXPECT_EQ(first.names.at("text_model.encoder.q"), "text_encoder.encoder.q");
  const BaseModules second = find_modules({{"encoder.q", {6, 6}}}, kPipeline, "style");
  EXPECT_EQ(second.names.at("encoder.q"), "text_encoder_2.text_model.encoder.q");
}

TEST(FindModules, AsksForTheDirectorysNameWhereSeveralFit) {
  expect_error<IoError>([] { find_modules({{"encoder.q"}}, kPipeline, "a/style"); },
                        {"\"text_encoder\" and \"text_encoder_2\"", "the name of the component"});
  EXPECT_EQ(find_modules({{"encoder.q"}}, kPipeline, "a/text_encoder_2/").component,
            "text_encoder_2");
}

}  // namespace
}  // namespace shira::detail
