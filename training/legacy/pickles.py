"""A pickle read as the data it is: nothing is imported, looked up or called.

Python's own unpickler calls what a pickle names, and even with ``find_class`` restricted it lets a pickle set
attributes on what it was given and reserve gigabytes with ten bytes. This reader knows the instructions that
a plain object of words and numbers needs, and no others. Each makes at most one small object, so memory is
bounded by the size of the file.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from typing import Any, NamedTuple, TypeVar

from training.legacy.errors import LegacyError, described, quoted

T = TypeVar("T")

_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
# The argument is the value.
_LITERALS = (
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
)


class Global(NamedTuple):
    """A class or function that a pickle names. It is a name and stays one."""

    module: str
    name: str

    def __str__(self) -> str:
        return quoted(f"{self.module}.{self.name}")


class Instance:
    """Stands for an object of a class that the pickle names."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}


RECONSTRUCTORS = (Global("copy_reg", "_reconstructor"), Global("copyreg", "_reconstructor"))
OBJECTS = (Global("__builtin__", "object"), Global("builtins", "object"))


def read_attributes(raw: bytes, classes: tuple[Global, ...]) -> dict[Any, Any]:
    """Attributes of the one object in a pickle of protocol 0 to 5; Python 2's str is taken for UTF-8.

    :param classes: the classes it may be of
    :raises LegacyError: it names anything else, would call something, or holds no object but plain data; the
        message continues a sentence that begins with the file's name
    """
    try:
        value = _Machine(raw, classes).run()
    except (ValueError, IndexError, KeyError, OverflowError):
        raise LegacyError(f"is damaged, cut off or no pickle: {described(raw, len(raw))}") from None
    if not isinstance(value, Instance):
        raise LegacyError(f"holds {type(value).__name__} where an object of {classes[0]} was expected")
    return value.attributes


class _Machine:
    """The pickle machine without the instructions that reach outside it. Malformed input raises ValueError,
    IndexError, KeyError or OverflowError."""

    def __init__(self, raw: bytes, classes: tuple[Global, ...]) -> None:
        self.stream = io.BytesIO(raw)
        self.classes = classes
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each open mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            opcode = _OPCODES[self.stream.read(1)]
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name == "STRING":  # pickletools would take ASCII alone
                line = pickletools.read_stringnl(self.stream, decode=False)
                self.stack.append(codecs.escape_decode(line)[0].decode())
            else:
                argument = opcode.arg.reader(self.stream) if opcode.arg else None
                self.execute(opcode.name, argument)

    def execute(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
            return
        match name:
            case "PROTO" | "FRAME":
                pass
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument.encode("latin-1").decode())
            case "NONE":
                stack.append(None)
            case "GLOBAL":
                self.push_global(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                self.push_global(_typed(module, str), _typed(attribute, str))
            case "MARK":
                self.marked.append(stack)
                self.stack = []
            case "TUPLE":
                items = self.pop_to_mark()
                self.stack.append(tuple(items))
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                items = self.pop_to_mark()
                self.stack.append({})
                self.set_items(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.set_items([key, value])
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self.instance(function, arguments, name))
            case "BUILD":
                attributes = _typed(stack.pop(), dict)
                _typed(stack[-1], Instance).attributes = attributes
            case _:
                raise LegacyError(
                    f"holds a pickle instruction that words do not need ({name}); nothing was run"
                )

    def push_global(self, module: str, name: str) -> None:
        found = Global(module, name)
        if found not in (*self.classes, *RECONSTRUCTORS, *OBJECTS):
            raise LegacyError(f"asks for {found} where {self.classes[0]} was expected; nothing was run")
        self.stack.append(found)

    def instance(self, function: Any, arguments: Any, how: str) -> Instance:
        """What ``class.__new__()`` or ``_reconstructor(class, object, None)`` would give."""
        if how == "NEWOBJ" and function in self.classes and arguments == ():
            return Instance()
        if how == "REDUCE" and function in RECONSTRUCTORS and isinstance(arguments, tuple):
            of, base, state = arguments
            if of in self.classes and base in OBJECTS and state is None:
                return Instance()
        raise LegacyError(f"would call {_typed(function, Global)} in an unknown way; nothing was run")

    def set_items(self, items: list[Any]) -> None:
        target = _typed(self.stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (int, str):
                raise ValueError
            target[key] = value

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise ValueError
    return value
