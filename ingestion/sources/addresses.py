"""Which network addresses may be asked for documents that anybody names: public unicast ones only.

The tables are IANA's special-purpose registries for IPv4 and IPv6, spelled out here because ``ipaddress`` changes its
mind about them between Python releases.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_BLOCKED_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the metadata service of Azure, on a public address
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Global unicast. Outside of it are loopback, private, link-local, multicast and every form that wraps an IPv4 address.
_GLOBAL_6 = IPv6Network("2000::/3")
_BLOCKED_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
# What DNS64 answers for hosts without IPv6: as good as the IPv4 address in its last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")
# Interface identifiers of ISATAP, which carry an IPv4 address as well.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def is_blocked(address: str, allowed: Collection[Network] = ()) -> bool:
    """True for what must not be asked, and for what is no address. ``allowed`` networks are let through."""
    try:
        found = ip_address(address)
    except ValueError:
        return True
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        return True
    if any(found in network for network in allowed):
        return False
    return _is_blocked_4(found) if isinstance(found, IPv4Address) else _is_blocked_6(found)


def _is_blocked_4(address: IPv4Address) -> bool:
    return any(address in network for network in _BLOCKED_4)


def _is_blocked_6(address: IPv6Address) -> bool:
    if address in _NAT64:
        return _is_blocked_4(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _GLOBAL_6 or any(address in network for network in _BLOCKED_6):
        return True
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
