"""What an error says of proxies: the variables that are set, and none of their secrets."""

import socket

import pytest

from epochwise.common.errors import InputError
from epochwise.common.proxies import EXCEPTIONS, PROXIES, proxy_settings, without_proxy_secrets
from epochwise.data import downloads
from epochwise.tracking.redacted_errors import reason

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in (*PROXIES, EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    "variables, shown",
    [
        ({}, ""),
        ({"no_proxy": "localhost"}, ""),
        ({"http_proxy": "http://proxy:3128"}, "http_proxy=http://proxy:3128"),
        ({"HTTPS_PROXY": f"http://me:{SECRET}@proxy:3128"}, "https_proxy=http://proxy:3128"),
        ({"https_proxy": f"me:{SECRET}@proxy:3128"}, "https_proxy=proxy:3128"),
        ({"https_proxy": f"http://me:p@{SECRET}/@proxy:3128/"}, "https_proxy=http://proxy:3128/"),
        ({"all_proxy": "socks5://proxy", "NO_PROXY": "here"}, "all_proxy=socks5://proxy, no_proxy=here"),
        ({"http_proxy": "http://a", "HTTP_PROXY": "http://b"}, "http_proxy=http://a"),
        ({"npm_config_https_proxy": "http://a"}, "npm_config_https_proxy=http://a"),
    ],
)
def test_variables_are_shown_without_user_and_password(monkeypatch, variables, shown):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_settings() == shown
    assert SECRET not in without_proxy_secrets(f"cannot reach {' '.join(variables.values())}")


def test_a_download_that_fails_names_the_proxy(monkeypatch, tmp_path, closed_port):
    monkeypatch.setenv("https_proxy", f"http://me:{SECRET}@127.0.0.1:{closed_port}")
    monkeypatch.setattr(downloads.shutil, "which", lambda _: None)
    with pytest.raises(InputError) as refused:
        downloads.fetch_dataset("mnist", tmp_path)
    message = str(refused.value)
    assert f"could not be fetched, with https_proxy=http://127.0.0.1:{closed_port}; tried " in message
    assert SECRET not in message and "me:" not in message


def test_a_download_without_a_proxy_names_none(monkeypatch, tmp_path):
    failing = downloads.Dataset(("",) * 4, {}, downloads.DATASETS["mnist"].shape)
    monkeypatch.setitem(downloads.DATASETS, "toy", failing)
    with pytest.raises(InputError, match="prepare.source=toy: could not be fetched; tried"):
        downloads.fetch_dataset("toy", tmp_path)


def test_a_request_that_fails_names_the_proxy(monkeypatch, closed_port):
    import requests

    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@127.0.0.1:{closed_port}")
    with pytest.raises(requests.ConnectionError) as raised:
        requests.get("http://mlflow.example.org/api", timeout=60)
    text = reason(raised.value)
    assert text.startswith(f"http://mlflow.example.org with http_proxy=http://127.0.0.1:{closed_port}: ")
    assert SECRET not in text


def test_an_answer_that_is_not_mlflows_names_the_proxy_and_one_of_mlflows_does_not(monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    blocked = MlflowException("API request failed with error code 403. Response body: '<html>blocked</html>'")
    assert reason(blocked).startswith("with http_proxy=http://proxy:3128: API request failed")
    assert "proxy" not in reason(MlflowException("no such run", RESOURCE_DOES_NOT_EXIST))


def test_short_secrets_do_not_garble_a_message(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://a:1@proxy:3128")
    said = "cannot reach any host at 127.0.0.1 via http://a:1@proxy:3128"
    assert without_proxy_secrets(said) == "cannot reach any host at 127.0.0.1 via http://proxy:3128"
