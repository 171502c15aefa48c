"""The presence network: an encoder-decoder on half-resolution pixels, told sun, view and pixel size.

Two-by-two pixels are folded into channels first (so that the costly full-resolution layers run on a quarter of the
positions) and unfolded at the end. Five levels reach 1/32 of the input: about 60 m of context at 0.5 m.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Multiples of sixteen: what the CPU kernels of onnxruntime handle at once; 24 and 40 cost as much as 32 and 48.
WIDTHS = (16, 32, 64, 128, 160)
CONDITIONS = 8
CLASSES = 3
FOLD = 2


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.na = nn.BatchNorm2d(outside)
        self.b = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.nb = nn.BatchNorm2d(outside)
        self.skip = nn.Conv2d(inside, outside, 1, bias=False) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outside, row, col)."""
        y = functional.relu(self.na(self.a(x)))
        return functional.relu(self.nb(self.b(y)) + self.skip(x))


class Presence(nn.Module):
    """Normalised bands (n, 4, row, col) and conditions (n, 8) to log-odds (n, 3, row, col); sides multiples of 32."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        w0, w1, w2, w3, w4 = widths
        self.stem = nn.Conv2d(4 * FOLD**2, w0, 3, padding=1)
        self.cond = nn.Sequential(nn.Linear(CONDITIONS, 32), nn.ReLU(), nn.Linear(32, w0))
        self.cond4 = nn.Linear(CONDITIONS, w4)
        self.e0, self.e1, self.e2 = Block(w0, w0), Block(w0, w1), Block(w1, w2)
        self.e3, self.e4 = Block(w2, w3), Block(w3, w4)
        self.u3, self.d3 = nn.Conv2d(w4, w3, 1), Block(w3, w3)
        self.u2, self.d2 = nn.Conv2d(w3, w2, 1), Block(w2, w2)
        self.u1, self.d1 = nn.Conv2d(w2, w1, 1), Block(w1, w1)
        self.u0, self.d0 = nn.Conv2d(w1, w0, 1), Block(w0, w0)
        self.head = nn.Conv2d(w0, CLASSES * FOLD**2, 3, padding=1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.fill_(-3.0)

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> "Presence":
        """Return the network a checkpoint holds, of whatever widths."""
        network = cls(
            tuple(
                state[name].shape[0]
                for name in ("stem.weight", "e1.a.weight", "e2.a.weight", "e3.a.weight", "e4.a.weight")
            )
        )
        network.load_state_dict(state)
        return network

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return log-odds, not calibrated."""
        x = functional.pixel_unshuffle(image, FOLD)
        x0 = self.e0(functional.relu(self.stem(x) + self.cond(condition)[:, :, None, None]))
        x1 = self.e1(functional.max_pool2d(x0, 2))
        x2 = self.e2(functional.max_pool2d(x1, 2))
        x3 = self.e3(functional.max_pool2d(x2, 2))
        x4 = self.e4(functional.max_pool2d(x3, 2)) + self.cond4(condition)[:, :, None, None]
        y = self.d3(_twice(self.u3(x4)) + x3)
        y = self.d2(_twice(self.u2(y)) + x2)
        y = self.d1(_twice(self.u1(y)) + x1)
        y = self.d0(_twice(self.u0(y)) + x0)
        return functional.pixel_shuffle(self.head(y), FOLD)


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Calibrated(nn.Module):
    """The network with one scale and offset per class on its log-odds; what is exported."""

    def __init__(self, network: Presence, scale: tuple[float, ...], offset: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(scale)[None, :, None, None])
        self.register_buffer("offset", torch.tensor(offset)[None, :, None, None])

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return calibrated log-odds."""
        result: Tensor = self.network(image, condition) * self.scale + self.offset
        return result
