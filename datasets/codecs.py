"""How camera pictures are encoded, one by one: zarr v3 codecs of visually lossless JPEG and JPEG XL, beside lossless zstd."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec
from zarr.codecs import Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.registry import register_codec

from robolearn.datasets.formats.optional import need
from robolearn.errors import UserError, nearest


@dataclass(frozen=True)
class PictureCodec(ArrayBytesCodec):
    """One RGB picture ``(H, W, 3)`` uint8 to bytes and back; needs imagecodecs."""

    name: ClassVar[str]
    is_fixed_size = False

    @property
    def lossy(self) -> bool:
        """Whether a decoded picture may differ from the one that was encoded."""
        return True

    def encode_picture(self, picture: NDArray[np.uint8]) -> bytes:
        """A picture ``(H, W, 3)`` as bytes."""
        raise NotImplementedError

    def decode_picture(self, data: bytes | memoryview, out: NDArray[np.uint8]) -> None:
        """Bytes into ``out (H, W, 3)``.

        Raises:
            ValueError, RuntimeError: they are no such picture.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The codec in an array's metadata."""
        return {"name": self.name, "configuration": asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PictureCodec:
        """The inverse of :meth:`to_dict`."""
        return cls(**data.get("configuration", {}))

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        picture = np.empty(chunk_spec.shape, np.uint8)
        await asyncio.to_thread(self.decode_picture, chunk_bytes.to_bytes(), picture[0])
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(picture)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        data = await asyncio.to_thread(self.encode_picture, chunk_array.as_numpy_array()[0])
        return chunk_spec.prototype.buffer.from_bytes(data)

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError


@dataclass(frozen=True)
class Jpeg(PictureCodec):
    """JPEG with colour at full resolution (4:4:4): several times faster than JPEG XL, at one and a half times its size."""

    quality: int = 95
    name: ClassVar[str] = "robolearn.jpeg"

    def encode_picture(self, picture: NDArray[np.uint8]) -> bytes:
        """A picture ``(H, W, 3)`` as bytes."""
        data: bytes = imagecodecs().jpeg8_encode(np.ascontiguousarray(picture), level=self.quality, subsampling="444")
        return data

    def decode_picture(self, data: bytes | memoryview, out: NDArray[np.uint8]) -> None:
        """Bytes into ``out (H, W, 3)``."""
        imagecodecs().jpeg8_decode(data, out=out)


@dataclass(frozen=True)
class JpegXl(PictureCodec):
    """JPEG XL; ``distance`` 1 is where a trained eye sees no difference, 0 is lossless."""

    distance: float = 0.5
    effort: int = 3
    name: ClassVar[str] = "robolearn.jpegxl"

    @property
    def lossy(self) -> bool:
        """Whether a decoded picture may differ from the one that was encoded."""
        return self.distance > 0

    def encode_picture(self, picture: NDArray[np.uint8]) -> bytes:
        """A picture ``(H, W, 3)`` as bytes."""
        how = {"distance": self.distance} if self.lossy else {"lossless": True}
        data: bytes = imagecodecs().jpegxl_encode(np.ascontiguousarray(picture), effort=self.effort, numthreads=1, **how)
        return data

    def decode_picture(self, data: bytes | memoryview, out: NDArray[np.uint8]) -> None:
        """Bytes into ``out (H, W, 3)``."""
        imagecodecs().jpegxl_decode(data, numthreads=1, out=out)


IMAGE_CODECS: Mapping[str, PictureCodec | None] = {
    "zstd": None,
    "jpegxl_lossless": JpegXl(distance=0.0, effort=1),
    "jpegxl": JpegXl(),
    "jpeg": Jpeg(),
}
for _codec in (Jpeg, JpegXl):
    register_codec(_codec.name, _codec)


def imagecodecs() -> Any:
    """The package that reads and writes JPEG and JPEG XL.

    Raises:
        UserError: it is not installed.
    """
    return need("imagecodecs", "a store with pictures in JPEG or JPEG XL")


def codec_named(name: str) -> PictureCodec | None:
    """A choice of :data:`IMAGE_CODECS` by name; None is zstd.

    Raises:
        UserError: there is none of that name, or imagecodecs is not installed.
    """
    if name not in IMAGE_CODECS:
        raise UserError(f"no image codec {name!r}; there are {', '.join(IMAGE_CODECS)}{nearest(name, IMAGE_CODECS)}")
    codec = IMAGE_CODECS[name]
    if codec is not None:
        imagecodecs()
    return codec


def is_picture(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a step's array is a colour picture, which a lossy codec may touch: masks and depth, of one channel, are none."""
    return dtype == np.uint8 and len(shape) == 3 and shape[2] == 3


def state_codecs() -> list[Any]:
    """Compression, then the checksum of the compressed bytes."""
    return [ZstdCodec(level=1), Crc32cCodec()]


def frame_codecs(array: zarr.Array[Any]) -> tuple[Any, ...] | None:
    """What encodes each row of an array whose files are shards of single rows, in order; None for other arrays."""
    codecs = array.metadata.codecs  # type: ignore[union-attr]
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec) or tuple(array.chunks) != (1, *array.shape[1:]):
        return None
    return tuple(codecs[0].codecs)


def picture_codec(array: zarr.Array[Any]) -> PictureCodec | None:
    """The picture codec of an array; None where its rows are kept in another way."""
    codecs = frame_codecs(array) or (None,)
    return codecs[0] if isinstance(codecs[0], PictureCodec) else None


def is_lossy(array: zarr.Array[Any]) -> bool:
    """Whether an array's rows are encoded with loss: then its encoded bytes are its content, not what a decoder makes of them."""
    codec = picture_codec(array)
    return codec is not None and codec.lossy
