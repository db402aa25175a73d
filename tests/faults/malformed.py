"""What may become of a file: cut short, bits flipped, another type, huge numbers, nothing, another file. Seeded."""

import re
from collections.abc import Callable
from random import Random

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_HUGE = (b"9" * 5000, b"1e999", b"-1", b"1" + b"0" * 30, b"9223372036854775808", b"0x" + b"f" * 3000, b"-.inf", b"NaN")
_TYPES = (
    b"null",
    b'"x"',
    b"[1]",
    b'{"a": 1}',
    b"true",
    b"[[[[]]]]",
    b"2024-13-01",
    b"!!python/name:os.system",
    b"\xff",
)


def truncated(content: bytes, random: Random) -> bytes:
    """A beginning."""
    return content[: random.randrange(len(content))]


def flipped(content: bytes, random: Random) -> bytes:
    """One bit, or some, changed."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 8])):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def zeroed(content: bytes, random: Random) -> bytes:
    """A part overwritten with 0, as a disk leaves it that was full or lost its power."""
    begin = random.randrange(len(content))
    length = min(len(content) - begin, random.choice([1, 16, 4096]))
    return content[:begin] + bytes(length) + content[begin + length :]


def huge(content: bytes, random: Random) -> bytes:
    """A number that is too large: of a text one that it has, of another file some bytes near its beginning."""
    return _replaced(content, random, _HUGE, random.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff\xff"]))


def retyped(content: bytes, random: Random) -> bytes:
    """Something that is no number where a number was."""
    return _replaced(content, random, _TYPES, random.choice([b"abcdefgh", b"\0\0\0\0", b"PK\x03\x04"]))


def repeated(content: bytes, random: Random) -> bytes:
    """A part stands twice."""
    begin, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[begin:]


def emptied(content: bytes, random: Random) -> bytes:
    """Nothing, or nothing but 0."""
    return random.choice([b"", b"\n", bytes(len(content))])


Damage = Callable[[bytes, Random], bytes]
DAMAGES: tuple[Damage, ...] = (truncated, flipped, zeroed, huge, retyped, repeated, emptied)


def _replaced(content: bytes, random: Random, texts: tuple[bytes, ...], other: bytes) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if numbers and _is_text(content):
        found = random.choice(numbers)
        return content[: found.start()] + random.choice(texts) + content[found.end() :]
    begin = random.randrange(min(len(content), 64))
    return content[:begin] + other + content[begin + len(other) :]


def _is_text(content: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x80-\xff]", content)
