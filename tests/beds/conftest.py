from tests.e2e.conftest import album, broker, config, heard  # noqa: F401  # the same fixtures
