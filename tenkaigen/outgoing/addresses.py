"""Which addresses of the network are public, and the one way a name becomes addresses.

Neither `is_global` nor `is_private` of the standard library is a filter: the first lets multicast and NAT64 of
127.0.0.1 through, the second 100.64.0.1. So both a positive list (IPv6) and our own negative list stand here.
"""

import socket
import threading
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

LOOKUPS_MAX = 32  # at a time in one process: the system's resolver cannot be told to stop
ADDRESSES_MAX = 16  # of one name

# RFC 6890 and its registry, without the rows that `is_global` already knows in every Python we run on, plus the
# address under which a large cloud serves its machines their secrets although it looks public.
NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also metadata of one cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Everything that is routed today lies in here. ::1, IPv4-mapped, NAT64, unique local, link-local and multicast do not.
UNICAST_6 = IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries an IPv4 address
        "2620:4f:8000::/48",
        "3ffe::/16",
        "3fff::/20",
    )
)
ISATAP = (0x00005EFE, 0x02005EFE)  # the middle of an address that ends in an IPv4 address


def is_public(text: str) -> bool:
    """Whether an address is one that anybody on the internet could reach."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in NOT_PUBLIC_4)
    return _is_public_6(address)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in UNICAST_6 or not address.is_global:
        return False
    if int(address) >> 32 & 0xFFFFFFFF in ISATAP:
        return False
    return not any(address in network for network in NOT_PUBLIC_6)


_slots = threading.BoundedSemaphore(LOOKUPS_MAX)


def look_up(host: str, port: int, seconds: float) -> list[str]:
    """Every address of a name, in the system's order, without repeats. One question, asked for at most `seconds`.

    Raises:
        OSError: no such name, no resolver, too slow, or `LOOKUPS_MAX` are waiting already.
    """
    if not _slots.acquire(blocking=False):
        raise OSError("too many lookups at once")
    found: Future[list[str]] = Future()
    threading.Thread(target=_ask, args=(found, host, port), name="look-up", daemon=True).start()
    try:
        return found.result(timeout=seconds)
    except TimeoutError:
        raise OSError("the resolver is slow") from None


def _ask(found: "Future[list[str]]", host: str, port: int) -> None:
    # The slot is given back when the resolver answers, not when the caller has stopped waiting.
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found.set_result(list(dict.fromkeys(str(address[0]) for *_, address in answers)))
    except (OSError, UnicodeError) as error:
        found.set_exception(OSError(str(error)))
    finally:
        _slots.release()
