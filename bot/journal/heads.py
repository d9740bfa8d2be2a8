"""Signed heads: lines that say how far a journal had come at a time, so that a cut or rewritten tail shows.

A head is number and hash of the last record, the time, and a signature (Ed25519). What it proves depends on where the
key and the lines lie. The key is made beside the journal at the first start: who can rewrite the journal can then sign
new heads too, so against such a person only lines prove something that left the machine before (a notification, a file
on another host). Against bit rot, a bad restore or a careless edit the lines beside the journal are enough. Give the
key another path, readable by the bot and not by those who may touch the journal, and no line can be made without it.
Compare with the public key that was noted when the key was made: one that lies beside the journal can be exchanged too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bot.journal.chain import JournalError
from bot.journal.verify import Fault, Walk
from bot.terminal import now_ns
from data.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE, PUBLIC_FILE, HEADS_FILE = "heads.key", "heads.pub", "heads.jsonl"
_DOMAIN = b"tidegate head 1\n"


class Headed(Protocol):
    """A journal as far as a head tells of it."""

    @property
    def origin(self) -> str:
        """Hash of its first record."""
        ...

    def head(self) -> tuple[int, str]:
        """Number and hash of its last record."""
        ...


@dataclass(frozen=True)
class Head:
    """One line. journal: hash of the journal's first record; key and signature hexadecimal."""

    journal: str
    seq: int
    hash: str
    ns: int
    key: str
    signature: str

    def signed(self) -> bytes:
        """What the signature is over."""
        return _message(self.journal, self.seq, self.hash, self.ns, self.key)

    def line(self) -> str:
        """The head as it is kept, without a line's end."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def _message(journal: str, seq: int, stored: str, ns: int, key: str) -> bytes:
    told = {"journal": journal, "seq": seq, "hash": stored, "ns": ns, "key": key}
    return _DOMAIN + json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def load_key(file: Path) -> Ed25519PrivateKey:
    """The signing key; made at the first call, with mode 0600, and its public half in `heads.pub` beside it.

    Raises
    ------
    InputError
        Others may read it, or it is no Ed25519 key.
    JournalError
        It can't be read or written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        if not file.exists():
            _make_key(file)
        mode = file.stat().st_mode & 0o777
        raw = file.read_bytes()
    except OSError as error:
        raise JournalError(f"the signing key can't be read or made ({error.strerror})", why="io", file=file) from None
    if mode & 0o077:
        remedy = f"chmod 600 {file}"
        raise InputError(f"others may read this key (mode {mode:04o})", where=file, remedy=remedy)
    try:
        key = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("no Ed25519 key", where=file, remedy="Move it away; the next start makes one")
    return key


def _make_key(file: Path) -> None:
    """Write both halves, the public one first: a private key without it would never get one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (file.parent / PUBLIC_FILE).write_text(public_text(key) + "\n", encoding="ascii")
    draft = file.with_name(file.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, pem)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(file)


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half, 64 hexadecimal characters."""
    return key.public_key().public_bytes_raw().hex()


def read_public_key(file: Path) -> str:
    """A public key from a file, as hexadecimal text: in that form, or PEM.

    Raises
    ------
    InputError
        There is none in it.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=file) from None
    text = raw.decode("ascii", "replace").strip()
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    try:
        key = serialization.load_pem_public_key(raw)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("no Ed25519 public key", where=file, remedy="Name a heads.pub, or a PEM file")
    return key.public_bytes_raw().hex()


def sign_head(journal: Headed, key: Ed25519PrivateKey, *, ns: int | None = None) -> str:
    """A signed line that says how far the journal has come; `ns` is the time of day when left out."""
    seq, stored = journal.head()
    stamp, public = now_ns() if ns is None else ns, public_text(key)
    signature = key.sign(_message(journal.origin, seq, stored, stamp, public)).hex()
    return Head(journal.origin, seq, stored, stamp, public, signature).line()


def append_head(line: str, *files: Path) -> None:
    """Add a line to each file, durably; what a power cut left of an unfinished line there is cut off.

    Raises
    ------
    JournalError
        One of them can't be written; the others are.
    """
    failed: list[str] = []
    for file in files:
        try:
            _append(file, line)
        except OSError as error:
            failed.append(f"{file} ({error.strerror})")
    if failed:
        raise JournalError(f"a signed head can't be written to {', '.join(failed)}", why="io")


def _append(file: Path, line: str) -> None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        tail = os.pread(handle, 4096, max(size - 4096, 0))
        size -= len(tail) - (tail.rfind(b"\n") + 1)
        os.ftruncate(handle, size)
        os.pwrite(handle, line.encode() + b"\n", size)
        os.fsync(handle)
    finally:
        os.close(handle)


def read_heads(file: Path) -> list[Head]:
    """The heads of a file in order; an unfinished last line is left out.

    Raises
    ------
    InputError
        It can't be read, or holds a line that is no head.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror})", where=file) from None
    found = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            head = Head(**json.loads(line))
            whole = type(head.seq) is int and type(head.ns) is int
            texts = all(isinstance(part, str) for part in (head.journal, head.hash, head.key, head.signature))
        except (ValueError, TypeError):
            whole = texts = False
        if not (whole and texts):
            raise InputError(f"line {number} is no signed head", where=file, remedy="Take the file from a backup")
        found.append(head)
    return found


def check_signatures(heads: Sequence[Head], public: str | None) -> Fault | None:
    """The first head that isn't signed by `public` (without one: by the key that the first line names)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for head in heads:
        wanted = public or heads[0].key
        if head.key != wanted:
            told = f"the head of record {head.seq} is signed by another key ({head.key[:16]}, not {wanted[:16]})"
            return Fault(head.seq, "signature", told)
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(wanted)).verify(
                bytes.fromhex(head.signature), head.signed()
            )
        except (InvalidSignature, ValueError):
            return Fault(head.seq, "signature", f"the signature of the head of record {head.seq} is wrong")
    return None


def compare(heads: Iterable[Head], origin: str, found: Walk) -> Fault | None:
    """The first head, by record, that the journal's chain doesn't bear out. `found.hashes` has those of the heads."""
    agreed = 0
    for head in sorted(heads, key=lambda head: head.seq):
        if head.journal != origin:
            return Fault(head.seq, "other journal", f"the head of record {head.seq} is of another journal")
        if head.seq > found.seq:
            told = f"the tail was cut: the journal ends at record {found.seq}, a signed head knows record {head.seq}"
            return Fault(found.seq + 1, "cut", told)
        if found.hashes.get(head.seq) != head.hash:
            told = f"records {agreed + 1} to {head.seq} were rewritten: record {head.seq} isn't the one that was signed"
            if agreed + 1 == head.seq:
                told = f"record {head.seq} was rewritten: it isn't the one that was signed"
            return Fault(agreed + 1, "rewritten", told)
        agreed = head.seq
    return None


def fingerprint(public: str) -> str:
    """A short name of a public key, for people to compare."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]
