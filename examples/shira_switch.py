"""libshira_switch from Python: adapters on numpy arrays, in place, without LibTorch.

A binding of shira_switch.h in one file, to be copied, and a program that shows it: it reads a checkpoint into memory,
switches among adapters, prints how long that takes, and holds the weights against the file at the end.

usage: shira_switch.py LIBRARY BASE_DIR ADAPTER_DIR...

LIBRARY is build/lib/libshira_switch.so, or where it is installed.
"""

import contextlib
import ctypes
import json
import struct
import sys
import time
from pathlib import Path

import numpy


class SwitchError(Exception):
    """What a function of the library reports; it has changed nothing then. `status` as in shira_switch.h."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_char_p),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
    ]


class _ScaledAdapter(ctypes.Structure):
    _fields_ = [("adapter", ctypes.c_void_p), ("scale", ctypes.c_double)]


class _Handle:
    """What the library made; freed by close() or with the object."""

    def __init__(self, library, kind, *arguments):
        self.library, self.kind = library, kind
        self.pointer = library.make(*arguments)

    def close(self):
        if self.pointer:
            self.library.call(f"{self.kind}_free", self.pointer)
        self.pointer = None

    def __del__(self):
        if getattr(self, "pointer", None):
            with contextlib.suppress(SwitchError):
                self.close()


class Patch(_Handle):
    """Adapters at scales, resolved against one base."""

    def _number(self, function):
        number = ctypes.c_int64()
        self.library.call(function, self.pointer, ctypes.byref(number))
        return number.value

    def __len__(self):
        """How many weights it writes."""
        return self._number("patch_nnz")

    @property
    def unchecked(self):
        """How many tensors could not be held against the base's values."""
        return self._number("patch_unchecked")


class Base(_Handle):
    """The weights of one model: {name: (dtype, array)}, dtype as safetensors spells it ("BF16" on an array of uint16).

    The arrays stay where they are and are written in place.
    """

    def __init__(self, library, weights):
        self.arrays = [array for _, array in weights.values()]  # they live as long as the base
        for name, (dtype, array) in weights.items():
            bits = int("".join(filter(str.isdigit, dtype.split("_")[0])) or 8)  # BOOL has no number
            fits = array.flags.c_contiguous and array.flags.writeable and array.dtype.isnative
            if not fits or 8 * array.itemsize != bits:
                raise ValueError(f"{name}: expected a contiguous, writeable, native array of {bits}-bit items for {dtype}")
        tensors = (_Tensor * len(weights))(
            *(
                _Tensor(
                    name.encode(),
                    array.ctypes.data,
                    dtype.encode(),
                    array.ndim,
                    (ctypes.c_int64 * array.ndim)(*array.shape),
                )
                for name, (dtype, array) in weights.items()
            )
        )
        super().__init__(library, "base", "base_new", tensors, ctypes.c_size_t(len(weights)))

    def resolve(self, *scaled, force=False):
        """The patch of adapters, each an Adapter or a pair (Adapter, scale)."""
        pairs = [item if isinstance(item, tuple) else (item, 1.0) for item in scaled]
        items = (_ScaledAdapter * len(pairs))(
            *(_ScaledAdapter(adapter.pointer, scale) for adapter, scale in pairs)
        )
        count = ctypes.c_size_t(len(pairs))
        return Patch(
            self.library, "patch", "resolve", self.pointer, items, count, ctypes.c_int(force)
        )

    def apply(self, patch):
        self.library.call("apply", self.pointer, patch.pointer)

    def switch_to(self, patch):
        self.library.call("switch_to", self.pointer, patch.pointer)

    def revert(self):
        self.library.call("revert", self.pointer)

    @contextlib.contextmanager
    def lease(self):
        """Within it the weights stay as they are, whoever wants to switch."""
        lease = self.library.make("lease_acquire", self.pointer)
        try:
            yield
        finally:
            self.library.call("lease_release", lease)


class Library:
    """The shared library at `path`."""

    def __init__(self, path):
        self.functions = ctypes.CDLL(str(path))
        self.functions.shira_switch_last_error.restype = ctypes.c_char_p
        self.functions.shira_switch_version.restype = ctypes.c_char_p
        self.version = self.functions.shira_switch_version().decode()

    def call(self, function, *arguments):
        status = getattr(self.functions, f"shira_switch_{function}")(*arguments)
        if status != 0:
            raise SwitchError(status, self.functions.shira_switch_last_error().decode(errors="replace"))

    def make(self, function, *arguments):
        """The handle that the function writes to its last argument."""
        result = ctypes.c_void_p()
        self.call(function, *arguments, ctypes.byref(result))
        return result

    def base(self, weights):
        return Base(self, weights)

    def adapter(self, directory):
        return _Handle(self, "adapter", "adapter_load", str(directory).encode())


NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


def read_weights(file):
    """{name: (dtype, array)} of a safetensors file, in memory of their own."""
    content = Path(file).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    weights = {}
    for name, tensor in header.items():
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        values = numpy.frombuffer(bytearray(content[begin:end]), NUMPY_DTYPES[tensor["dtype"]])
        weights[name] = (tensor["dtype"], values.reshape(tensor["shape"]))
    return weights


def main(library_path, base_directory, *adapter_directories):
    library = Library(library_path)
    file = Path(base_directory) / "model.safetensors"
    weights = read_weights(file)
    base = library.base(weights)
    patches = [base.resolve(library.adapter(directory)) for directory in adapter_directories]
    print(f"libshira_switch {library.version}: {len(weights)} tensors, {len(patches)} adapters")
    for directory, patch in zip(adapter_directories, patches):
        begin = time.perf_counter()
        base.switch_to(patch)
        microseconds = 1e6 * (time.perf_counter() - begin)
        print(f"switched to {directory}: {len(patch)} weights in {microseconds:.0f} microseconds")
    base.revert()
    is_unchanged = all(
        array.tobytes() == original.tobytes()
        for (_, array), (_, original) in zip(weights.values(), read_weights(file).values())
    )
    print(f"every bit of the base is back: {'yes' if is_unchanged else 'NO'}")
    return 0 if is_unchanged else 1


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
