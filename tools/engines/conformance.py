"""The same data from every engine, whatever dies: conformance.py BIN slurm|ray, inside namespaces of its own (run.sh).

Runs the tiny embedded world on this machine, then on two nodes of the engine: undisturbed, with a worker killed, with a node
killed, with the planner killed and started again, with a node that comes late, and with a job that has no room. Digests must
be equal each time.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

BINARY, ENGINE = sys.argv[1], sys.argv[2]
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SLURM = """ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=5
SlurmdTimeout=5
InactiveLimit=0
KillWait=2
UnkillableStepTimeout=10
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort=16817
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def sh(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def processes(*needles):
    """Ids of processes of which every needle is part of the command line."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if all(needle in line for needle in needles):
            found.append(int(folder.name))
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def wait_for(what, test, seconds=60):
    end = time.time() + seconds
    while not test():
        if time.time() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def workers():
    """The workers themselves, without what leads to them."""
    return [pid for pid in processes("worker", "--identify") if os.path.realpath(f"/proc/{pid}/exe") == BINARY]


class Slurm:
    """Two nodes on this machine; a job around the planner."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "slurm.conf").write_text(SLURM.format(folder=folder))
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        for place in ("state", "spool.n1", "spool.n2"):
            (folder / place).mkdir()
        sh("sh", "-c", "mkdir -p /run/munge && chown munge: /run/munge /var/log/munge /var/lib/munge /etc/munge /etc/munge/munge.key")
        sh("runuser", "-u", "munge", "--", "/usr/sbin/munged", "--force")
        sh("slurmctld", "-c")
        self.node("n1")

    def node(self, name):
        sh("slurmd", "-N", name)
        wait_for(f"node {name}", lambda: "idle" in sh("sinfo", "-h", "-N", "-n", name, "-o", "%t", check=False).stdout)

    def late_node(self):
        self.node("n2")

    def kill_node(self):
        kill(processes("slurmd", "-N", "n2"))
        here = [pid for pid in workers() if b"SLURMD_NODENAME=n2" in pathlib.Path(f"/proc/{pid}/environ").read_bytes()]
        kill([parent(pid) for pid in here] + here)
        return bool(here)

    def command(self, arguments, tasks=4):
        nodes = "2" if sh("sinfo", "-h", "-N", "-n", "n2", "-o", "%t", check=False).stdout.strip() == "idle" else "1"
        tasks = tasks if nodes == "2" else min(tasks, 2)
        allocation = ["salloc", "-Q", f"-N{nodes}", f"--ntasks={tasks}", "--cpus-per-task=1", "--no-kill"]
        return [*allocation, BINARY, *arguments, "--on", "slurm"]

    def settle(self):
        sh("scancel", "-u", "root", check=False)
        wait_for("no job is left", lambda: not sh("squeue", "-h", check=False).stdout.strip())


class Ray:
    """A head and a second node on this machine."""

    def __init__(self, folder):
        self.python = os.environ["RAY_PYTHON"]
        self.folder = folder
        os.environ.update(
            RAY_USAGE_STATS_ENABLED="0",
            RAY_health_check_period_ms="1000",
            RAY_health_check_timeout_ms="2000",
            RAY_health_check_failure_threshold="3",
            RAY_health_check_initial_delay_ms="2000",
        )
        self.start("--head", "--port=6399", "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={folder}/r")

    def start(self, *options):
        ray = str(pathlib.Path(self.python).parent / "ray")
        common = ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats"]
        sh(ray, "start", *options, *common)

    def late_node(self):
        self.start("--address=127.0.0.1:6399", "--node-ip-address=127.0.0.2", '--resources={"second": 1}')

    def kill_node(self):
        raylets = processes("raylet/raylet", '"second"') or processes("raylet/raylet", "second")
        kill(raylets)
        return bool(raylets)

    def command(self, arguments, tasks=4):
        del tasks
        place = ["--on", "ray://127.0.0.1:6399", "--python", self.python]
        if "--threads" not in arguments:
            place += ["--threads", "1"]
        return [BINARY, *arguments, *place]

    def settle(self):
        # Ray leaves the actors of a killed raylet alone: they may work on, for nothing.
        kill(pid for pid in processes("ray::Worker") if parent(pid) == 1)
        wait_for("no worker is left", lambda: not workers(), 30)


class Test:
    """The world, its digests, and one run after another."""

    def __init__(self, folder):
        self.folder = folder
        self.number = 0
        sh(BINARY, "mini", "build", "--seed", "3", "--size", "tiny", str(folder / "world"), cwd=REPOSITORY)
        # Of a busy machine an answer may take longer than the world's own times allow: another photo would be lost each run.
        manifest = folder / "world" / "mini.toml"
        text = manifest.read_text()
        for short, long in (("timeout_s = 2.0", "timeout_s = 8.0"), ("deadline_s = 4.0", "deadline_s = 20.0")):
            assert short in text, short
            text = text.replace(short, long)
        manifest.write_text(text)
        sh(BINARY, *self.arguments("here"), cwd=REPOSITORY)
        self.wanted = self.digests("here")

    def arguments(self, output):
        manifest = str(self.folder / "world" / "mini.toml")
        return ["run", "--quiet", "--manifest", manifest, "--output", str(self.folder / output)]

    def digests(self, output):
        return sh(BINARY, "verify", "--digests", "--output", str(self.folder / output), cwd=REPOSITORY).stdout

    def run(self, name, engine, during=None, again=False):
        output = f"run-{self.number}"
        self.number += 1
        begun = time.time()
        log = self.folder / f"{output}.log"
        while True:
            with log.open("a") as text:
                process = subprocess.Popen(engine.command(self.arguments(output)), stdout=text, stderr=text, cwd=REPOSITORY)
            happened = during(process) if during else None
            code = process.wait(timeout=600)
            engine.settle()
            if code == 0 or not again:
                break
            during = None
        if code != 0:
            logs = "".join(f"{file}:\n{file.read_text()}" for file in (self.folder / output / "log").glob("*"))
            sys.exit(f"{name}: exit {code}\n{log.read_text()}\n{logs}")
        if self.digests(output) != self.wanted:
            sys.exit(f"{name}: other data than on this machine")
        print(f"{name}: equal data in {time.time() - begun:.1f} s{'' if happened is not False else ' (nothing to kill)'}", flush=True)


def kill_a_worker(process):
    wait_for("a worker", lambda: workers() or process.poll() is not None)
    time.sleep(1.0)
    victims = workers()[:1]
    kill(victims)
    return bool(victims)


def main():
    sh("ip", "link", "set", "lo", "up")
    # Names are resolved only where there is an address that is not loopback's.
    sh("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    sh("ip", "address", "add", "10.77.0.1/24", "dev", "here")
    sh("ip", "link", "set", "here", "up")
    sh("ip", "link", "set", "there", "up")
    with tempfile.TemporaryDirectory(prefix="lc-", dir="/tmp") as name:
        folder = pathlib.Path(name)
        test = Test(folder)
        print(f"on this machine: {len(test.wanted.splitlines())} tables", flush=True)
        engine = {"slurm": Slurm, "ray": Ray}[ENGINE](folder)
        test.run("one node", engine)

        def late(process):
            time.sleep(1.0)
            engine.late_node()

        test.run("a node that comes late", engine, late)
        test.run("two nodes", engine)
        test.run("a worker killed", engine, kill_a_worker)

        def planner(process):
            wait_for("a worker", lambda: workers() or process.poll() is not None)
            time.sleep(2.0)
            kill(processes(BINARY, "run", "--quiet"))

        test.run("the planner killed", engine, planner, again=True)

        def node(process):
            wait_for("a worker", lambda: workers() or process.poll() is not None)
            time.sleep(1.5)
            return engine.kill_node()

        test.run("a node killed", engine, node, again=True)
        refused = engine.command([*test.arguments("refused"), "--workers", "1", "--threads", "64", "--start-timeout", "3s"])
        ended = subprocess.run(refused, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
        if ended.returncode != 3 or "workers do not start" not in ended.stderr:
            sys.exit(f"no room: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
        print("no room: a clear message", flush=True)
        engine.settle()


main()
