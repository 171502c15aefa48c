"""Where the service may be sent to: public places, and what the operator allowed; however the address is dressed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.addresses import is_public
from service.errors import AddressRefused
from service.outbound import check_address
from tests.service.support import feature

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:9/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://172.16.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[2002:7f00:1::]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::10.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[fec0::1]/",
        "http://[4000::1]/",
        "http://user:pass@192.0.2.1/",
        "ftp://192.0.2.1/",
        "file:///etc/passwd",
        "http:///nowhere",
        "http://[broken/",
        "http://192.0.2.1:99999/",
    ],
)
def test_private_and_disguised_addresses_are_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(url, NONE)


def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(AddressRefused):
        check_address("http://mixed.example/", NONE, resolver=lambda _h, _p: ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(AddressRefused):
        check_address("http://empty.example/", NONE, resolver=lambda _h, _p: [])
    public = check_address("https://public.example/", NONE, resolver=lambda _h, _p: ["93.184.216.34"])
    assert public == ["93.184.216.34"]


def test_the_operator_may_allow_a_host_and_only_that() -> None:
    allowed = frozenset({"localhost"})
    assert check_address("http://LOCALHOST./x".replace("./", "/"), allowed)
    with pytest.raises(AddressRefused):
        check_address("http://127.0.0.1/", allowed)


@given(st.ip_addresses(v=4))
def test_an_address_written_as_v6_is_judged_as_the_v4_it_is(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))
    assert is_public(f"64:ff9b::{address}") == is_public(str(address))


def test_what_is_handed_out_on_the_internet_is_public() -> None:
    assert all(map(is_public, ("2606:2800:220:1::1", "93.184.216.34", "2a00:1450::1%eth0")))


def test_an_archive_on_a_private_address_is_refused_over_http(lite_client: TestClient) -> None:
    for source in ("http://127.0.0.1:1/", "http://169.254.169.254/", "/etc", "file:///etc"):
        answer = lite_client.post("/archives", json={"name": "x", "source": source})
        assert answer.status_code == 422, source
        assert answer.json()["code"] in {"address-refused", "bad-archive"}
    assert lite_client.post("/sites", json=feature("x", archives=["x"])).json()["code"] == "unknown-archive"
