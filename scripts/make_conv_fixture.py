#!/usr/bin/env python3
"""Makes tests/fixtures/peft_conv.safetensors: what live PEFT makes of LoRA and DoRA beside a convolution.

usage: scripts/make_conv_fixture.py tests/fixtures/peft_conv.safetensors

For `lora` and `dora`: the tensors of a Conv2d (stride 2, padding 1) with its factors, an input, the output, and the gradients
of sum(tanh(output)^2) for the input and the factors, in float32. The header has the versions.
"""

import sys

import peft
import torch
from safetensors.torch import save_file


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, kernel_size=(3, 2), stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


def case(kind):
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["conv"], use_dora=kind == "dora")
    model = peft.get_peft_model(Net(), config)
    layer = model.base_model.model.conv
    factors = {"a": layer.lora_A["default"].weight, "b": layer.lora_B["default"].weight}
    if kind == "dora":
        factors["magnitude"] = layer.lora_magnitude_vector["default"].weight
    with torch.no_grad():
        for factor in factors.values():
            factor.add_(0.3 * torch.randn_like(factor))
    x = torch.randn(2, 3, 7, 6).requires_grad_()
    output = model(x)
    output.tanh().square().sum().backward()
    tensors = {"weight": layer.base_layer.weight, "bias": layer.base_layer.bias, "input": x, "output": output, **factors}
    tensors |= {f"grad.{name}": tensor.grad for name, tensor in [("input", x), *factors.items()]}
    return {f"{kind}.{name}": tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def main(path):
    versions = {"torch": torch.__version__, "peft": peft.__version__, "scaling": "1.5"}
    save_file(case("lora") | case("dora"), path, versions)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
