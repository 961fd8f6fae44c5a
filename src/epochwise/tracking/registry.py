"""MLflow's model registry: the champion of an experiment, which is the model that was promoted last.

MLflow is imported inside functions, for its cost (see `tracking/__init__.py`).
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from epochwise.common.errors import InputError, RunError
from epochwise.data.sources import is_named
from epochwise.tracking.address import store_exists
from epochwise.tracking.models import log_served_model
from epochwise.tracking.redacted_errors import reason
from epochwise.tracking.server import Server

CHAMPION = "champion"  # an alias in the registry
THERE_ALREADY = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")  # MLflow's codes
# MLflow's codes for no such model and no such alias. A server with users refuses an ordinary one what does not exist.
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


def model_name(experiment: str, source: str) -> str:
    """The registered model whose champion is the best for the data of `source`: `epochwise-mnist`.

    The name for a path of the user's ends in a hash of it: paths of one file name must not share a champion.
    """
    if is_named(source):
        return f"{experiment}-{source}"
    word = re.sub("[^A-Za-z0-9_.-]+", "_", Path(source).name)
    return f"{experiment}-{word}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:8]}"


def champion(root: Path, name: str) -> dict[str, str] | None:
    """The champion of the registered model `name`: its tags, `run_id` and `version`. None if there is no champion.

    Raises RunError if MLflow does not answer.
    """
    if not store_exists(root):
        return None
    with explained(f"{name}: no answer from MLflow's registry"):
        client = Server(root).client
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in NOT_FOUND:
                return None
            raise
    return {**version.tags, "run_id": version.run_id, "version": str(version.version)}


def register_champion(
    root: Path, name: str, run_id: str, model: Path, meta: Mapping[str, Any], tags: dict[str, str], about: str
) -> str:
    """Make the run's model a new version of the registered model `name`, and its champion. Returns the version.

    What is registered takes raw pixels, see `log_served_model`. `model` is the run's Keras file, and `meta` says what
    images it takes, as meta.json does. Raises InputError if MLflow has no such run, and RunError if it does not answer.
    """
    with explained(f"{run_id}: cannot be registered in MLflow"):
        server = Server(root)
        client = server.client
        from mlflow.exceptions import MlflowException

        model_id = log_served_model(server, run_id, model, meta["image_shape"], meta["classes"])
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code not in THERE_ALREADY:
                raise
        version = client.create_model_version(
            name, f"models:/{model_id}", run_id, tags, description=about, model_id=model_id
        ).version
        client.set_registered_model_alias(name, CHAMPION, version)
    return str(version)


def names_of_champions(root: Path, experiment: str) -> list[str]:
    """The registered models of an experiment that have a champion. Raises RunError if MLflow does not answer."""
    if not store_exists(root):
        return []
    with explained(f"{experiment}: no answer from MLflow's registry"):
        models = Server(root).client.search_registered_models()
    return sorted(
        model.name for model in models if model.name.startswith(f"{experiment}-") and CHAMPION in model.aliases
    )


@contextlib.contextmanager
def explained(problem: str) -> Iterator[None]:
    """Raise what MLflow raises with `problem` first: for commands that cannot do without MLflow.

    As InputError if MLflow has answered that there is no such thing or that it refuses, else as RunError: it was
    not there, or failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # MLflow raises errors of several libraries
        kind = InputError if _is_refusal(error) else RunError
        raise kind(f"{problem} ({reason(error)})") from error


def _is_refusal(error: Exception) -> bool:
    """Whether MLflow has answered, and does not have or do what it was asked for."""
    if getattr(error, "error_code", None) in NOT_FOUND:
        return True
    answer = getattr(error, "response", None)  # of the library requests
    if answer is not None:
        return bool(400 <= answer.status_code < 500)
    no_such_artifact = type(error) is OSError and error.errno is None  # MLflow's, with a text only
    return no_such_artifact or isinstance(error, FileNotFoundError)
