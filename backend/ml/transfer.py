"""Between the processor and the device of an encoder: pixels go ahead of their turn, results come back behind it.

On a GPU both run beside the arithmetic, through page-locked memory, so that it never waits for either.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]


class Staging:
    """Brings pictures to the device; any thread may ask.

    Args:
        device: where the encoder runs.
        dtype: arithmetic that it runs in there.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def put(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pixels (3, h, w) of each -> (n, 3, h, w), on the device when this returns.

        Args:
            pictures: at least one, all of one size.
        """
        if self._stream is None:
            return torch.stack(list(pictures))
        with torch.cuda.stream(self._stream):  # page-locked memory, too, belongs to the device of the stream
            host = torch.empty((len(pictures), *pictures[0].shape), dtype=self._dtype, pin_memory=True)
            for row, picture in zip(host, pictures, strict=True):
                row.copy_(picture)
            pixels = host.to(self._device, non_blocking=True)
        # made on our stream and read on the encoder's: its memory must not be given away before both are done
        pixels.record_stream(torch.cuda.default_stream(self._device))
        self._stream.synchronize()  # the thread that prepares waits, not the one that encodes
        return pixels


class Coming:
    """Results on their way from the device.

    Args:
        results: tensors that the device has computed or will have; on a GPU the copy begins behind them.
    """

    def __init__(self, *results: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._host = results
        device = results[0].device
        if device.type != "cuda":
            return
        with torch.cuda.device(device):
            self._host = tuple(torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in results)
            for here, there in zip(self._host, results, strict=True):
                here.copy_(there, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(device))

    def arrays(self) -> list[Float32]:
        """The results in fp32, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [one.float().numpy() for one in self._host]
