"""The JSON of the pages, for programs: docs/data-contract.md, "JSON over HTTP"."""
