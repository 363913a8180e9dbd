"""The same data from every engine, whatever dies: conformance.py BIN slurm|ray [together|apart], inside namespaces of its own (run.sh).

Runs the tiny embedded world on this machine, then on two nodes of the engine: undisturbed, with a node that comes late, with a worker, what leads to it, the
planner and a node killed, with Ctrl-C, with the output in a bucket, and where there is no room. Then the stages up to verify-portraits on two nodes of which the second is another machine as far as
it can see: another network and host name, neither models nor program. Without them, with both fetched by digest, with pretended GPUs, and with
the network cut. Digests must be equal each time.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

BINARY, ENGINE = sys.argv[1], sys.argv[2]
# Where the second node is: both, one after the other, unless one of them is asked for.
PLACES = sys.argv[3:] or ["together", "apart"]
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# Addresses of the nodes: both on this machine's loopback, or the second behind a link that can be cut.
TOGETHER = ("127.0.0.1", "127.0.0.2")
APART = ("10.77.0.1", "10.77.0.2")
# The bucket's server, and what is said of it to every process: engines hand the environment on, each in its way.
S3_PORT = 5055
S3 = {
    "AWS_ENDPOINT": f"http://{TOGETHER[0]}:{S3_PORT}",
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "conformance",
    "AWS_SECRET_ACCESS_KEY": "conformance",
}
SLURM = """ClusterName=test
SlurmctldHost=localhost({first})
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
SlurmctldTimeout=10
SlurmdTimeout=10
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
GresTypes=gpu
NodeName=n1 NodeHostname=localhost NodeAddr={first} Port=17001 CPUs=2 RealMemory=2000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr={second} Port=17002 CPUs=2 RealMemory=2000 Gres=gpu:1 State=UNKNOWN
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
    """Kills them; whether there were any."""
    pids = list(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return bool(pids)


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def wait_for(what, test, seconds=300):
    end = time.time() + seconds
    while not test():
        if time.time() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def workers():
    """The workers themselves, without what leads to them: the program, also one that was fetched."""
    return [pid for pid in processes("worker", "--identify") if is_program(pid)]


def is_program(pid):
    """Whether it is the program that runs, not a shell, srun or an interpreter."""
    try:
        return pathlib.Path(os.readlink(f"/proc/{pid}/exe")).name in (pathlib.Path(BINARY).name, "program", "laioncele")
    except OSError:
        return False


class Slurm:
    """Two nodes on this machine; a job around the planner."""

    def __init__(self, folder, addresses, second):
        self.folder = folder
        self.second = second
        # Slurm's second address would be another than the one that it listens on.
        first, second = addresses if addresses == APART else (addresses[0], addresses[0])
        (folder / "slurm.conf").write_text(SLURM.format(folder=folder, first=first, second=second))
        # No GPU is used: files stand for them, so that Slurm gives them out.
        (folder / "gres.conf").write_text("NodeName=n1 Name=gpu File=/dev/null\nNodeName=n2 Name=gpu File=/dev/zero\n")
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        for place in ("state", "spool.n1", "spool.n2"):
            (folder / place).mkdir()
        sh("sh", "-c", "mkdir -p /run/munge && chown munge: /run/munge /var/log/munge /var/lib/munge /etc/munge /etc/munge/munge.key")
        if not processes("/usr/sbin/munged"):
            sh("runuser", "-u", "munge", "--", "/usr/sbin/munged", "--force")
        sh("slurmctld", "-c")
        self.node("n1")

    def node(self, name):
        sh(*(self.second if name == "n2" else []), "slurmd", "-N", name)
        wait_for(f"node {name}", lambda: "idle" in sh("sinfo", "-h", "-N", "-n", name, "-o", "%t", check=False).stdout)

    def late_node(self):
        self.node("n2")

    def kill_node(self):
        kill(processes("slurmd", "-N", "n2"))
        here = [pid for pid in workers() if b"SLURMD_NODENAME=n2" in pathlib.Path(f"/proc/{pid}/environ").read_bytes()]
        kill([parent(pid) for pid in here] + here)
        return bool(here)

    def kill_what_leads(self):
        return kill(processes("srun", "--exact")[:1])

    def stop(self):
        kill(processes("slurmd", "-N") + processes("slurmctld"))

    def command(self, arguments, tasks=4, gpus=False):
        nodes = "2" if sh("sinfo", "-h", "-N", "-n", "n2", "-o", "%t", check=False).stdout.strip() == "idle" else "1"
        tasks = tasks if nodes == "2" else min(tasks, 2)
        allocation = ["salloc", "-Q", f"-N{nodes}", f"--ntasks={tasks}", "--cpus-per-task=1", "--no-kill"]
        allocation += ["--gpus-per-node=1"] if gpus else []
        return [*allocation, BINARY, *arguments, "--on", "slurm"]

    def batch(self, arguments, gpus=False):
        """The same as the script of `laioncele submit slurm`, until its job ends."""
        del gpus
        script = str(self.folder / "run.sbatch")
        size = ["--nodes", "2", "--tasks", "4", "--time", "1:00:00"]
        sh(BINARY, "submit", "slurm", *size, "--force", "--script", script, "--", *arguments[1:])
        return ["sbatch", "--quiet", "--wait", f"--output={self.folder}/run.sbatch.log", script]

    def stop_batch(self):
        """What Slurm does two minutes before a job's time is over."""
        return sh("scancel", "--batch", "--signal=TERM", "-u", "root", check=False).returncode == 0

    def settle(self):
        sh("scancel", "-u", "root", check=False)
        wait_for("no job is left", lambda: not sh("squeue", "-h", check=False).stdout.strip())


class Ray:
    """A head and a second node on this machine."""

    def __init__(self, folder, addresses, second):
        self.python = os.environ["RAY_PYTHON"]
        self.folder = folder
        self.addresses = addresses
        self.second = second
        os.environ.update(
            RAY_USAGE_STATS_ENABLED="0",
            RAY_health_check_period_ms="1000",
            RAY_health_check_timeout_ms="2000",
            RAY_health_check_failure_threshold="3",
            RAY_health_check_initial_delay_ms="2000",
            # On a busy machine the usual 15 would keep workers from ever answering.
            RAY_worker_niceness="0",
        )
        head = ["--head", "--port=6399", f"--node-ip-address={addresses[0]}", "--include-dashboard=false", f"--temp-dir={folder}/r"]
        self.start([], *head)

    def start(self, where, *options):
        ray = str(pathlib.Path(self.python).parent / "ray")
        gpus = 1 if self.addresses == APART else 0
        common = ["--num-cpus=2", f"--num-gpus={gpus}", "--object-store-memory=80000000", "--disable-usage-stats"]
        sh(*where, ray, "start", *options, *common)

    def late_node(self):
        first, second = self.addresses
        self.start(self.second, f"--address={first}:6399", f"--node-ip-address={second}", '--resources={"second": 1}')

    def kill_node(self):
        raylets = processes("raylet/raylet", '"second"') or processes("raylet/raylet", "second")
        kill(raylets)
        return bool(raylets)

    def kill_what_leads(self):
        return kill(processes("ray::Worker")[:1])

    def stop(self):
        kill(processes("site-packages/ray/") + processes("ray::"))
        wait_for("Ray's end", lambda: not processes("site-packages/ray/"), 10)

    def command(self, arguments, tasks=4, gpus=False):
        # The cluster says how much there is.
        del tasks, gpus
        place = ["--on", f"ray://{self.addresses[0]}:6399", "--python", self.python]
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
        # Urls of the outputs that are in buckets.
        self.buckets = {}
        sh(BINARY, "mini", "build", "--seed", "3", "--size", "tiny", str(folder / "world"), cwd=REPOSITORY)
        # Of a busy machine an answer may take longer than the world's own times allow: another photo would be lost each run.
        manifest = folder / "world" / "mini.toml"
        text = manifest.read_text()
        for short, long in (("timeout_s = 2.0", "timeout_s = 8.0"), ("deadline_s = 4.0", "deadline_s = 20.0")):
            assert short in text, short
            text = text.replace(short, long)
        manifest.write_text(text)
        # Arguments of all runs: which stages.
        self.stages = []
        self.want("here")

    def want(self, output):
        """What runs of these stages must make."""
        sh(BINARY, *self.arguments(output), cwd=REPOSITORY)
        self.wanted = self.digests(output)

    def arguments(self, output):
        manifest = str(self.folder / "world" / "mini.toml")
        return ["run", "--quiet", *self.stages, "--manifest", manifest, "--output", self.place(output)]

    def place(self, output):
        return self.buckets.get(output, str(self.folder / output))

    def digests(self, output):
        """Of a run without damage, whose records are balanced: rows in = rows out + dropped."""
        place = self.place(output)
        sh(BINARY, "verify", "--output", place, cwd=REPOSITORY)
        return sh(BINARY, "verify", "--digests", "--output", place, cwd=REPOSITORY).stdout

    def run(self, name, engine, during=None, again=False, more=(), gpus=False, settle=None, bucket=None, command=None):
        output = f"run-{self.number}"
        self.number += 1
        if bucket:
            self.buckets[output] = f"{bucket}/{output}"
        begun, starts, happened = time.time(), 0, None
        log = self.folder / f"{output}.log"
        while True:
            with log.open("a") as text:
                line = (command or engine.command)([*self.arguments(output), *more], gpus=gpus)
                process = subprocess.Popen(line, stdout=text, stderr=text, cwd=REPOSITORY)
            starts += 1
            try:
                happened = during(process) if during else happened
                code = process.wait(timeout=600)
            except (SystemExit, subprocess.TimeoutExpired) as error:
                self.fail(name, output, error)
            (settle or engine.settle)()
            if code == 0 or not again:
                break
            during = None
        if code != 0:
            self.fail(name, output, f"exit {code}")
        if self.digests(output) != self.wanted:
            self.fail(name, output, "other data than on this machine")
        remarks = [f"started {starts} times"] if starts > 1 else []
        remarks += ["the run was over before"] if happened is False else []
        print(f"{name}: equal data in {time.time() - begun:.1f} s{''.join(f' ({remark})' for remark in remarks)}", flush=True)


    def fail(self, name, output, why):
        """Ends the test with all that was said in the run."""
        logs = [self.folder / f"{output}.log", *(self.folder / output / "log").rglob("*")]
        logs = "".join(f"{file}:\n{file.read_text(errors='replace')}" for file in logs if file.is_file())
        sys.exit(f"{name}: {why}\n{logs}")


def at_work(process, count=1):
    """Waits for so many workers, or for the run's end. Whether they came."""
    wait_for(f"{count} workers", lambda: len(workers()) >= count or process.poll() is not None)
    return process.poll() is None


def kill_a_worker(process):
    at_work(process)
    time.sleep(1.0)
    victims = workers()[:1]
    kill(victims)
    return bool(victims)


def bucket_server(folder):
    """The url of a bucket on this machine; none without a server, which run.sh names."""
    server = os.environ.get("S3_SERVER")
    if not server:
        return None
    os.environ.update(S3)
    with (folder / "s3.log").open("w") as log:
        subprocess.Popen([server, "-H", TOGETHER[0], "-p", str(S3_PORT)], stdout=log, stderr=log)
    address = f"http://{TOGETHER[0]}:{S3_PORT}"

    def answers():
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{address}/runs", method="PUT"), timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    wait_for("the bucket's server", answers)
    return "s3://runs"


def interrupt(process):
    """Ctrl-C: the planner ends within its ten seconds, and so do its workers on all nodes."""
    at_work(process, 2)
    time.sleep(1.0)
    begun = time.time()
    planners = [pid for pid in processes(BINARY, "run", "--quiet") if os.path.realpath(f"/proc/{pid}/exe") == BINARY]
    for pid in planners:
        os.kill(pid, signal.SIGINT)
    # Ten seconds, and what a busy machine needs.
    wait_for("the planner's end", lambda: process.poll() is not None, 20)
    wait_for("the workers' end", lambda: not workers(), 10)
    print(f"  ended {time.time() - begun:.1f} s after Ctrl-C", flush=True)
    if planners and process.returncode != 130:
        sys.exit(f"Ctrl-C: exit {process.returncode}")
    return bool(planners)


def hang_and_interrupt(process):
    """Ctrl-C while no worker listens: they are ended from outside, wherever they are."""
    at_work(process, 2)
    for pid in workers():
        os.kill(pid, signal.SIGSTOP)
    return interrupt(process)


def other_machine(hidden):
    """Words that run a command on another machine, as far as one can be had here: behind a link, with a name of its own and nothing in the `hidden` folders."""
    hide = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
    script = f"hostname bare; {hide}; ip link set lo up; exec sleep 1000000"
    holder = subprocess.Popen(["unshare", "-nmu", "sh", "-c", f"set -e; {script}"])
    inside = ["nsenter", "-t", str(holder.pid), "-n", "-m", "-u"]
    wait_for("another machine", lambda: sh(*inside, "hostname", check=False).stdout.strip() == "bare", 10)
    sh("ip", "link", "set", "there", "netns", str(holder.pid))
    sh(*inside, "ip", "address", "add", f"{APART[1]}/24", "dev", "there")
    sh(*inside, "ip", "link", "set", "there", "up")
    wait_for("the link", lambda: "LOWER_UP" in sh("ip", "link", "show", "here").stdout, 10)
    return inside


def on_bare(pids):
    """Those that run on the other machine."""
    name = os.readlink("/proc/self/ns/uts")
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}/ns/uts") and os.readlink(f"/proc/{pid}/ns/uts") != name]


