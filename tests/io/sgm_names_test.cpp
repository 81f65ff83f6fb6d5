// Stability's names of a UNet whose blocks differ, against those of its own code's block lists.
#include "io/sgm_names.h"

#include <gtest/gtest.h>

namespace shira::detail {
namespace {

using Names = std::map<std::string, std::string>;

TEST(SgmNames, AreThoseOfTheWholeUnet) {
  // Two resnets in the first block, one in the second, which has attention and no downsampler.
  const Names expected = {
      {"conv_in", "input_blocks.0.0"},
      {"conv_out", "out.2"},
      {"time_embedding.linear_1", "time_embed.0"},
      {"time_embedding.linear_2", "time_embed.2"},
      {"add_embedding.linear_1", "label_emb.0.0"},
      {"add_embedding.linear_2", "label_emb.0.2"},
      {"down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"},
      {"down_blocks.0.resnets.1.conv2", "input_blocks.2.0.out_layers.3"},
      {"down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"},
      {"down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection"},
      {"down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"},
      {"mid_block.resnets.0.time_emb_proj", "middle_block.0.emb_layers.1"},
      {"mid_block.attentions.0.transformer_blocks.9.attn1.to_out.0",
       "middle_block.1.transformer_blocks.9.attn1.to_out.0"},
      {"mid_block.resnets.1.conv1", "middle_block.2.in_layers.2"},
      {"up_blocks.0.resnets.0.conv1", "output_blocks.0.0.in_layers.2"},
      {"up_blocks.0.resnets.1.conv1", "output_blocks.1.0.in_layers.2"},
      {"up_blocks.0.attentions.1.proj_out", "output_blocks.1.1.proj_out"},
      {"up_blocks.0.upsamplers.0.conv", "output_blocks.1.2.conv"},
      {"up_blocks.1.resnets.0.conv1", "output_blocks.2.0.in_layers.2"},
      {"up_blocks.1.resnets.1.conv1", "output_blocks.3.0.in_layers.2"},
      {"up_blocks.1.resnets.2.conv1", "output_blocks.4.0.in_layers.2"},
      {"up_blocks.1.upsamplers.0.conv", "output_blocks.4.1.conv"}};
  std::vector<std::string> modules;
  for (const auto& [name, sgm] : expected) modules.push_back(name);
  EXPECT_EQ(sgm_names(modules), expected);
}

TEST(SgmNames, LeavesOutWhatIsNoBlock) {
  EXPECT_EQ(sgm_names({"fc", "down_blocks", "down_blocks.x.resnets.0.conv1", "up_blocks.0.norm",
                       "down_blocks.99999999999.resnets.0.conv1"}),
            Names());
}

}  // namespace
}  // namespace shira::detail
