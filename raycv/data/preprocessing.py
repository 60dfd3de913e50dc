"""From a decoded image to what a network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:  # reading a run needs the description alone, and importing PyTorch takes seconds
    import torch
    from PIL.Image import Image
    from torch import Tensor

LARGEST = 4096  # pixels, of the height and width of an image
Pixels = Annotated[int, Field(ge=1, le=LARGEST)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
Std = Annotated[float, Field(ge=1e-6, le=1e6)]  # also its reciprocal is finite in single precision
Fit = Literal["squash", "short-side"]
Encoding = Literal["jpeg95", "raw"]  # of prepared images
Interpolation = Literal["bilinear", "bicubic"]
Middle = Literal["even", "down"]  # to which side half a pixel is rounded: as torchvision does, or transformers


class Resize(NamedTuple):
    """How an image becomes ``size`` x ``size`` pixels: squashed, or its shorter side resized and its centre cut out.

    ``crop``: what will be cut out of that in the end. It only decides which pixel is the centre, rounded as ``middle``
    says.
    """

    size: int
    fit: Fit = "squash"
    interpolation: Interpolation = "bilinear"
    crop: int | None = None
    middle: Middle = "even"

    def __call__(self, image: Image) -> Image:
        """The image resized, with antialiasing."""
        from PIL.Image import Resampling

        filtered = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[self.interpolation]
        width, height, left, top = self._plan(*image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), filtered)
        if image.size == (self.size, self.size):
            return image
        return image.crop((left, top, left + self.size, top + self.size))

    @property
    def can_be_quick(self) -> bool:
        """Whether `quick` gives the same within rounding; PyTorch's bicubic filter is another one than Pillow's."""
        return self.interpolation == "bilinear"

    def quick(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W, 3) uint8 resized by PyTorch: each within one of what Pillow gives, in a quarter of the time."""
        height, width = pixels.shape[:2]
        wide, high, left, top = self._plan(width, height)
        if (wide, high) != (width, height):
            from torch import from_numpy
            from torch.nn.functional import interpolate

            channels = from_numpy(pixels).permute(2, 0, 1)[None]
            resized = interpolate(channels, size=(high, wide), mode="bilinear", antialias=True)
            pixels = resized[0].permute(1, 2, 0).numpy()
        return pixels[top : top + self.size, left : left + self.size]

    def _plan(self, width: int, height: int) -> tuple[int, int, int, int]:
        """To which width and height an image is resized, and where left and top of what is cut out of it are."""
        if self.fit == "squash":
            return self.size, self.size, 0, 0
        short = min(width, height)
        wide, high = (self.size if side == short else int(self.size * side / short) for side in (width, height))
        inner = centre(self.size, self.crop or self.size, self.middle)
        left, top = (centre(side, self.crop or self.size, self.middle) - inner for side in (wide, high))
        return wide, high, left, top


def centre(size: int, crop: int, middle: Middle = "even") -> int:
    """Where the central ``crop`` of ``size`` pixels begins: half a pixel to the even one, as torchvision, or down."""
    return round((size - crop) / 2) if middle == "even" else (size - crop) // 2


