"""The store's file as it lies on the disk: is all of it there? (docs/store.md)

Decides whether LMDB may map a file: it reads a map beyond the file's end as if it were there, and the process dies.
Reads LMDB 0.9's format itself, bounds checked, and never the values. Never writes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from leither_lite.errors import Halt

RESTORE: Final = (
    "Nothing has been changed. Run leither-lite doctor; put back a copy of the folder, or set up a new one with the "
    "exported key"
)

_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_PAGE_BYTES_MAX: Final = 64 * 1024
# Structures of LMDB 0.9 as its C compiler lays them out on this machine. A page begins with its number, pad, flags and
# the bounds of its free space; then come offsets of its nodes. A meta page goes on with magic, version, address, map
# size, two trees (free pages, and what is stored), last page, transaction id.
_PAGE: Final = struct.Struct("@N4H")
_META: Final = struct.Struct("@II2N" + "I2H5N" * 2 + "2N")
_NODE: Final = struct.Struct("@4H")
_WORD: Final = struct.Struct("@N")
_NO_PAGE: Final = 2 ** (8 * _WORD.size) - 1
_BRANCH: Final = 1
_LEAF: Final = 2
_META_FLAG: Final = 8
_ON_OTHER_PAGES: Final = 1
_DEPTH_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Meta:
    """One of the two heads of the file: what its transaction left."""

    page_bytes: int
    free_root: int
    last_page: int
    transaction_id: int


class PageFile:
    """An open LMDB file. What cannot be one raises ValueError or struct.error; OSError is the disk's."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        first = self._meta(0)
        self.metas = (first, self._meta(first.page_bytes))
        if self.metas[1].page_bytes != first.page_bytes:
            raise ValueError("its two heads do not agree on the size of a page")
        self.newest = max(self.metas, key=lambda meta: meta.transaction_id)
        for number, meta in enumerate(self.metas):
            if meta.transaction_id and meta.transaction_id % 2 != number:
                raise ValueError("its two heads are not of the transactions that they should be of")
        if self.newest.transaction_id - min(meta.transaction_id for meta in self.metas) > 1:
            raise ValueError("its two heads are not of neighboring transactions")

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self.size:
            raise ValueError(f"it is cut short: it has {self.size} bytes")
        content = os.pread(self._file.fileno(), size, offset)
        if len(content) != size:
            raise ValueError("it was cut short while it was read")
        return content

    def _meta(self, offset: int) -> Meta:
        content = self._read(offset, _PAGE.size + _META.size)
        page = _PAGE.unpack_from(content)
        fields = _META.unpack_from(content, _PAGE.size)
        page_bytes = fields[4]
        if not page[2] & _META_FLAG or fields[:2] != (_MAGIC, _VERSION):
            raise ValueError("its head is damaged")
        if not 512 <= page_bytes <= _PAGE_BYTES_MAX or page_bytes & (page_bytes - 1):
            raise ValueError("its head names no size of pages")
        return Meta(page_bytes, fields[11], fields[-2], fields[-1])

    @property
    def pages_present(self) -> int:
        """Number of whole pages in the file."""
        return self.size // self.newest.page_bytes

    @property
    def pages_counted(self) -> int:
        """Number of pages that LMDB counts: the free ones at the end may never have been written."""
        return self.newest.last_page + 1

    def free_pages(self) -> set[int]:
        """The numbers of all pages that are free after the newest transaction."""
        found: set[int] = set()
        for value in self._values(self.newest.free_root, _DEPTH_MAX):
            count = _WORD.unpack_from(value)[0]
            if count > self.pages_counted:
                raise ValueError("its list of free pages is damaged")
            found.update(struct.unpack_from(f"@{count}N", value, _WORD.size))
        return found

    def _values(self, page: int, depth: int) -> Iterator[bytes]:
        """The values of the tree under a page, in the order of their keys."""
        if page == _NO_PAGE:
            return
        page_bytes = self.newest.page_bytes
        content = self._read(page * page_bytes, page_bytes)
        number, _, flags, lower, _ = _PAGE.unpack_from(content)
        kind = flags & (_BRANCH | _LEAF)
        if number != page or kind not in (_BRANCH, _LEAF) or not _PAGE.size <= lower <= page_bytes or not depth:
            raise ValueError(f"its page {page} is damaged")
        for offset in struct.unpack_from(f"@{(lower - _PAGE.size) // 2}H", content, _PAGE.size):
            low, high, node_flags, key_bytes = _NODE.unpack_from(content, offset)
            at, size = offset + _NODE.size + key_bytes, low | high << 16
            if kind == _BRANCH:
                yield from self._values(size | (node_flags << 32 if _WORD.size == 8 else 0), depth - 1)
            elif node_flags & _ON_OTHER_PAGES:
                yield self._read(_WORD.unpack_from(content, at)[0] * page_bytes + _PAGE.size, size)
            else:
                yield content[at : at + size]


def check_file(path: Path) -> None:
    """Refuse a file that LMDB would map beyond its end, or that is none of its files.

    Raises Halt: store_absent, store_unreadable, store_corrupt.
    """
    try:
        with path.open("rb", buffering=0) as file:
            pages = PageFile(file)
            # A page that was free again before its transaction ended was counted, but never written.
            if pages.pages_present < pages.pages_counted and not pages.free_pages().issuperset(
                range(pages.pages_present, pages.pages_counted)
            ):
                raise ValueError(f"it is cut short: {pages.pages_present} of {pages.pages_counted} pages are there")
    except FileNotFoundError:
        raise Halt("store_absent", f"there is no store at {path}: found or join an organization first") from None
    except OSError as error:
        raise Halt("store_unreadable", f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, struct.error) as error:
        told = str(error) if isinstance(error, ValueError) else "its pages are damaged"
        raise Halt("store_corrupt", f"{path} is damaged: {told}. {RESTORE}") from error
