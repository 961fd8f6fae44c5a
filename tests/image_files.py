"""Small sets of labelled images as files, good and damaged, for the tests of what reads them."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=values.dtype == object)
    return content.getvalue()


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of an array of bytes, whose values are missing."""
    head = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def zip_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def zip_bomb() -> bytes:
    """An .npz whose array declares five gigabytes; what it really holds are 64 megabytes of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    size, block = 5 * 2**30, b"\0" * 2**24
    head, crc, packed = npy_header((size,)), 0, []
    for part in (head, *[block] * 4):
        crc = zlib.crc32(part, crc)
        packed.append(packer.compress(part))
    body = b"".join(packed) + packer.flush()
    name = b"x_train.npy"
    declared = len(head) + size
    zip64 = struct.pack("<HHQQ", 1, 16, declared, len(body))
    sizes = (2**32 - 1, 2**32 - 1, len(name), len(zip64))  # the first two mean: see the zip64 field
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 8, 0, 33, crc, *sizes)
    central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 8, 0, 33, crc, *sizes, 0, 0, 0, 0, 0)
    start = len(local) + len(name) + len(zip64) + len(body)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(name) + len(zip64), start, 0)
    return local + name + zip64 + body + central + name + zip64 + end


def gzip_bomb() -> bytes:
    """A gzipped IDX file: a gigabyte of zeros behind a header that declares five images."""
    # Gzip streams may follow one another, so one block is compressed once and repeated.
    return gzip.compress(struct.pack(">HBBIII", 0, 8, 3, 5, 8, 8)) + gzip.compress(b"\0" * 2**24) * 64
