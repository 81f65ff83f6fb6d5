// silu(gate) * up, the gated activation of LLaMA's MLP (SwiGLU, Shazeer 2020), in one pass.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>

namespace shira {

/// out = silu(gate) * up for `count` elements of one dtype: F32, F64 or BF16, computed in float32
/// (float64 for F64) and rounded once.
SHIRA_API void silu_product(DType dtype, std::int64_t count, const void* gate, const void* up,
                            void* out);

/// The gradients for gate and up of the same, from that for its result.
SHIRA_API void silu_product_backward(DType dtype, std::int64_t count, const void* grad,
                                     const void* gate, const void* up, void* gate_grad,
                                     void* up_grad);

}  // namespace shira
