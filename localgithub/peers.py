"""Tells whose program is at the other end of a connection on this machine."""

import ipaddress
import os
import sys
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # Linux alone has them
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_trusted(theirs: tuple[str, int], ours: tuple[str, int], tables: tuple[Path, ...] = TABLES) -> bool:
    """Return whether a caller is on this machine, and the user who runs this server or root.

    Given both ends of the connection, each as address and port. Where the system does not tell whose it is,
    everybody on this machine is trusted.
    """
    try:
        ends = [(_plain(address), port) for address, port in (theirs, ours)]
    except ValueError:
        return False
    if not ends[0][0].is_loopback:
        return False
    known = [table for table in tables if table.exists()]
    # Both ends, since others may have used the caller's port for connections to elsewhere.
    rows = {tuple(_written(form, port) for form, (_, port) in zip(forms, ends, strict=True)) for forms in _forms(ends)}
    for table in known:
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[2]) in rows and int(fields[7]) in (0, os.getuid()):
                return True
    return not known


def _plain(address: str) -> Address:
    place = ipaddress.ip_address(address)
    return (place.ipv4_mapped or place) if isinstance(place, ipaddress.IPv6Address) else place


def _forms(ends: list[tuple[Address, int]]) -> list[list[Address]]:
    """Return both addresses as the tables may have them: those of version 4 also within version 6."""
    places = [place for place, _ in ends]
    within: list[Address] = [
        place if place.version == 6 else ipaddress.IPv6Address(f"::ffff:{place}") for place in places
    ]
    return [places, within]


def _written(place: Address, port: int) -> str:
    """Write an address as the kernel does: each four bytes as a number of this machine."""
    packed = place.packed
    words = [int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
