"""No test of this folder starts a process."""

from tests.unit.alone import no_process

__all__ = ["no_process"]
