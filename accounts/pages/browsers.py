"""What a browser is called, by what it says of itself; for people who look for their own among their sessions."""

from __future__ import annotations

# The first that fits: most name others besides themselves.
BROWSERS = (
    *(("Edg", "Edge"), ("OPR/", "Opera"), ("Vivaldi", "Vivaldi"), ("SamsungBrowser", "Samsung Internet")),
    *(("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrom", "Chrome"), ("Safari", "Safari")),
    ("curl", "curl"),
)
SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS")),
    *(("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux")),
)


def called(text: str) -> str:
    """Return such as "Firefox on Linux"; the beginning of the text where nothing in it is known."""
    browser = next((name for mark, name in BROWSERS if mark in text), "")
    system = next((name for mark, name in SYSTEMS if mark in text), "")
    return " on ".join(filter(None, (browser, system))) or text[:60] or "A browser that does not say which"
