"""Results as JSON that people read, too: short lists stand in one line."""

from __future__ import annotations

import json

JSON_WIDTH = 100  # characters per line; a list or mapping of plain values may be longer


def as_json(content: object, indent: int = 0) -> str:
    """Readable JSON: one line for what fits in it, and for each list or mapping of plain values.

    >>> print(as_json({"matrix": [[1, 0], [0, 2]], "note": "a" * 75}))
    {
     "matrix": [[1, 0], [0, 2]],
     "note": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    }
    """
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    if not isinstance(content, dict | list) or len(line) <= JSON_WIDTH - indent:
        return line
    values = content.values() if isinstance(content, dict) else content
    if not any(isinstance(value, dict | list) for value in values):
        return line
    inner = [as_json(value, indent + 1) for value in values]
    if isinstance(content, dict):
        keys = [json.dumps(key, ensure_ascii=False) for key in content]
        inner = [f"{key}: {value}" for key, value in zip(keys, inner, strict=True)]
    pad = "\n" + " " * indent
    return f"{line[0]}{pad} " + f",{pad} ".join(inner) + f"{pad}{line[-1]}"
