"""Clusters and servers on one host for tests, all on 127.0.0.1: Ray, SLURM, and PostgreSQL with MLflow's server."""

import base64
import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Project, clean_environment, free_port, wait_for

GRID = ("train.epochs=1,2", "model.dense_dropout=0.25,0.5")  # on digits: two trajectories of two epochs
RUNS, EPOCHS = 4, 4  # of this grid, each epoch being trained once


def weights(project: Project) -> dict[str, str]:
    """The hash of the weights of each finished run of the project's sweeps, by its fingerprint."""
    records = [json.loads(path.read_text()) for path in project.path.glob("multirun/*/*/*/run.json")]
    return {one["fingerprint"]: one["weights_sha256"] for one in records if one["status"] == "FINISHED"}


def epochs_trained(project: Project) -> int:
    """How many epochs the runs of the project's sweeps have trained."""
    paths = project.path.glob("multirun/*/*/*/run.json")
    return sum(json.loads(path.read_text())["epochs_trained"] for path in paths)


def states(project: Project) -> int:
    """How many states the project's store has: that of each epoch is there once."""
    return len(list(project.path.glob("trajectories/*/*.npz")))


COMMANDS = {  # that tests with an engine need, and Debian's packages of them; `.ci/run` installs these, too
    "ray": {"ss": "iproute2"},
    "slurm": {
        "ss": "iproute2",
        "sbatch": "slurm-client",
        "slurmctld": "slurmctld",
        "slurmd": "slurmd",
        "munged": "munge",
    },
    "postgres": {"ss": "iproute2", "initdb": "postgresql", "pg_ctl": "postgresql"},
}
MODULES = {  # and what pip installs
    "ray": {"ray": "epochwise[ray]"},
    "postgres": {"psycopg2": "epochwise[team]", "flask_wtf": "epochwise[team]"},
    "s3": {"s3fs": "epochwise[s3]", "moto": "moto[server]"},
}


def path_of(command: str) -> str | None:
    """The path of a command, also of one that users have no reason to type."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), "/usr/sbin", "/usr/bin"]
    return shutil.which(command) or shutil.which(command, path=os.pathsep.join(map(str, places)))


def need(engine: str) -> None:
    """Fail a test whose engine is not installed, with one line that says how to install it."""
    of_debian = {package for command, package in COMMANDS.get(engine, {}).items() if not path_of(command)}
    of_python = {package for module, package in MODULES.get(engine, {}).items() if find_spec(module) is None}
    ways = [f"apt-get install {' '.join(sorted(of_debian))}"] if of_debian else []
    ways += [f"pip install {' '.join(map(repr, sorted(of_python)))}"] if of_python else []
    if ways:
        pytest.fail(f"what this test needs is not installed: {'; '.join(ways)}", pytrace=False)


def strangers(pids: set[int]) -> list[str]:
    """The addresses other than loopback's on which one of these processes listens."""
    printed = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in printed.splitlines() if pids & {int(pid) for pid in re.findall(r"pid=(\d+)", line)}]
    assert mine, "none of them listens at all"
    addresses = [line.split()[3] for line in mine]
    return [one for one in addresses if not one.startswith(("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:"))]


def descendants(pid: int) -> set[int]:
    """All processes that this one has started, and that those have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def other_cpuinfo(folder: Path) -> Path:
    """A file as /proc/cpuinfo, of another processor."""
    path = folder / "cpuinfo"
    path.write_text(re.sub(r"(?m)^(model name\s*:) .*$", r"\1 Zilog Z80", Path("/proc/cpuinfo").read_text()))
    return path


def in_namespace(cpuinfo: Path, command: list[str]) -> list[str]:
    """A command that sees `cpuinfo` as /proc/cpuinfo."""
    script = 'mount --bind "$0" /proc/cpuinfo && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(cpuinfo), *command]


RAY_TOKEN = os.urandom(16).hex()  # one for all clusters of this process: Ray reads it once


# Joins a cluster as `Cluster.add_node` does. The command `ray start` refuses to where all is to stay on loopback.
JOIN = """
import ast, signal, sys
from types import SimpleNamespace
from ray.cluster_utils import Cluster
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
cluster = Cluster()
cluster.head_node = SimpleNamespace(gcs_address=sys.argv[1])
cluster.redis_address = sys.argv[1]
cluster.add_node(wait=False, **ast.literal_eval(sys.argv[2]))
signal.pause()
"""


class RayNodes:
    """A Ray cluster of a head without CPUs and nodes with one each."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=self._arguments("head", 0))
        self.nodes = [self.add(f"n{number}") for number in range(1, count + 1)]

    @property
    def environment(self) -> dict[str, str]:
        return {"RAY_ADDRESS": self.cluster.address}

    def add_other(self, cpuinfo: Path) -> subprocess.Popen:
        """A node `other` that is in a mount namespace of its own, with another /proc/cpuinfo; for root only."""
        join = [sys.executable, "-c", JOIN, self.cluster.address, repr(self._arguments("other", 1))]
        process = subprocess.Popen(in_namespace(cpuinfo, join), env=clean_environment(), stdout=subprocess.DEVNULL)
        wait_for(lambda: len(self.alive()) == len(self.nodes) + 2, "the other node", 60)
        return process

    def alive(self) -> list[dict]:
        return [node for node in self.cluster.global_state.node_table() if node["Alive"]]

    def add(self, name: str):
        return self.cluster.add_node(**self._arguments(name, 1))

    def kill(self, node) -> None:
        """Kill the raylet of a node, as when a machine loses its power; its workers end by themselves."""
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    @staticmethod
    def _arguments(name: str, cpus: int) -> dict[str, object]:
        return {"num_cpus": cpus, "node_name": name, "node_ip_address": "127.0.0.1", "include_dashboard": False}