def gpus_of_workers(process):
    """What workers see of GPUs: one of each number, or none."""
    seen = {}
    while process.poll() is None:
        for pid in workers():
            try:
                variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            except OSError:
                continue
            of = dict(line.split("=", 1) for line in variables if "=" in line)
            if of:
                seen[pid] = of.get("CUDA_VISIBLE_DEVICES", "all")
        time.sleep(0.1)
    kinds = set(seen.values())
    if "" not in kinds or len(kinds) < 2 or any(kind and not kind.isdigit() for kind in kinds):
        sys.exit(f"GPUs that workers see: {seen}")


def run_together(test, Engine, folder, bucket):
    """Both nodes are on this machine."""
    engine = Engine(folder, TOGETHER, [])
    test.run("one node", engine)

    def late(process):
        at_work(process)
        engine.late_node()
        # A job of Slurm stays as large as it began.
        return None if Engine is Slurm else at_work(process, 3)

    def leads(process):
        at_work(process)
        time.sleep(1.0)
        return engine.kill_what_leads()

    def planner(process):
        at_work(process)
        time.sleep(2.0)
        return kill(processes(BINARY, "run", "--quiet"))

    def stop(process):
        return at_work(process, 2) and engine.stop_batch()

    def node(process):
        at_work(process)
        time.sleep(1.5)
        return engine.kill_node()

    more = ["--workers", "4"] if Engine is Ray else []
    test.run("a node that comes late", engine, late, more=more)
    test.run("two nodes", engine)
    test.run("a worker killed", engine, kill_a_worker)
    if bucket:
        test.run("a worker killed, the output in a bucket", engine, kill_a_worker, bucket=bucket)
    else:
        print("the output in a bucket: skipped, there is no moto_server", flush=True)
    test.run("what leads to a worker killed", engine, leads)
    test.run("Ctrl-C", engine, interrupt, again=True)
    test.run("Ctrl-C while workers hang", engine, hang_and_interrupt, again=True)
    test.run("the planner killed", engine, planner, again=True)
    if Engine is Slurm:
        test.run("a batch job near its end, submitted again", engine, stop, again=True, command=engine.batch)
    test.run("a node killed", engine, node, again=True)
    refuse(test, engine)
    engine.settle()
    engine.stop()


