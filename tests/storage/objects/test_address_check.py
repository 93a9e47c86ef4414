from __future__ import annotations

import pytest

from verger.errors import SettingsError
from verger.storage.objects.address_check import check_endpoint
from verger.storage.objects.stores import store_of
from verger.storage.uri import any_path

MALFORMED = (
    "foo bar",
    "localhost:9000",
    "ftp://h",
    "http://",
    "http://h:99999",
    "http://[::1",
    "http://a b",
    "http://a@",
    "http://h\n",
    "http://256.1.1.1",
)


@pytest.fixture(autouse=True)
def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of other stores, and forget the clients made with them."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    store_of.cache_clear()


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_malformed_endpoint_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="expected a URL") as caught:
        any_path("s3://bucket/x").exists()
    assert (caught.value.key, caught.value.value) == (name, value)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_malformed_region_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "foo bar")
    with pytest.raises(SettingsError, match=f"{name} = 'foo bar' is not valid: expected a region"):
        any_path("s3://bucket/x").exists()


def test_a_malformed_emulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "foo bar")
    with pytest.raises(SettingsError, match="STORAGE_EMULATOR_HOST = 'http://foo bar'"):
        any_path("gs://bucket/x").exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "https://s3.eu-west-3.example.org/",
        "http://[::1]:9000",
        "http://min_io/a",
        "HTTP://h:1",
    ],
)
def test_an_endpoint_is_accepted(url: str) -> None:
    assert check_endpoint("AWS_ENDPOINT_URL", url) == url