@contextmanager
def ray_nodes(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayNodes]:
    """A Ray cluster that listens on loopback only, sends no statistics, and whose workers are not nice."""
    need("ray")
    settings = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    settings |= {"RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/", "RAY_AUTH_MODE": "token"}
    for name, value in (settings | {"RAY_AUTH_TOKEN": RAY_TOKEN}).items():
        monkeypatch.setenv(name, value)
    nodes = RayNodes(count)
    try:
        yield nodes
    finally:
        nodes.cluster.shutdown()


SLURM_CONF = """\
ClusterName=epochwise
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
SchedulerType=sched/backfill
ReturnToService=2
SlurmdTimeout=15
SlurmctldTimeout=15
InactiveLimit=0
KillWait=5
MinJobAge=300
RebootProgram=/bin/false
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmNodes:
    """slurmctld and some slurmd as this user, without systemd or cgroups. They are ended by their numbers."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.names = folder, [f"n{number}" for number in range(1, count + 1)]
        nodes = [
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={free_port()} CPUs=1 RealMemory=500"
            for name in self.names
        ]
        for name in ("state", *(f"spool-{name}" for name in self.names)):
            (folder / name).mkdir()
        values = {"folder": folder, "user": getpass.getuser(), "port": free_port(), "nodes": "\n".join(nodes)}
        (folder / "slurm.conf").write_text(SLURM_CONF.format(**values))
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self, cpuinfo: Path | None = None) -> None:
        """Start all daemons; with `cpuinfo`, the last node has another processor."""
        at = {f"--{what}": self.folder / name for what, name in (("socket", "munge.socket"), ("key-file", "munge.key"))}
        at |= {f"--{what}-file": self.folder / f"munged.{what}" for what in ("pid", "log", "seed")}
        self._daemon(path_of("munged"), "--force", *(f"{option}={path}" for option, path in at.items()))
        self._daemon(path_of("slurmctld"), "-f", str(self.folder / "slurm.conf"))
        for name in self.names:
            self.start_node(name, cpuinfo if name == self.names[-1] else None)
        wait_for(lambda: self.call("sinfo", "-h", "-o", "%T").split() == ["idle"], "idle nodes", 60)

    def start_node(self, name: str, cpuinfo: Path | None = None) -> None:
        """Start the daemon of a node; with `cpuinfo`, on another processor, for root only."""
        command = [path_of("slurmd"), "-N", name, "-f", str(self.folder / "slurm.conf")]
        self._daemon(*(in_namespace(cpuinfo, command) if cpuinfo else command))

    def call(self, *command: str) -> str:
        environment = clean_environment() | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def pids(self) -> set[int]:
        found = set()
        for path in self.folder.glob("*.pid"):
            with suppress(FileNotFoundError, ValueError):  # its daemon is just beginning or ending
                found.add(int(path.read_text()))
        return found

    def kill_node(self, name: str) -> None:
        """Kill the daemon of a node and all steps on it at once, as when a machine loses its power.

        They are stopped first: a step that outlives its processes for a moment tells the controller that they failed.
        """
        daemon = int((self.folder / f"slurmd-{name}.pid").read_text())
        for what in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):  # twice, since one may just have begun another
            for pid in [daemon, *self._steps(name)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, what)

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.call("scancel", "--user", getpass.getuser(), "--signal=KILL", "--full")
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not any(Path("/proc", str(pid)).exists() for pid in self.pids()), "the end of SLURM", 30)

    def _steps(self, name: str) -> list[int]:
        """The processes of jobs on a node, by slurmd's variable, after the slurmstepd of each."""
        found, stepd = [], []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                variables = path.read_bytes().split(b"\0")
                mine = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode() in variables
                if mine and f"SLURMD_NODENAME={name}".encode() in variables:
                    found.append(int(path.parent.name))
                    parent = (path.parent / "stat").read_text().rpartition(")")[2].split()[1]
                    if Path("/proc", parent, "comm").read_text().startswith("slurmstepd"):
                        stepd.append(int(parent))
        return [*dict.fromkeys(stepd), *found]

    def _daemon(self, *command: str) -> None:
        """Start a daemon, which goes into the background."""
        environment = clean_environment() | self.environment
        with open(self.folder / "daemons.log", "ab") as log:
            subprocess.run(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=True)


