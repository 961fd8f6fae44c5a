"""The proxies that the environment names: what an error of a download or of a server says of them, without secrets."""

import os
import re
from urllib.parse import unquote

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "npm_config_proxy", "npm_config_https_proxy")
EXCEPTIONS = "no_proxy"  # hosts that are asked directly


def proxy_settings() -> str:
    """The variables that send requests through a proxy, such as `https_proxy=http://proxy:3128`; empty without one."""
    found = _values()
    if found and (direct := _value(EXCEPTIONS)):
        return ", ".join([*_shown(found), f"{EXCEPTIONS}={direct}"])
    return ", ".join(_shown(found))


def without_proxy_secrets(text: str) -> str:
    """`text` without the user and the password of any proxy."""
    for value in _values().values():
        user = _user(value)
        password = user.partition(":")[2]
        for secret in filter(None, (user, unquote(user))):
            text = text.replace(f"{secret}@", "")
        for secret in filter(None, (password, unquote(password))):
            text = re.sub(rf"(?<![\w.]){re.escape(secret)}(?![\w.])", "…", text)  # whole words: it may be short
    return text


def _shown(values: dict[str, str]) -> list[str]:
    return [f"{name}={value.replace(f'{_user(value)}@', '')}" for name, value in values.items()]


def _values() -> dict[str, str]:
    return {name: value for name in PROXIES if (value := _value(name))}


def _value(name: str) -> str:
    """A variable's value; the name in lower case counts first, as it does for curl and Python."""
    return os.environ.get(name) or os.environ.get(name.upper()) or ""


def _user(proxy: str) -> str:
    """`user:password` of a proxy's address, which may lack a scheme; empty without one."""
    return re.sub(r"^[a-z0-9+.-]+://", "", proxy, flags=re.IGNORECASE).rpartition("@")[0]
