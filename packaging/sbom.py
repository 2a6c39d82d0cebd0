"""The bill of materials of a package, as CycloneDX 1.5 JSON: each wheel and each model, with its hash and licence."""

import email.parser
import hashlib
import json
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any


def to_sbom(version: str, wheels: list[Path], models: list[Path]) -> str:
    """The same bytes for the same input: no time, no random serial number."""
    edged = {"type": "application", "bom-ref": "edged", "name": "edged", "version": version, "licenses": [_licence("Apache-2.0")]}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": edged},
        "components": [_wheel(wheel) for wheel in wheels] + [_model(model) for model in models],
    }
    return json.dumps(bill, indent=1, ensure_ascii=False) + "\n"


def about(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def licence(metadata: Message) -> str:
    """An SPDX expression where the wheel states one, else the first line of whatever it says."""
    classifiers = [value.rsplit(" :: ", 1)[1] for value in metadata.get_all("Classifier", []) if value.startswith("License :: ")]
    said = metadata.get("License-Expression") or (metadata.get("License") or "").strip().partition("\n")[0]
    return said or ", ".join(classifiers) or "see its dist-info"


def _wheel(wheel: Path) -> dict[str, Any]:
    metadata = about(wheel)
    name, version = metadata["Name"].lower().replace("_", "-"), metadata["Version"]
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [_licence(licence(metadata))],
        "hashes": [_hash(wheel)],
        "properties": [{"name": "edged:wheel", "value": wheel.name}],
    }


def _model(model: Path) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.stem}",
        "name": model.stem,
        "licenses": [_licence("Apache-2.0")],
        "hashes": [_hash(model)],
    }


def _hash(file: Path) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def _licence(text: str) -> dict[str, Any]:
    return {"license": {"name": text}}
