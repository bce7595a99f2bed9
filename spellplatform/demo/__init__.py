from pathlib import Path


def spells_file() -> Path:
    return Path(__file__).parent / "spells.toml"
