"""What users read of a fault of MLflow: one line, without secrets."""

import contextlib
import os
import re
import sys
import textwrap
from urllib.parse import unquote, urlsplit

from epochwise.common.proxies import proxy_settings, without_proxy_secrets

LONGEST_REASON = 300  # characters of an error in a warning; an error of SQLAlchemy holds its whole SQL statement


def warn(error: BaseException, outcome: str) -> None:
    """Print a warning to stderr: what MLflow raised, and what follows from it."""
    short = textwrap.shorten(reason(error), LONGEST_REASON, placeholder=" …")
    print(f"warning: MLflow ({type(error).__name__}: {short}); {outcome}", file=sys.stderr)


def reason(error: BaseException) -> str:
    """The text of an error in one line.

    Of a failed HTTP request, it is the server, the proxies that the environment names, and the innermost cause:
    requests repeats the whole chain of causes.
    """
    chain = [error]
    while (cause := _cause(chain[-1])) and cause not in chain:  # a chain of causes can be a circle
        chain.append(cause)
    requests = [getattr(link, "request", None) for link in chain]
    request = next((request for request in requests if request is not None), None)
    server = "{0.scheme}://{0.netloc}".format(urlsplit(request.url)) if request else ""
    proxies = proxy_settings() if request or _is_answer_of_a_proxy(error) else ""
    through = f"{server}{' ' * bool(server)}with {proxies}" if proxies else server
    text = f"{through}{': ' * bool(through)}{chain[-1] if request else error}"
    return without_secrets(" ".join(text.split())) or type(error).__name__


def without_secrets(text: str) -> str:
    """`text` without user, password and query of any address in it, and without MLflow's own passwords and tokens."""
    secrets = [os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("PASSWORD", "TOKEN")]
    with contextlib.suppress(ValueError):  # not an address, which MLflow itself reports
        address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
        secrets += [address.query, address.password]
    for secret in filter(None, secrets):
        for written in {secret, unquote(secret)}:
            text = re.sub(rf"(?<![\w.]){re.escape(written)}(?![\w.])", "…", text)  # whole words: it may be short
    text = without_proxy_secrets(text)
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\")]*", r"\1", re.sub(r"//\S*@", "//", text))


def _is_answer_of_a_proxy(error: BaseException) -> bool:
    """Whether it can be: MLflow's server was asked by HTTP, and what answered gave no error code of MLflow's."""
    over_http = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")
    return over_http and getattr(error, "error_code", "") in ("", "INTERNAL_ERROR", "BAD_REQUEST")


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
