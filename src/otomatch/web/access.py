"""Who may use the server: the address it listens on, its token and the names it answers to."""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass

from otomatch.errors import ConfigError, OpenHostError, TokenError

_MIN_TOKEN = 8
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the server.

    Attributes:
        host: Host name or address that the server listens on.
        token: Secret that every request to the API must carry; None to require none.
        names: Further host names that the server answers to, such as that of a proxy before it.

    Raises:
        OpenHostError: ``host`` can be reached from other machines and there is no token.
        TokenError: The token is not at least 8 printable ASCII characters long.
        ConfigError: ``host`` does not exist.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise OpenHostError(
                    f"the host {self.host} can be reached from other machines, which requires a "
                    "token; set a token, or listen on 127.0.0.1"
                )
        elif len(self.token) < _MIN_TOKEN or not all("!" <= c <= "~" for c in self.token):
            raise TokenError(
                f"the token is too short or has unsupported characters; expected at least "
                f"{_MIN_TOKEN} ASCII letters, digits or punctuation marks without spaces, for "
                f"example {secrets.token_urlsafe(16)}"
            )

    @property
    def cookie_value(self) -> str:
        """Value of the session cookie; not the token, since browsers send cookies to every port."""
        return self._digest("otomatch session")

    @property
    def cookie_name(self) -> str:
        """Name of the session cookie, different for servers with different tokens."""
        return f"otomatch-{self._digest('otomatch cookie')[:8]}"

    def _digest(self, purpose: str) -> str:
        return hmac.new((self.token or "").encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def knows(self, host: str) -> bool:
        """Return True if a host name or address, without port, means this server."""
        if host in (*_LOOPBACK, self.host.lower(), *map(str.lower, self.names)):
            return True
        if not _is_wildcard(self.host):
            return False
        # DNS rebinding needs a host name, so a literal address is safe.
        own = socket.gethostname().lower()
        return _address(host) is not None or host in (own, f"{own}.local")


def is_loopback(host: str) -> bool:
    """Return True if a host name or address can be reached from this machine only.

    Raises:
        ConfigError: The host name does not exist.
    """
    address = _address(host)
    if address is not None:
        return address.is_loopback
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the host {host} cannot be resolved ({error}); expected a name or address of this "
            "machine"
        ) from None
    return all(ipaddress.ip_address(entry.partition("%")[0]).is_loopback for entry in found)


def _is_wildcard(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
