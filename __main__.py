"""`python -m tutelage` is the command `tutelage`; `torchrun -m tutelage train` starts several processes."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main()
