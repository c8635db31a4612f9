"""Folders as objects: one tree a folder, named by its bytes, so that equal subtrees are never read twice.

A folder has two names. `tree` is the hash of its object, which makes every byte verifiable; the object also says when
each file was modified and in which pack things are. `hash` is that of what it holds without these; only this one is
compared in diff and merge, so that a touched file is no change.
"""

from collections import OrderedDict
from typing import Literal, TypeAlias

import msgspec

from .errors import StoreCorrupt
from .objects import damaged, digest
from .packs import Packed, Packs, Place, pack_key

Kind = Literal["f", "x", "l", "d"]
"""File, executable file, link, folder (directory)."""

MAX_DEPTH = 256
"""Folders within folders. Each level holds a descriptor and some stack while it is walked."""
LONGEST_LINK = 4096
NAME_BYTES = 32
COMPARED = 2
"""Trees that are kept whatever their size: mostly one is held against another."""
HELD = 512 * 1024
"""Bytes of encoded trees whose decoded form is kept in memory."""


class Node(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """What a name in a folder stands for."""

    kind: Kind
    hash: bytes
    """Of a file's content or of what a folder holds; a link's text."""
    size: int
    """Of a file, of a link's text, or of a folder's tree as an object."""
    mtime_ns: int
    pack: bytes = b""
    """Where the content or the tree is; b"" for a content that has its own object."""
    offset: int = 0
    tree: bytes = b""
    """BLAKE3 of a folder's object."""

    def same(self, other: "Node | None") -> bool:
        """Whether both are the same file, link or folder, mtimes aside."""
        return other is not None and self.kind == other.kind and self.hash == other.hash

    @property
    def packed(self) -> Packed:
        """Where its content or its tree is; for what is in a pack."""
        return Packed(Place(self.pack, self.offset), self.size, self.tree or self.hash)


Tree: TypeAlias = dict[bytes, Node]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, Node]])


def encoded(tree: Tree) -> bytes:
    """The object of a tree."""
    return _encoder.encode(sorted(tree.items()))


def content_hash(tree: Tree) -> bytes:
    """What a folder holds, as one name."""
    rows = [(name, node.kind, node.hash, 0 if node.kind == "d" else node.size) for name, node in sorted(tree.items())]
    return digest(_encoder.encode(rows))


def decoded(data: bytes, key: str) -> Tree:
    """The tree of an object. Nothing in it is trusted: it decides what is written to a disk."""
    try:
        rows = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(damaged(key)) from error
    tree = dict(rows)
    if len(tree) != len(rows):
        raise StoreCorrupt(f"tree {key} holds a name twice.")
    for name, node in rows:
        if not safe_name(name):
            raise StoreCorrupt(f"tree {key} holds the name {name!r}, which no folder can hold. Refused.")
        if not sound(node):
            raise StoreCorrupt(f"tree {key} holds an entry {name!r} that no version of the store has written.")
    return tree


def safe_name(name: bytes) -> bool:
    """Whether a name stays in its folder."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= 255


def sound(node: Node) -> bool:
    """Whether a decoded node is of the shape `encoded` writes; its names become part of keys."""
    if node.size < 0 or node.offset < 0 or len(node.pack) not in (0, 16):
        return False
    match node.kind:
        case "f" | "x":
            return len(node.hash) == NAME_BYTES and not node.tree
        case "l":
            return 0 < len(node.hash) <= LONGEST_LINK and b"\0" not in node.hash and not node.tree
        case "d":
            return len(node.hash) == len(node.tree) == NAME_BYTES and bool(node.pack)


def text_of(name: bytes) -> str:
    """Bytes of a file system as text, without loss."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes again."""
    return text.encode("utf-8", "surrogateescape")


class Trees:
    """The trees of a store. For one thread. Remembers the last ones: a big folder takes milliseconds to decode."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self._held: OrderedDict[bytes, tuple[int, Tree]] = OrderedDict()

    def load(self, folder: Node | None) -> Tree:
        """What a folder holds, verified, not to be changed; nothing for None."""
        if folder is None:
            return {}
        held = self._held.get(folder.tree)
        if held is None:
            held = self._held[folder.tree] = (folder.size, self._read(folder))
            while len(self._held) > COMPARED and sum(size for size, _ in self._held.values()) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(folder.tree)
        return held[1]

    def _read(self, folder: Node) -> Tree:
        [(_, data)] = self._packs.read([folder.packed])
        key = f"{pack_key(folder.pack)} at {folder.offset}"
        tree = decoded(data, key)
        if content_hash(tree) != folder.hash:
            raise StoreCorrupt(damaged(key))
        return tree
