"""The store's file as it lies on the disk: is all of it there, and does it hang together? (docs/store.md)

Decides whether LMDB may map a file: LMDB trusts it, and the process dies where the map goes beyond the file's end, or
takes rows for absent where a page is damaged. Reads LMDB 0.9's format itself, bounds checked. Never writes, and leaves
values to their checksums.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from leither_lite.errors import Halt

RESTORE: Final = (
    "Nothing has been changed. Run leither-lite doctor; put back a copy of the folder, or set up a new one with the "
    "exported key"
)

_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_PAGE_BYTES_MAX: Final = 64 * 1024
# Structures of LMDB 0.9 as its C compiler lays them out on this machine. A page begins with its number, pad, flags and
# the bounds of its free space; then come the offsets of its nodes. A meta page goes on with magic, version, address,
# map size, two trees (pad, flags, depth, pages of each kind, entries, root), last page, transaction id.
_PAGE: Final = struct.Struct("@N4H")
_META: Final = struct.Struct("@II2N" + "I2H5N" * 2 + "2N")
_FREE, _MAIN = slice(4, 12), slice(12, 20)
_NODE: Final = struct.Struct("@4H")
_WORD: Final = struct.Struct("@N")
_NO_PAGE: Final = 2 ** (8 * _WORD.size) - 1
_BRANCH: Final = 1
_LEAF: Final = 2
_OVERFLOW: Final = 4
_META_FLAG: Final = 8
_ON_OTHER_PAGES: Final = 1
_HEADS: Final = 2
_DEPTH_MAX: Final = 32
_ROWS_TOLD: Final = 100_000


@dataclass(frozen=True, slots=True)
class Tree:
    """What a head of the file says of one of its trees; `pages` are branches, leaves, overflow."""

    depth: int
    pages: tuple[int, int, int]
    entries: int
    root: int

    @classmethod
    def of(cls, fields: tuple[int, ...]) -> Tree:
        """From pad, flags, depth, …"""
        return cls(fields[2], (fields[3], fields[4], fields[5]), fields[6], fields[7])


@dataclass(frozen=True, slots=True)
class Meta:
    """One of the two heads of the file: what its transaction left."""

    page_bytes: int
    free: Tree
    main: Tree
    last_page: int
    transaction_id: int


@dataclass(slots=True)
class _Seen:
    """What a walk through a tree has met: the numbers of its pages by kind, and how many entries."""

    branches: list[int]
    leaves: list[int]
    overflow: list[int]
    entries: int = 0

    @property
    def pages(self) -> list[int]:
        return [*self.branches, *self.leaves, *self.overflow]


Order = Callable[[bytes], Any]
"""What keys are compared by: themselves, or the number that they are."""


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
            if meta.transaction_id and meta.transaction_id % _HEADS != number:
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
        return Meta(page_bytes, Tree.of(fields[_FREE]), Tree.of(fields[_MAIN]), fields[-2], fields[-1])

    @property
    def pages_present(self) -> int:
        """Number of whole pages in the file."""
        return self.size // self.newest.page_bytes

    @property
    def pages_counted(self) -> int:
        """Number of pages that LMDB counts: the free ones at the end may never have been written."""
        return self.newest.last_page + 1

    def free_pages(self) -> list[int]:
        """The numbers of all pages that are free after the newest transaction."""
        return self._free_pages(_Seen([], [], []))

    def _free_pages(self, seen: _Seen) -> list[int]:
        found: list[int] = []
        for _, value in self._rows(self.newest.free, seen, lambda key: _WORD.unpack(key)[0], values=True):
            count = _WORD.unpack_from(value)[0]
            if count > self.pages_counted:
                raise ValueError("its list of free pages is damaged")
            found += struct.unpack_from(f"@{count}N", value, _WORD.size)
        return found

    def check(self, progress: Callable[[str], None]) -> None:
        """Walk through both trees: every page is in one of them or free, and every row where it is looked for."""
        trees = (self.newest.free, self.newest.main)
        seen = (_Seen([], [], []), _Seen([], [], []))
        used = self._free_pages(seen[0])
        for number, _ in enumerate(self._rows(trees[1], seen[1], bytes, values=False)):
            if number % _ROWS_TOLD == _ROWS_TOLD - 1:
                progress(f"pages of the store: {number + 1} rows looked up")
        for tree, one in zip(trees, seen, strict=True):
            if (len(one.branches), len(one.leaves), len(one.overflow)) != tree.pages or one.entries != tree.entries:
                raise ValueError("one of its trees has more pages or rows, or fewer, than its head counts")
            used += one.pages
        if sorted(used) != list(range(_HEADS, self.pages_counted)):
            raise ValueError("a page of it is used twice, or lost")

    def _rows(self, tree: Tree, seen: _Seen, order: Order, *, values: bool) -> Iterator[tuple[bytes, bytes]]:
        """Keys and (if asked for) values of a tree, in the order of their keys, each where it is looked for."""
        if tree.root != _NO_PAGE:
            last: bytes | None = None
            for key, value in self._below(tree.root, tree.depth, None, None, seen, order, values):
                if last is not None and order(last) >= order(key):
                    raise ValueError("its rows are not in order")
                last = key
                seen.entries += 1
                yield key, value

    def _below(
        self, page: int, depth: int, low: bytes | None, high: bytes | None, seen: _Seen, order: Order, values: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows under a page, whose keys must be from `low` on and below `high`."""
        page_bytes = self.newest.page_bytes
        content = self._read(page * page_bytes, page_bytes)
        number, _, flags, lower, upper = _PAGE.unpack_from(content)
        is_leaf = depth == 1
        right_kind = flags == (_LEAF if is_leaf else _BRANCH)
        if not (
            0 < depth <= _DEPTH_MAX and right_kind and number == page and _PAGE.size <= lower <= upper <= page_bytes
        ):
            raise ValueError(f"its page {page} is damaged")
        (seen.leaves if is_leaf else seen.branches).append(page)
        offsets = [offset for (offset,) in struct.iter_unpack("@H", content[_PAGE.size : lower])]
        if min(offsets, default=page_bytes) != upper:
            raise ValueError(f"its page {page} is damaged")
        nodes = [self._node(content, offset) for offset in offsets]
        if is_leaf:
            for key, node_flags, size, at in nodes:
                if (low is not None and order(key) < order(low)) or (high is not None and order(key) >= order(high)):
                    raise ValueError(f"a row of its page {page} is not where it is looked for")
                if node_flags & _ON_OTHER_PAGES:
                    yield key, self._overflow(_WORD.unpack_from(content, at)[0], size, seen, values)
                elif at + size > page_bytes:
                    raise ValueError(f"its page {page} is damaged")
                else:
                    yield key, content[at : at + size] if values else b""
            return
        # The first key of a branch is not looked at: whatever is below the second is under the first.
        bounds = [low, *(node[0] for node in nodes[1:]), high]
        for (_, node_flags, size, _), (first, end) in zip(nodes, pairwise(bounds), strict=True):
            child = size | (node_flags << 32 if _WORD.size == 8 else 0)
            yield from self._below(child, depth - 1, first, end, seen, order, values)

    def _node(self, content: bytes, offset: int) -> tuple[bytes, int, int, int]:
        """Key, flags, size or page, and the offset of what follows the key."""
        low, high, node_flags, key_bytes = _NODE.unpack_from(content, offset)
        at = offset + _NODE.size + key_bytes
        if at > len(content):
            raise ValueError("a row goes beyond its page")
        return content[offset + _NODE.size : at], node_flags, low | high << 16, at

    def _overflow(self, page: int, size: int, seen: _Seen, values: bool) -> bytes:
        """A value on pages of its own."""
        page_bytes = self.newest.page_bytes
        count = -(-(_PAGE.size + size) // page_bytes)
        number, _, flags, low, high = _PAGE.unpack(self._read(page * page_bytes, _PAGE.size))
        if (number, flags, low | high << 16) != (page, _OVERFLOW, count) or page + count > self.pages_present:
            raise ValueError(f"its page {page} is damaged")
        seen.overflow += range(page, page + count)
        return self._read(page * page_bytes + _PAGE.size, size) if values else b""


def check_file(path: Path) -> None:
    """Refuse a file that LMDB would map beyond its end, or that is none of its files.

    Raises Halt: store_absent, store_unreadable, store_corrupt.
    """

    def check(pages: PageFile) -> None:
        missing = range(pages.pages_present, pages.pages_counted)
        # A page that was free again before its transaction ended was counted, but never written.
        if missing and not set(pages.free_pages()).issuperset(missing):
            raise ValueError(f"it is cut short: {pages.pages_present} of {pages.pages_counted} pages are there")

    _checked(path, check)


def check_pages(path: Path, progress: Callable[[str], None]) -> None:
    """Refuse a file whose pages do not hang together; reads all that is not a value, and takes its time.

    Raises Halt: as `check_file`.
    """
    _checked(path, lambda pages: pages.check(progress))


def _checked(path: Path, check: Callable[[PageFile], None]) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            check(PageFile(file))
    except FileNotFoundError:
        raise Halt("store_absent", f"there is no store at {path}: found or join an organization first") from None
    except OSError as error:
        raise Halt("store_unreadable", f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, struct.error) as error:
        told = str(error) if isinstance(error, ValueError) else "a page of it is damaged"
        raise Halt("store_corrupt", f"{path} is damaged: {told}. {RESTORE}") from error
