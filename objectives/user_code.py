"""A user's own code: loading it by reference, and saying what went wrong in it.

A reference is `FILE.py:name` or `package.module:name`; or it names an object of this program
(`held_objects`). A file is looked for beside the spec (`base`) and runs once per process; the
folder it lies in goes to the end of `sys.path`, so that it can import its neighbours. Not to the
front, as `python FILE.py` would do: a `queue.py` there would stand for the standard library's in
all that is imported from then on.

An exception of a user's code becomes one sentence that names the line. Running out of memory is no
mistake of the user's, but an outcome of a trial, and is passed on as it is. Nothing here imports
torch: where it was never imported, no exception comes from it.

What a user's code prints goes to standard error: standard output is for our answers.

Whatever a user's code raises is an error of that code: also `sys.exit` and
`asyncio.CancelledError`, which are no `Exception`. Only a person's Ctrl-C passes.

Entry points: `load_object` gives the function, `LoadedFiles` takes what was loaded to another
process, `source_fingerprint` gives the hash of a source file; `user_errors` turns what a user's
code raises into an error of ours; `raised_by_user_code`, `user_code_location`, `first_line`,
`root_cause`, `is_out_of_memory` and `is_tensor_too_large` read an exception.
"""

import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, final

from .errors import ImportFailure, ObjectiveError, describe_error, did_you_mean, error_message
from .held_objects import extend_path, held, held_hash, is_held_reference
from .interrupt import raise_if_interrupt

_OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",  # torch's CPU allocator, which raises a plain RuntimeError
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuBLAS and cuDNN: CUBLAS_STATUS_ALLOC_FAILED
)

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
"""Names of the folders of installed packages: this environment's, its base's, an overlay's."""

_MODULE_PREFIX = "widthwise_user_"
"""How the names of modules begin that were loaded from a user's file."""

_TOO_LARGE_MESSAGE = "calculation overflowed"  # the words of torch's storage size check


def load_object(reference: str, base: Path) -> Callable[..., Any]:
    """Return the function (or class) that a reference names.

    Args:
        reference: `FILE.py:name`, relative to `base`, or `package.module:name`.
        base: The folder of the spec.

    Raises:
        ImportFailure: Nothing callable is there; the sentence says which part is missing.
    """
    if is_held_reference(reference):
        return held(reference)  # type: ignore[no-any-return]
    source, name = _split_reference(reference)
    extend_path()
    module = _load_file(source, base) if _is_file(source) else _load_module(source, base)
    resolved: Any = module
    for attribute in name.split("."):
        if not hasattr(resolved, attribute):
            raise ImportFailure(f"{source} has no '{name}': {_suggest_names(name, module)}")
        resolved = getattr(resolved, attribute)
    if not callable(resolved):
        kind = type(resolved).__name__
        raise ImportFailure(f"{reference} is of type {kind}, not a function: name one to call.")
    return resolved  # type: ignore[no-any-return]


def source_fingerprint(reference: str, base: Path) -> str:
    """Return the SHA-256 of the source file that a reference names, or of the object itself.

    Raises:
        ImportFailure: There is no such file or module.
    """
    if is_held_reference(reference):
        held(reference)  # where it is not, nothing can be done with the hash
        return held_hash(reference)
    source, _ = _split_reference(reference)
    if _is_file(source):
        return hashlib.sha256(_resolve_file(source, base).read_bytes()).hexdigest()
    _append_to_sys_path(base)
    extend_path()
    with user_errors(lambda error: ImportFailure(_import_failure_message(source, error))):
        spec = importlib.util.find_spec(source)
    if spec is None:
        raise ImportFailure(_no_module_message(source, base))
    if spec.origin is None or not Path(spec.origin).is_file():
        # A module without a file (built in, or a namespace): its name is all there is to hash.
        return hashlib.sha256(source.encode()).hexdigest()
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


@final
class LoadedFiles:
    """The files of user code that this process has loaded.

    Pickled before anything that is defined in them, they are loaded in the process that unpickles:
    one that was not forked, such as a worker of a loader.
    """

    def __reduce__(self) -> tuple[Callable[[list[str]], "LoadedFiles"], tuple[list[str]]]:
        files = [
            str(module.__file__)
            for name, module in sys.modules.items()
            if name.startswith(_MODULE_PREFIX)
        ]
        return _load_files, (files,)


@contextmanager
def user_errors(
    describe: Callable[[BaseException], ObjectiveError], *, keep_out_of_memory: bool = False
) -> Iterator[None]:
    """Raise an error of ours in place of whatever a user's code raises inside.

    Ctrl-C passes, and so do errors of ours. What is printed inside goes to standard error.

    Args:
        describe: Returns the error for what was raised.
        keep_out_of_memory: Whether memory that ran out passes as it is: in a trial that is an
            outcome, outside of one it has to be said.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ObjectiveError:
        raise
    except BaseException as error:
        raise_if_interrupt(error)
        if keep_out_of_memory and is_out_of_memory(error):
            raise
        raise describe(error) from error


def raised_by_user_code(error: BaseException, *own_folders: Path) -> bool:
    """Return whether an exception was raised below code that is neither ours nor a library's.

    Args:
        error: With its traceback.
        own_folders: Where what may raise it rightly lies, besides this package.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = (str(Path(__file__).parent.parent), *map(str, own_folders))
    return bool(frames) and not frames[-1].filename.startswith(own)


