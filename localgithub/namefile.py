"""Files of NAME=value lines: the secrets and variables that runs see."""

import re
from pathlib import Path

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", re.ASCII | re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_names(path: Path) -> dict[str, str]:
    r"""Return the names and values of a file. Raise SystemExit, naming the line that is wrong, never its content.

    Values may be quoted, and then span several lines: taken literally in single quotes, with escapes such as \n in
    double quotes. Without quotes a value ends before ` #`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path} can't be read: {error.__class__.__name__}") from None
    found: dict[str, str] = {}
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if match is None:
            raise SystemExit(f"line {number} of {path} is no NAME=value")
        name, value = match[1].upper(), match[2].strip()  # GitHub keeps them in capitals
        if name.startswith("GITHUB_"):
            raise SystemExit(f"line {number} of {path}: {name} begins with GITHUB_, which GitHub keeps for itself")
        sign = value[:1]
        if sign in ("'", '"'):
            while not _closes(value, sign):
                _, more = next(lines, (0, None))
                if more is None:
                    raise SystemExit(f"line {number} of {path}: the quote of {name} does not end")
                value += "\n" + more
            value = value[1 : value.rindex(sign)]
            if sign == '"':
                value = re.sub(r'\\([nrt"\\$])', lambda escape: _ESCAPES[escape[1]], value)
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        found[name] = value
    return found


def _closes(value: str, sign: str) -> bool:
    """Whether a quoted value ends here, perhaps with a comment after it."""
    inside = value[1:] if sign == "'" else re.sub(r"\\.", "__", value[1:], flags=re.DOTALL)
    return bool(re.search(sign + r"\s*(#.*)?$", inside))
