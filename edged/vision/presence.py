"""`python -m edged.vision.presence MODULE …`: which libraries load, from where, in which version; told line by line.

A library that was built for another processor or another numpy may take the process with it; the asking end,
edged/doctor/libraries.py, sees which one was the last.
"""

import importlib
import importlib.metadata
import json
import sys

_COLOURS = "colours"


def main() -> None:
    for name in sys.argv[1:]:
        print(json.dumps({"begins": name}), flush=True)  # noqa: T201  # the answer
        told = to_colours() if name == _COLOURS else to_presence(name)
        print(json.dumps({"module": name} | told), flush=True)  # noqa: T201


def to_presence(name: str) -> dict[str, str]:
    """file, version and distribution of a module, or the error that it ends with."""
    try:
        module = importlib.import_module(name)
    except (ImportError, ValueError, AttributeError, RuntimeError, OSError) as error:
        # numpy says in several lines which half of a mismatch was built for which
        missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        return {"error": " ".join(str(error).split())[:600] or type(error).__name__, "missing": missing}
    file = str(getattr(module, "__file__", "") or "")
    owner = next(iter(importlib.metadata.packages_distributions().get(name.partition(".")[0], [])), "")
    version = importlib.metadata.version(owner) if owner else str(getattr(module, "__version__", ""))
    return {"file": file, "version": version, "distribution": owner}


def to_colours() -> dict[str, str]:
    """Whether a red picture is red after the conversion that each camera's layout goes through."""
    try:
        from edged.vision.colours import swapped_layouts
    except (ImportError, ValueError, AttributeError, RuntimeError, OSError) as error:
        return {"error": " ".join(str(error).split())[:200]}
    return {"swapped": ", ".join(swapped_layouts())}


if __name__ == "__main__":
    main()
