"""Certificates of any time, as openssl makes them."""

import subprocess
from pathlib import Path

_AUTHORITY = """[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
[any]
commonName = supplied
"""


def make_certificate(folder: Path, begins: str, ends: str) -> tuple[Path, Path]:
    """Certificate and key. begins, ends: YYYYMMDDHHMMSSZ."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    (folder / "ca.cnf").write_text(_AUTHORITY)
    (folder / "index.txt").write_text("")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"]
    openssl("req", *new, "-keyout", "page.key", "-out", "page.csr")
    sign = ["-selfsign", "-batch", "-keyfile", "page.key", "-in", "page.csr", "-out", "page.crt"]
    openssl("ca", "-config", "ca.cnf", *sign, "-startdate", begins, "-enddate", ends)
    return folder / "page.crt", folder / "page.key"
