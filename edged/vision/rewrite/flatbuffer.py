"""The one door to the runtime's schema: a .tflite's bytes → an object tree that may be changed, and back.

The tree is the schema's own (`ModelT`: operatorCodes, subgraphs, buffers …; constants are uint8 arrays in `buffers[n].data`).
Reading a damaged file may take long or much memory: only in a sandbox. Importing this loads nothing; the schema comes late.
"""

import importlib
import struct
from typing import Any

import numpy as np

from edged.errors import ModelError
from edged.system.files import LARGEST_BYTES

_SCHEMA = "ai_edge_litert.schema_py_generated"
# what the schema's code raises over damaged bytes, or a tree that cannot be written
_DAMAGE = (struct.error, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, AssertionError, RecursionError)


class NoSchemaError(ModelError):
    """The installed runtime does not bring the schema of .tflite files (tflite-runtime does not)."""


def load_schema() -> Any:
    """The module with `ModelT`, `TensorT`, `BuiltinOperator` … Raises NoSchemaError."""
    try:
        return importlib.import_module(_SCHEMA)
    except ImportError:
        raise NoSchemaError("the installed runtime brings no schema of .tflite files, so none can be rewritten") from None


def read(model: bytes) -> Any:
    """The `ModelT` of a file's bytes: one subgraph, whole buffers. Raises ModelError, NoSchemaError; any thread."""
    schema = load_schema()
    if len(model) > LARGEST_BYTES:
        raise ModelError(f"the model is larger than {LARGEST_BYTES >> 20} MB: no classifier for a Pi is")
    if model[4:8] != b"TFL3":
        raise ModelError("this is not a .tflite file: the mark TFL3 is missing at its beginning")
    try:
        tree = schema.ModelT.InitFromPackedBuf(model, 0)
    except _DAMAGE:
        raise ModelError("the model file is cut off or damaged: copy it again") from None
    if len(tree.subgraphs or ()) != 1 or not tree.subgraphs[0].operators or not tree.operatorCodes or not tree.buffers:
        raise ModelError("the model is no plain graph of one part: it cannot be rewritten")
    for code in tree.operatorCodes:  # files from before 2020 have it only in the older of its two fields
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    for buffer in tree.buffers:
        _take_in(buffer, model)
    return tree


def _take_in(buffer: Any, model: bytes) -> None:
    """Constants that lie behind the graph, as newer converters put them, become the tree's own. Raises ModelError."""
    at, size = getattr(buffer, "offset", 0), getattr(buffer, "size", 0)  # schemas before 2024 do not know them
    if at <= 1:  # 1 is the mark of a buffer whose place was never filled in
        return
    if at + size > len(model):
        raise ModelError("the model file is cut off or damaged: copy it again")
    buffer.data, buffer.offset, buffer.size = np.frombuffer(model, np.uint8, size, at), 0, 0


def write(tree: Any) -> bytes:
    """The file's bytes of a `ModelT`. Raises ModelError for a tree that cannot be written; any thread."""
    import flatbuffers  # type: ignore[import-untyped]  # comes with the runtime that brings the schema

    builder = flatbuffers.Builder(1 << 20)
    try:
        builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
    except _DAMAGE as error:
        raise ModelError(f"the changed model cannot be written: {type(error).__name__}") from None