def refuse(test, engine):
    """Where no worker has room the run says so, soon."""
    asked = ["--workers", "1", "--threads", "64", "--start-timeout", "3s"]
    command = engine.command([*test.arguments("refused"), *asked])
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    if ended.returncode != 3 or "workers do not start" not in ended.stderr:
        sys.exit(f"no room: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    print(f"no room: {ended.stderr.strip().splitlines()[0]}", flush=True)


def run_apart(test, Engine, folder):
    """The second node is another machine."""
    cache, program = folder / "cache", folder / "copy" / "program"
    hidden = [REPOSITORY / "manifests" / "mini", REPOSITORY / ".onnxruntime", pathlib.Path(BINARY).parent]
    engine = Engine(folder, APART, other_machine(hidden))
    engine.late_node()
    # The embedded world's web is on this machine's loopback.
    test.stages = ["--stage", "..verify-portraits"]
    test.want("here-too")
    program.parent.mkdir()
    shutil.copy(BINARY, program)
    test.run("a node without models", engine, more=["--program", str(program)])
    fetching = ["--node-cache", str(cache), "--fetch-program"]

    def at_work_there(process):
        wait_for("a worker there", lambda: on_bare(workers()) or process.poll() is not None)
        return bool(on_bare(workers()))

    test.run("a node without models and program, which fetches both", engine, at_work_there, more=fetching)
    gpus = [*fetching, "--set", 'models.sdxl.device="auto"']
    test.run("with GPUs", engine, gpus_of_workers, more=gpus, gpus=True)

    def cut(process):
        at_work_there(process)
        time.sleep(1.0)
        there = bool(on_bare(workers()))
        sh("ip", "link", "set", "here", "down")
        return there

    def settle():
        # Who was cut off goes on for a while.
        kill(on_bare(workers()))
        sh("ip", "link", "set", "here", "up")
        engine.settle()

    test.run("the network cut", engine, cut, more=fetching, settle=settle)
    engine.stop()


def main():
    os.chdir(REPOSITORY)
    sh("ip", "link", "set", "lo", "up")
    # Names are resolved only where there is an address that is not loopback's.
    sh("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
    sh("ip", "address", "add", "10.77.0.1/24", "dev", "here")
    sh("ip", "link", "set", "here", "up")
    sh("ip", "link", "set", "there", "up")
    with tempfile.TemporaryDirectory(prefix="lc-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        test = Test(folder)
        print(f"on this machine: {len(test.wanted.splitlines())} tables", flush=True)
        Engine = {"slurm": Slurm, "ray": Ray}[ENGINE]
        together, other, temporary = folder / "a", folder / "b", folder / "t"
        for place in (together, other, temporary):
            place.mkdir()
        # Of runs in a bucket each machine's scratch lies there.
        os.environ["TMPDIR"] = str(temporary)
        if "together" in PLACES:
            run_together(test, Engine, together, bucket_server(folder))
        if "apart" in PLACES:
            run_apart(test, Engine, other)


main()
