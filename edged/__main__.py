"""`python -m edged` and the `edged` of the wheel."""

from edged.cli import main

if __name__ == "__main__":
    main()
