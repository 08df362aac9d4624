from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sources.addresses import is_blocked

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "64:ff9b::8.8.8.8",
]
BLOCKED = [
    *("0.0.0.1", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1"),
    # Forms that wrap an IPv4 address, also a public one where nothing honest uses them.
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378::1", "2606:4700::5efe:10.0.0.1"),
    *("2606:4700::200:5efe:10.0.0.1",),
    *("", "localhost", "0x7f.1", "127.1", "2130706433", "0177.0.0.1", "1.1.1.1:80", "[::1]"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert not is_blocked(address)


@pytest.mark.parametrize("address", BLOCKED)
def test_all_others_must_not(address: str) -> None:
    assert is_blocked(address)


@given(st.ip_addresses())
def test_nothing_is_let_through_that_python_knows_not_to_be_global(address: object) -> None:
    if not ip_address(str(address)).is_global:
        assert is_blocked(str(address))


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_no_way_around_the_guard(address: object) -> None:
    if is_blocked(str(address)):
        assert is_blocked(f"::ffff:{address}")
        assert is_blocked(f"64:ff9b::{address}")


def test_networks_that_are_allowed_are_let_through() -> None:
    allowed = (IPv4Network("10.1.0.0/16"),)
    assert not is_blocked("10.1.2.3", allowed)
    assert is_blocked("10.2.2.3", allowed)
    assert is_blocked("::ffff:10.1.2.3", allowed)
