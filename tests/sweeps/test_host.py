"""What hosts must have in common before a sweep runs on them."""

import copy
from dataclasses import replace

import pytest

from epochwise.common.errors import InputError
from epochwise.common.locks import locked
from epochwise.sweeps.host import Host, check_hosts, describe_host, passed_environment
from epochwise.trajectory import identity
from epochwise.trajectory.identity import PROCESS


def host(name: str = "n1", locked: bool = True, **changed: dict[str, str]) -> Host:
    process = copy.deepcopy(PROCESS)
    for part, values in changed.items():
        process[part] |= values
    return Host(name, name, locked, process)


def test_hosts_of_one_kind_give_their_part_of_the_identity():
    one, other = host("n1", processor={"model name": "Z80"}), host("n2", processor={"model name": "Z80"})
    assert check_hosts([one, other], mixed=False)["processor"]["model name"] == "Z80"


def test_a_host_of_another_kind_is_refused_by_name_unless_the_sweep_is_mixed():
    hosts = [host("n1"), host("n2", processor={"model name": "Z80"})]
    with pytest.raises(InputError, match=r"^n2 has another processor \(model name: Z80, not .*sweep\.mixed=true"):
        check_hosts(hosts, mixed=False)
    assert check_hosts(hosts, mixed=True) == {part: PROCESS[part] for part in ("processor", "flags")}


def test_a_host_with_other_flags_or_libraries_is_refused_by_name():
    with pytest.raises(InputError, match=r"^n2 has another kernel flag \(TF_X: 1, not none\)"):
        check_hosts([host("n1"), host("n2", flags={"TF_X": "1"})], mixed=False)
    with pytest.raises(InputError, match=r"^n1 has another library version \(numpy: 0, not"):
        check_hosts([host("n1", versions={"numpy": "0"})], mixed=True)


def test_a_host_that_does_not_see_the_locks_of_this_one_is_refused():
    with pytest.raises(InputError, match="^n1 does not see the locks"):
        check_hosts([host(locked=False)], mixed=True)


def test_a_host_says_whether_it_sees_the_lock_of_the_command(tmp_path):
    probe = tmp_path / "probe.lock"
    assert not describe_host(probe).locked
    with locked(probe):
        described = describe_host(probe)
    assert described.locked and described.process == PROCESS
    assert replace(described, name="n9").as_plain()["name"] == "n9"


def test_jobs_elsewhere_are_given_the_server_and_the_flags_and_nothing_else(monkeypatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "TF_ENABLE_ONEDNN_OPTS", "AWS_ENDPOINT_URL", "TF_VAR_secret", "OTHER"):
        monkeypatch.setenv(name, "value")
    given = passed_environment()
    assert {"MLFLOW_TRACKING_PASSWORD", "TF_ENABLE_ONEDNN_OPTS", "AWS_ENDPOINT_URL"} <= given.keys()
    assert not {"TF_VAR_secret", "OTHER"} & given.keys()


def test_trainings_are_identified_by_the_host_that_is_asked_once_when_it_is_needed(monkeypatch):
    asked = []

    def ask() -> dict[str, dict[str, str]]:
        asked.append(1)
        return {"processor": {"model name": "Z80"}, "flags": {}}

    monkeypatch.setattr(identity, "PROCESS", dict(PROCESS))
    identity.identify_by(ask)
    assert not asked
    assert identity._process()["processor"] == identity._process()["processor"] == {"model name": "Z80"}
    assert asked == [1]


def test_a_run_of_another_processor_has_the_same_mixed_fingerprint():
    one = {"parameters": {"seed": 0}, "processor": {"model name": "a"}, "flags": {}}
    other = one | {"processor": {"model name": "b"}}
    assert identity.mixed_fingerprint_of(one, 2, None) == identity.mixed_fingerprint_of(other, 2, None)
    assert identity.mixed_fingerprint_of(one, 2, None) != identity.mixed_fingerprint_of(one, 3, None)
