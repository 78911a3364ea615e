"""Write docs/store-columns.md: every column of a store, from the schema itself."""

from __future__ import annotations

from pathlib import Path

from tutelage.datasets.column_docs import page
from tutelage.datasets.schema import SCHEMA, VERSION

PAGE = Path(__file__).parent / "store-columns.md"

if __name__ == "__main__":
    PAGE.write_text(page(SCHEMA, VERSION), "utf-8")
