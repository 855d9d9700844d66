"""Packed linear layers compute what the original ones do, and leave attention's own alone."""

import pytest
import torch
from torch import nn

from backend.ml.packed_linear import PackedLinear, pack_linears, unpack_linears


@pytest.mark.parametrize("shape", [(1, 1, 48), (1, 10, 48), (7, 13, 48), (5, 48)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_packed_gives_the_same_for_any_number_of_rows(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(48, 20, bias=bias)
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(PackedLinear(linear)(rows), linear(rows), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_block_is_packed_but_for_its_attention_and_can_be_put_back() -> None:
    block = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True).eval()
    rows = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    before, linear = block(rows), block.linear1
    block.activation_relu_or_gelu = 0  # its fused path reads the weights of its layers itself
    originals = pack_linears(block)
    assert set(originals) == {"linear1", "linear2"}
    torch.testing.assert_close(block._ff_block(rows), linear_path(originals, rows), atol=1e-5, rtol=1e-5)
    unpack_linears(block, originals)
    assert block.linear1 is linear
    torch.testing.assert_close(block(rows), before, atol=1e-5, rtol=1e-5)


def linear_path(originals: dict[str, nn.Linear], rows: torch.Tensor) -> torch.Tensor:
    return originals["linear2"](torch.relu(originals["linear1"](rows)))
