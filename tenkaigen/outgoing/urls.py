"""The one parser of addresses that come from outside. What is checked is what is fetched: nothing parses them again."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urljoin, urlsplit

import idna

from tenkaigen.outgoing.errors import UrlRefused

URL_CHARS_MAX = 2048
HOST_CHARS_MAX = 253
PORTS = {"https": 443, "http": 80}
# A last label that begins with a digit makes the whole a number for some resolvers: 0x7f.1, 127.1.
_NAME = re.compile(r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)+(?!-)[a-z][a-z0-9-]{0,61}[a-z0-9]")
_INSIDE = frozenset(
    ["localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion", "invalid"]
)
_TAKEN_AS_IS = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True, slots=True)
class Target:
    """An address in the parts that a connection is made of. `local`: one of the servers a test has started."""

    scheme: str
    host: str
    port: int
    path: str  # with the query
    is_local: bool = False

    @property
    def authority(self) -> str:
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse(url: str, *, local_ports: Collection[int] = ()) -> Target:
    """Take an address apart.

    Args:
        local_ports: ports of a test's own servers, for which plain http and bare loopback addresses will do.

    Raises:
        UrlRefused: anything but https to a public name on port 443; the message says what.
    """
    _refuse_odd_characters(url)
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise UrlRefused("This is not an address.") from None
    if "@" in parts.netloc or parts.netloc.endswith(":"):
        raise UrlRefused("Use an address without a user name, password or empty port.")
    is_local = port in local_ports
    if not is_local and (parts.scheme, port) != ("https", 443):
        raise UrlRefused("Use an address that begins with https:// and names no port.")
    if parts.scheme not in PORTS:
        raise UrlRefused("Use an address that begins with https://.")
    host = _host(parts.netloc.rpartition(":")[0] if parts.port else parts.netloc, is_local)
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme, host, port, quote((parts.path or "/") + query, safe=_TAKEN_AS_IS), is_local)


def follow(seen_from: Target, location: str, *, local_ports: Collection[int] = ()) -> Target:
    """Where a redirect leads.

    Raises:
        UrlRefused: as `parse`.
    """
    _refuse_odd_characters(location)
    try:
        url = urljoin(seen_from.url, location)
    except ValueError:
        raise UrlRefused("This is not an address.") from None
    return parse(url, local_ports=local_ports)


def is_among(host: str, hosts: Collection[str]) -> bool:
    """Whether a host is on a list. `.example.com` stands for every name below it."""
    return any(host == entry or (entry.startswith(".") and host.endswith(entry)) for entry in hosts)


def _refuse_odd_characters(url: str) -> None:
    if len(url) > URL_CHARS_MAX:
        raise UrlRefused(f"Use an address of at most {URL_CHARS_MAX:,} characters.")
    # Parsers disagree about a backslash and drop tabs and line breaks; each of that has been a hole somewhere.
    if "\\" in url or any(char.isspace() or not char.isprintable() for char in url):
        raise UrlRefused("Use an address without spaces, backslashes or invisible characters.")


def _host(text: str, is_local: bool) -> str:
    if is_local and _is_address(text):
        return text
    host = text.lower()
    if not host.isascii():
        try:
            host = idna.encode(host, strict=True, std3_rules=True).decode()
        except idna.IDNAError:
            raise UrlRefused("This host's name cannot exist.") from None
    if len(host) > HOST_CHARS_MAX or not _NAME.fullmatch(host):
        raise UrlRefused("Use an address with a full host name, not a number.")
    if host.rpartition(".")[2] in _INSIDE:
        raise UrlRefused("Use an address that is reachable from the internet.")
    return host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