class Preprocessing(BaseModel):
    """How a network wants its images, in the order of Caffe's pipeline (paper, section 2).

    An image is decoded and resized, cropped, and per channel ``mean`` is subtracted and divided by ``std``. In training
    the crop is drawn at random and half the images are mirrored; in evaluation the crop is the centre.

    Attributes
    ----------
    resize : int, 1 to 4,096
        Height and width in pixels to which images are resized, as uint8.
    crop : int, up to ``resize``
        Height and width in pixels of what the network sees.
    fit : {"squash", "short-side"}, default "squash"
        What is done to an image that is not square: it is squashed, as the paper's networks have it, or its shorter
        side is resized and the longer one cut, as torchvision's have it.
    interpolation : {"bilinear", "bicubic"}, default "bilinear"
        The filter, with antialiasing.
    middle : {"even", "down"}, default "even"
        Where a centre begins that lies between two pixels: as torchvision rounds, or as Hugging Face's processors do.
    mean, std : three floats each
        Of red, green, blue, on the scale 0 to 255.
    pad : int, default 0
        In training the crop is drawn from an image with so many pixels of the mean around it.
    mirror : bool, default True
        Whether half the images are mirrored in training.

    Examples
    --------
    >>> import raycv, torch
    >>> wanted = raycv.Preprocessing(resize=36, crop=32, mean=(128, 128, 128), std=(64, 64, 64))
    >>> seen = wanted.evaluation(torch.full((5, 36, 36, 3), 192, dtype=torch.uint8))
    >>> seen.shape, seen.unique().tolist()
    (torch.Size([5, 3, 32, 32]), [1.0])
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    resize: Pixels
    crop: Pixels
    fit: Fit = "squash"
    interpolation: Interpolation = "bilinear"
    middle: Middle = "even"
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Std, Std, Std]
    pad: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    mirror: bool = True

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"crop is {self.crop}, which cannot be cut out of images resized to {self.resize}")
        return self

    @property
    def resizing(self) -> Resize:
        """How images are decoded for the network."""
        crop = None if self.fit == "squash" else self.crop
        return Resize(self.resize, self.fit, self.interpolation, crop, "even" if crop is None else self.middle)

    def evaluation(self, images: Tensor) -> Tensor:
        """Prepare images for evaluation, with the central crop.

        Parameters
        ----------
        images : Tensor of shape (B, resize, resize, 3), uint8
            Red, green, blue.

        Returns
        -------
        Tensor of shape (B, 3, crop, crop), float32
            Channels last in memory.

        Raises
        ------
        ValueError
            For images of another shape.
        """
        self._check(images)
        start = centre(self.resize, self.crop, self.middle)
        return _to_channels(self._normalised(images[:, start : start + self.crop, start : start + self.crop]))

    def training(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Prepare images for training, with crop and mirror drawn for each image.

        Parameters
        ----------
        images : Tensor of shape (B, resize, resize, 3), uint8
            Red, green, blue.
        generator : torch.Generator
            On the CPU.

        Returns
        -------
        Tensor of shape (B, 3, crop, crop), float32
            Channels last in memory.

        Raises
        ------
        ValueError
            For images of another shape.
        """
        import torch

        self._check(images)
        count, device = len(images), images.device
        room = self.resize + 2 * self.pad - self.crop
        corners = _sent(torch.randint(0, room + 1, (2, count, 1), generator=generator) - self.pad, device)
        mirrored = _sent(torch.rand(count, 1, generator=generator) < (0.5 if self.mirror else 0.0), device)
        along = torch.arange(self.crop, device=device)
        rows = corners[0] + along  # (B, crop), in the padding where negative or past the last
        columns = corners[1] + torch.where(mirrored, along.flip(0), along)
        first = torch.arange(count, device=device)[:, None] * self.resize
        pixels = (first + self._within(rows))[:, :, None] * self.resize + self._within(columns)[:, None, :]
        # Cropped as bytes, before the larger floats are made.
        cropped = images.reshape(-1, 3).index_select(0, pixels.flatten()).view(*pixels.shape, 3)
        result = self._normalised(cropped)
        if self.pad:
            seen = (rows == self._within(rows))[:, :, None] & (columns == self._within(columns))[:, None, :]
            result *= seen[..., None]  # after subtraction 0 is the mean
        return _to_channels(result)

    def _check(self, images: Tensor) -> None:
        """Raise ValueError for images of another size, of which another part would be cut out unnoticed."""
        wanted = (self.resize, self.resize, 3)
        if images.shape[1:] != wanted:
            raise ValueError(f"images must have shape (B, {', '.join(map(str, wanted))}), found {tuple(images.shape)}")

    def _within(self, positions: Tensor) -> Tensor:
        return positions.clamp(0, self.resize - 1)

    def _normalised(self, images: Tensor) -> Tensor:
        import torch

        mean, scale = _sent(torch.tensor(self.mean), images.device), _sent(1 / torch.tensor(self.std), images.device)
        return (images.float() - mean).mul_(scale)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """The same on the device, without waiting until a GPU has done what it was given before."""
    return values.to(device, non_blocking=True)


def _to_channels(images: Tensor) -> Tensor:
    """(B, H, W, 3) as (B, 3, H, W) without moving a byte: that is PyTorch's channels-last layout."""
    return images.contiguous().permute(0, 3, 1, 2)
