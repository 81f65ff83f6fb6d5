"""The network of benchmarks/unet_like.h in PyTorch: the parts of Stable Diffusion's UNet at two resolutions."""

import torch
from torch import nn
from torch.nn import functional as F

HEADS, CONTEXT, WORDS = 8, 768, 77


def conv(out, in_, size, stride=1):
    return nn.Conv2d(in_, out, size, stride, padding=size // 2)


class Resnet(nn.Module):
    def __init__(self, in_, out, time):
        super().__init__()
        self.norm1 = nn.GroupNorm(32, in_)
        self.conv1 = conv(out, in_, 3)
        self.time_emb_proj = nn.Linear(time, out)
        self.norm2 = nn.GroupNorm(32, out)
        self.conv2 = conv(out, out, 3)
        self.conv_shortcut = conv(out, in_, 1) if in_ != out else None

    def forward(self, input, time):
        hidden = self.conv1(F.silu(self.norm1(input)))
        hidden = hidden + self.time_emb_proj(F.silu(time))[:, :, None, None]
        shortcut = self.conv_shortcut(input) if self.conv_shortcut else input
        return self.conv2(F.silu(self.norm2(hidden))) + shortcut


class Attention(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, input, context):
        parts = self.to_q(input), self.to_k(context), self.to_v(context)
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts]
        return self.to_out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(32, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.proj_in, self.proj_out = conv(width, width, 1), conv(width, width, 1)
        self.attn1, self.attn2 = Attention(width, width), Attention(width, CONTEXT)
        self.ff_in, self.ff_out = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, input, context):
        hidden = self.proj_in(self.norm(input)).flatten(2).transpose(1, 2)
        normed = self.norm1(hidden)
        hidden = hidden + self.attn1(normed, normed)
        hidden = hidden + self.attn2(self.norm2(hidden), context)
        value, gate = self.ff_in(self.norm3(hidden)).chunk(2, -1)
        hidden = hidden + self.ff_out(value * F.gelu(gate))
        return input + self.proj_out(hidden.transpose(1, 2).reshape(input.shape))


class UnetLike(nn.Module):
    def __init__(self, width):
        super().__init__()
        time = 4 * width
        self.width = width
        self.conv_in = conv(width, 4, 3)
        self.resnet1, self.transformer1 = Resnet(width, width, time), Transformer(width)
        self.downsample = conv(width, width, 3, stride=2)
        self.resnet2, self.transformer2 = Resnet(width, 2 * width, time), Transformer(2 * width)
        self.upsample = conv(2 * width, 2 * width, 3)
        self.resnet3, self.transformer3 = Resnet(3 * width, width, time), Transformer(width)
        self.norm_out = nn.GroupNorm(32, width)
        self.conv_out = conv(4, width, 3)

    def forward(self, noise, context, time):
        skip = self.transformer1(self.resnet1(self.conv_in(noise), time), context)
        hidden = self.transformer2(self.resnet2(self.downsample(skip), time), context)
        hidden = self.upsample(F.interpolate(hidden, size=skip.shape[2:]))
        hidden = self.resnet3(torch.cat((hidden, skip), 1), time)
        return self.conv_out(F.silu(self.norm_out(self.transformer3(hidden, context))))

    def enable_input_require_grads(self):
        """As transformers' models have it: the first layer's output asks for a gradient."""
        self.conv_in.register_forward_hook(lambda module, args, output: output.requires_grad_())


def waves(shape, frequency, dtype):
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(count, dtype=torch.float64) * frequency).view(shape).to(dtype)


def batch(rows, side, width, dtype):
    """What the network is fed, and the target; benchmarks/unet_like.h makes the same."""
    inputs = {
        "noise": waves((rows, 4, side, side), 0.37, dtype),
        "context": waves((rows, WORDS, CONTEXT), 0.73, dtype),
        "time": waves((rows, 4 * width), 0.11, dtype),
    }
    return inputs, waves((rows, 4, side, side), 0.53, dtype).float()