@contextmanager
def slurm_nodes(count: int, cpuinfo: Path | None = None) -> Iterator[SlurmNodes]:
    """A SLURM cluster of nodes with one CPU each; with `cpuinfo`, the last one has another processor."""
    need("slurm")
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        nodes = SlurmNodes(Path(folder), count)
        try:
            nodes.start(cpuinfo)
            yield nodes
        finally:
            nodes.stop()


class Postgres:
    """A PostgreSQL server with an empty database. It refuses to be root's."""

    def __init__(self, folder: Path) -> None:
        need("postgres")
        initdb, pg_ctl = path_of("initdb"), path_of("pg_ctl")
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        password, data, port = folder / "password", folder / "data", free_port()
        password.write_text("secret")
        if as_owner:
            shutil.chown(folder, "postgres")
            shutil.chown(password, "postgres")
        self.address = f"postgresql+psycopg2://team:secret@127.0.0.1:{port}/postgres"
        self._quiet = {"stdout": subprocess.DEVNULL, "check": True, "cwd": folder}
        new = ["--username=team", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run([*as_owner, initdb, "--pgdata", data, *new], **self._quiet)
        self._options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control = [*as_owner, pg_ctl, "--pgdata", data, "-w", "-l", f"{folder}/log"]

    def start(self) -> None:
        subprocess.run([*self._control, "-o", self._options, "start"], **self._quiet)

    def stop(self) -> None:
        subprocess.run([*self._control, "-m", "fast", "stop"], **self._quiet)


@contextmanager
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        database = Postgres(Path(folder))
        database.start()
        try:
            yield database
        finally:
            database.stop()


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server of moto's with a bucket `team`: the environment variables by which programs find it."""
    need("s3")
    import boto3

    address = f"http://127.0.0.1:{(port := free_port())}"
    settings = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with open(folder / "moto.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())
    try:
        wait_for(lambda: _listens(port), "the S3 server", 60)
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        boto3.client("s3", "us-east-1", endpoint_url=address, **keys).create_bucket(Bucket="team")
        yield settings
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


AUTH = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = admin
admin_password = the-admins-password
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
USERS = {"anna": "annas-long-password", "bert": "berts-long-password"}


class TeamServer:
    """MLflow's server with passwords and two ordinary users, on a PostgreSQL database."""

    def __init__(self, folder: Path, database: str, artifacts: str = "", **settings: str) -> None:
        """`artifacts` is where they go, by default into the folder; `settings` are environment variables."""
        self.folder, self.port, self.database = folder, free_port(), database
        self.artifacts, self.settings = artifacts or str(folder / "artifacts"), settings
        self.address = f"http://127.0.0.1:{self.port}"
        (folder / "auth.ini").write_text(AUTH.format(folder=folder))

    def start(self) -> None:
        own = {"MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret"}
        own |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | self.settings
        stores = ["--backend-store-uri", self.database, "--artifacts-destination", self.artifacts]
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "2", *stores]
        with open(self.folder / "server.log", "ab") as log:
            options = {"stdout": log, "stderr": log, "start_new_session": True}
            self.process = subprocess.Popen(command, env=clean_environment() | own, **options)
        try:
            for name in USERS:
                wait_for(lambda name=name: self._created(name), "the server's answer", 180)
        except BaseException:  # also if the tests are interrupted: nobody else would stop it
            self.stop()
            raise

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)

    def requests(self) -> list[str]:
        """The requests that the server has answered so far, as method and path."""
        return re.findall(r'"((?:GET|POST|PUT|PATCH|DELETE) [^" ]+)', (self.folder / "server.log").read_text())

    def as_user(self, name: str) -> dict[str, str]:
        given = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": USERS[name]}
        return given | {"MLFLOW_TRACKING_URI": self.address, "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}

    def _created(self, name: str) -> bool:
        """Whether the server has the user; False while it does not answer yet."""
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        body = json.dumps({"username": name, "password": USERS[name]}).encode()
        secret = base64.b64encode(b"admin:the-admins-password").decode()
        heads = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
        request = urllib.request.Request(f"{self.address}/api/2.0/mlflow/users/create", body, heads)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return b"RESOURCE_ALREADY_EXISTS" in error.read()
        except OSError:
            time.sleep(0.5)
            return False
