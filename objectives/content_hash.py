"""The hash of an object's content: equal for equal code and data, in any process, on any day.

Where code or data come from no file, this stands for the file's hash. A function is hashed by its
source text, or its compiled code where it has none of its own, with its defaults, what it closes
over, and what it uses of its own module. Arrays, tensors and tables are hashed by their numbers;
any other object by its class and its attributes. One that hides its state counts by its class
alone, and what is Python's own or an installed package's by its name.

Entry point: `content_hash`.
"""

import functools
import hashlib
import inspect
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, final

_PLAIN_TYPES = (type(None), bool, int, float, complex, str, bytes, PurePath)

_MAX_DEPTH = 60
"""Objects within objects; deeper ones count by their class."""


def content_hash(value: object) -> str:
    """Return the SHA-256 of an object's content, in hexadecimal digits."""
    hasher = _Hasher()
    hasher.add(value)
    return hasher.hexdigest()


@final
class _Hasher:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # as long as it lives, no other object has its id
        self._depth = 0

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def add(self, value: object) -> None:
        """Add an object; one that was added before counts by its place."""
        if isinstance(value, _PLAIN_TYPES):
            self._write(type(value).__name__, repr(value))
            return
        if id(value) in self._seen:
            self._write("again", str(self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._write("deep", _class_name(value))
        else:
            self._add_composite(value)
        self._depth -= 1

    def _add_composite(self, value: object) -> None:
        if isinstance(value, Mapping):
            self._write("mapping", f"{_class_name(value)} {len(value)}")
            for key, item in value.items():
                self.add(key)
                self.add(item)
        elif isinstance(value, list | tuple):
            self._add_all(_class_name(value), value)
        elif isinstance(value, set | frozenset):
            self._add_all(_class_name(value), sorted(content_hash(item) for item in value))
        elif isinstance(value, FunctionType):
            self._add_function(value)
        elif isinstance(value, MethodType):
            self._add_all("method", (value.__func__, value.__self__))
        elif isinstance(value, functools.partial):
            self._add_all("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, CodeType):
            self._add_code(value)
        elif isinstance(value, ModuleType):
            self._write("module", value.__name__)
        elif isinstance(value, BuiltinFunctionType):
            self._write("builtin", f"{value.__module__}.{value.__qualname__}")
        elif isinstance(value, Enum):
            self._write("enum", f"{_class_name(value)}.{value.name}")
        elif (numbers := _numbers(value)) is not None:
            for label, content in numbers:
                self._write_bytes(label, content)
        else:
            self._write("object", _class_name(value))
            if not _is_library_class(type(value)):
                self.add(type(value))
            self.add(_state(value))

    def _add_all(self, label: str, items: Iterable[object]) -> None:
        listed = list(items)
        self._write(label, str(len(listed)))
        for item in listed:
            self.add(item)

    def _add_function(self, function: FunctionType) -> None:
        self._write("function", function.__qualname__)
        if _is_library_module(function.__module__):
            self._write("of", function.__module__)
            return
        if (source := _source(function)) is not None:
            self._write("source", source)
        else:
            self.add(function.__code__)
        self._add_all("defaults", (function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self._write("cell", "empty")
        for name in sorted(_global_names(function.__code__)):
            if name in function.__globals__:
                self._write("global", name)
                self.add(function.__globals__[name])

    def _add_class(self, class_: type) -> None:
        self._write("class", f"{class_.__module__}.{class_.__qualname__}")
        if _is_library_class(class_):
            return
        self._add_all("bases", class_.__bases__)
        for name, member in sorted(vars(class_).items()):
            inner = member.fget if isinstance(member, property) else member
            inner = getattr(inner, "__func__", inner)  # of a static or class method
            if isinstance(inner, _MEMBER_TYPES) and name not in _OF_NO_MEANING:
                self._write("member", name)
                self.add(inner)

    def _add_code(self, code: CodeType) -> None:
        self._write_bytes("code", code.co_code)
        self._add_all("names", (code.co_names, code.co_varnames, code.co_freevars))
        self._add_all("constants", code.co_consts)

    def _write(self, label: str, text: str) -> None:
        self._write_bytes(label, text.encode("utf-8", "surrogatepass"))

    def _write_bytes(self, label: str, content: bytes | memoryview) -> None:
        # With its length, so that no two contents run together to the same bytes.
        size = content.nbytes if isinstance(content, memoryview) else len(content)
        self._digest.update(f"{label}:{size}:".encode())
        self._digest.update(content)


_MEMBER_TYPES = (FunctionType, *_PLAIN_TYPES, list, tuple, dict, set, frozenset)
"""Types of what a class has that makes a difference."""
_OF_NO_MEANING = {"__module__", "__qualname__", "__firstlineno__", "__doc__"}


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _source(function: FunctionType) -> str | None:
    """Return the text of a function; None where it has none of its own.

    A lambda's is that of the whole statement that it stands in. Where code was typed, `inspect`
    may show a file that it is not of.
    """
    filename = function.__code__.co_filename
    is_kept = Path(filename).is_file() or filename in linecache.cache  # as IPython's cells are
    if function.__name__ == "<lambda>" or not is_kept:
        return None
    try:
        return inspect.getsource(function)
    except (OSError, TypeError, SyntaxError):
        return None


def _global_names(code: CodeType) -> set[str]:
    """Return the names that code looks up in its module, also those of functions within it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def _is_library_class(class_: type) -> bool:
    return _is_library_module(class_.__module__)


def _is_library_module(name: str | None) -> bool:
    """Return whether a module is Python's own or an installed package's: its version is its own.

    Args:
        name: Of the module; None of code that was run under no name.
    """
    top = (name or "").partition(".")[0]
    if top in ("", "__main__"):
        return False
    if top in sys.stdlib_module_names:
        return True
    path = getattr(sys.modules.get(top), "__file__", None) or ""
    return top == "builtins" or "site-packages" in path or "dist-packages" in path


def _numbers(value: Any) -> Iterator[tuple[str, bytes | memoryview]] | None:
    """Return kind, shape and numbers of an array, a tensor or a table; None of anything else."""
    numpy, torch, pandas = (sys.modules.get(name) for name in ("numpy", "torch", "pandas"))
    if torch is not None and isinstance(value, torch.Tensor):
        return _tensor_numbers(value)
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series | pandas.Index):
        return _table_numbers(value)
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _array_numbers(value)
    return None


def _tensor_numbers(tensor: Any) -> Iterator[tuple[str, bytes | memoryview]]:
    torch = sys.modules["torch"]
    yield "tensor", f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout}".encode()
    dense = tensor.detach().cpu().to_dense() if tensor.layout != torch.strided else tensor
    dense = dense.detach().cpu().resolve_conj().resolve_neg().contiguous()
    yield "numbers", memoryview(dense.reshape(-1).view(torch.uint8).numpy())


def _array_numbers(array: Any) -> Iterator[tuple[str, bytes | memoryview]]:
    numpy: Any = sys.modules["numpy"]
    array = numpy.asarray(array)
    yield "array", f"{array.dtype} {array.shape}".encode()
    if array.dtype.hasobject:
        yield from _items(array)
    elif array.nbytes == 0:
        yield "numbers", b""
    else:
        # Seen as they lie, not copied: a file that is mapped may be larger than the memory.
        yield "numbers", memoryview(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8))


def _items(array: Any) -> Iterator[tuple[str, bytes | memoryview]]:
    """Return the hash of each object in an array."""
    for item in array.reshape(-1):
        yield "item", content_hash(item).encode()


def _table_numbers(table: Any) -> Iterator[tuple[str, bytes | memoryview]]:
    pandas = sys.modules["pandas"]
    numpy: Any = sys.modules["numpy"]
    yield "table", f"{type(table).__name__} {table.shape}".encode()
    if isinstance(table, pandas.DataFrame):
        kinds = [(str(name), str(kind)) for name, kind in zip(table, table.dtypes, strict=True)]
        columns = [table.iloc[:, index] for index in range(table.shape[1])]
    else:
        kinds, columns = [(str(table.name), str(table.dtype))], [table]
    yield "columns", repr(kinds).encode()
    for column in columns:
        cells = numpy.asarray(column.to_numpy(dtype=object))
        try:
            hashes = pandas.util.hash_array(cells)
        except TypeError:  # cells that Python itself has no hash of, such as lists
            yield from _items(cells)
        else:
            yield "numbers", hashes.tobytes()


def _state(value: object) -> object:
    """Return what an object consists of: its attributes, by name.

    Of a library's class only what it shows: a loader that was gone through is the same loader.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module):
        return {"training": value.training, **value.state_dict()}
    state = dict(getattr(value, "__dict__", {}))
    if _is_library_class(type(value)):
        state = {name: item for name, item in state.items() if not name.startswith("_")}
    for class_ in type(value).__mro__:
        slots = class_.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                state[name] = getattr(value, name)
    return state