def user_code_location(error: BaseException) -> str:
    """Return " (at FILE.py line N)" for the innermost line of the user's own code, or ""."""
    frames = [
        frame
        for frame in reversed(traceback.extract_tb(error.__traceback__))
        if not frame.filename.startswith(_library_prefixes())
    ]
    # Code of an installed package may be the user's, where nothing else is.
    own = [frame for frame in frames if not _is_installed(frame.filename)]
    for frame in own or frames:
        return f" (at {Path(frame.filename).name} line {frame.lineno})"
    return ""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, without a full stop."""
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def root_cause(error: BaseException) -> BaseException:
    """Return the first cause of an error that was raised `from` another."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory, of the host or the device, ran out."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    message = error_message(error)
    return isinstance(error, RuntimeError) and any(
        part in message for part in _OUT_OF_MEMORY_MESSAGES
    )


def is_tensor_too_large(error: BaseException) -> bool:
    """Return whether torch refused a tensor of more than 2**63 bytes."""
    return _TOO_LARGE_MESSAGE in error_message(error)


def _split_reference(reference: str) -> tuple[str, str]:
    source, _, name = reference.rpartition(":")
    if not source.strip() or not name.strip():
        raise ImportFailure(
            f"'{reference}' does not name code: write FILE.py:name or package.module:name."
        )
    return source.strip(), name.strip()


def _is_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source or "\\" in source


def _resolve_file(source: str, base: Path) -> Path:
    path = (base / Path(source).expanduser()).resolve()
    if path.is_dir():
        raise ImportFailure(f"{path} is a folder: name the Python file in it.")
    if not path.is_file():
        raise ImportFailure(f"there is no file {path}: check the path (relative to {base}).")
    return path


def _load_files(files: list[str]) -> LoadedFiles:
    for file in files:
        _load_file(file, Path())
    return LoadedFiles()


def _load_file(source: str, base: Path) -> ModuleType:
    path = _resolve_file(source, base)
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    # One stable name per path: loaded once, and what it defines can be pickled.
    name = f"{_MODULE_PREFIX}{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportFailure(f"{path} is not a Python source file: its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    _append_to_sys_path(path.parent)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look their module up
    try:
        with user_errors(lambda error: ImportFailure(_import_failure_message(str(path), error))):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _load_module(source: str, base: Path) -> ModuleType:
    _append_to_sys_path(base)
    with user_errors(lambda error: _module_failure(source, base, error)):
        return importlib.import_module(source)


def _append_to_sys_path(folder: Path) -> None:
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.append(entry)
        importlib.invalidate_caches()


def _no_module_message(name: str, base: Path) -> str:
    return f"there is no module '{name}': it is neither installed nor in {base.resolve()}."


def _module_failure(source: str, base: Path, error: BaseException) -> ImportFailure:
    """Return the error for a module whose import raised, or that is not there."""
    if isinstance(error, ModuleNotFoundError):
        missing = error.name or ""
        if source == missing or source.startswith(f"{missing}."):
            return ImportFailure(_no_module_message(missing, base))
    return ImportFailure(_import_failure_message(source, error))


def _import_failure_message(source: str, error: BaseException) -> str:
    """Return what an import raised, and in which line of the user's file where that is known."""
    if isinstance(error, SyntaxError):
        return f"{source} is not valid Python: {error.msg} (line {error.lineno})."
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == source
    ]
    line_note = f" in line {lines[-1]}" if lines else ""
    return (
        f"{source} raised {describe_error(error)}{line_note} while being imported: mend it, or "
        "name another."
    )


def _suggest_names(name: str, module: ModuleType) -> str:
    public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    if hint := did_you_mean(name, public, count=3):
        return hint
    if public:
        return "it has " + ", ".join(f"'{key}'" for key in sorted(public)[:10]) + "."
    return "it defines no function."


def _is_installed(filename: str) -> bool:
    """Return whether a source file is Python's own or an installed package's."""
    in_package = not _PACKAGE_FOLDERS.isdisjoint(Path(filename).parts)
    return in_package or filename.startswith(_STANDARD_LIBRARY)


def _library_prefixes() -> tuple[str, ...]:
    """Return how the names of source files begin that are not the user's."""
    torch = sys.modules.get("torch")
    torch_folder = () if torch is None else (str(Path(str(torch.__file__)).parent),)
    return (*torch_folder, str(Path(__file__).parent), "<frozen")
