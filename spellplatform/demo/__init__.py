from pathlib import Path


def spells_file() -> Path:
    """Return the demo's spells."""
    return Path(__file__).parent / "spells.toml"
