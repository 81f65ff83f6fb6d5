// The top 1 % of a weight by magnitude: top_k_band against at::topk on the same values. at::topk
// gets the magnitudes ready-made. Both run in turn, so that a busy machine slows both.
//
// usage: benchmark_top_k [RUNS]; OMP_NUM_THREADS sets the threads
#include "timing.h"

#include <shira/kernels/top_k.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/types.h>

namespace {

using shira::benchmarks::milliseconds;
using shira::benchmarks::Timings;

std::vector<std::int32_t> ours(const torch::Tensor& weight, std::int64_t count) {
  return shira::top_k_band(weight.const_data_ptr(), shira::to_dtype(weight.scalar_type()),
                           weight.numel(), 0, count);
}

void compare(std::int64_t columns, torch::ScalarType dtype, int runs) {
  const torch::Tensor weight = at::randn({4096, columns}).to(dtype);
  const torch::Tensor scores = weight.abs().view({-1});
  const std::int64_t count = weight.numel() / 100;
  Timings mine;
  Timings peer;
  ours(weight, count);  // a first run pays for the threads' start
  for (int run = 0; run < runs; ++run) {
    mine.runs.push_back(milliseconds([&] { ours(weight, count); }));
    peer.runs.push_back(milliseconds(
        [&] { at::topk(scores, count, /*dim=*/0, /*largest=*/true, /*sorted=*/false); }));
  }
  std::cout << "4096 x " << columns << " " << dtype << ": top_k_band " << mine.text()
            << ", at::topk " << peer.text() << ", ratio " << peer.median() / mine.median() << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::stoi(argv[1]) : 7;
  std::cout << shira::benchmarks::machine() << ", " << runs << " runs\n";
  for (const std::int64_t columns : {4096, 11008}) {
    for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) compare(columns, dtype, runs);
  }
}
