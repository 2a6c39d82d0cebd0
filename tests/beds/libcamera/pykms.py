"""Stands in for the Python binding of kms++, which Debian does not have and picamera2 imports in any case."""


class _Formats(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Formats):
    """Every format is its own name; a DRM preview, which edged never opens, would fail on it."""
