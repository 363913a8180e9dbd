"""Workers on the nodes of a Ray cluster: lines between the coordinator and worker processes, and nothing else.

Started by laioncele with the cluster's address. Reads JSON lines: {"start": w, "command": […], "env": {…}, "cpus": n, "gpus": n, "avoid": [HOST…]},
{"send": w, "line": "…"}, {"kill": w}. Writes {"ready": {…}}, {"w": w, "line": "…"}, {"w": w, "log": "…"}, {"w": w, "exit": "…"} and
{"fatal": "…"}. Attempts are counted by the coordinator alone, so actors neither restart nor retry.
"""

import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading

OLDEST = (2, 60)  # The one that `make test-ray` ran.
out_lock = threading.Lock()
pipe = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # Whatever libraries print goes to the log.


def say(message):
    with out_lock:
        pipe.write(json.dumps(message) + "\n")


def die_with_parent():
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def import_ray():
    try:
        import ray
    except ImportError as error:
        say({"fatal": f"the Python package `ray` cannot be imported by {sys.executable}: {error}"})
        sys.exit(1)
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        say({"fatal": f"ray {ray.__version__} is too old: laioncele was tested with {wanted}, and takes that or a newer one"})
        sys.exit(1)
    return ray


ray = import_ray()


class Worker:
    """One worker process on whatever node has room."""

    def __init__(self, command, env, gpus):
        env = {**os.environ, **env}
        if not gpus:
            env["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves it unset: such a worker would see every GPU.
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent
        )

    def lines(self):
        """("line" | "log", text) until both streams end, then ("exit", how)."""
        texts = queue.Queue()

        def read(stream, kind):
            for line in stream:
                texts.put((kind, line.decode("utf-8", "replace").rstrip("\n")))
            texts.put(None)

        streams = [(self.process.stdout, "line"), (self.process.stderr, "log")]
        for stream, kind in streams:
            threading.Thread(target=read, args=(stream, kind), daemon=True).start()
        open_streams = len(streams)
        while open_streams:
            text = texts.get()
            if text is None:
                open_streams -= 1
            else:
                yield text
        code = self.process.wait()
        yield ("exit", f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")

    def send(self, line):
        try:
            self.process.stdin.write((line + "\n").encode())
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # Its end follows.

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def kill(self):
        self.process.kill()


actors = {}


def listen(number, actor):
    reason = "its output ended"
    try:
        stream = actor.lines.options(num_returns="streaming", concurrency_group="output").remote()
        for ref in stream:
            kind, text = ray.get(ref)
            if kind == "exit":
                reason = text
            else:
                say({"w": number, kind: text})
    except Exception as error:  # The node or the actor is gone: the coordinator decides what that means.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"
    actors.pop(number, None)
    say({"w": number, "exit": reason})


def start(message):
    number = message["start"]
    groups = {"output": 1, "control": 1}
    options = {"num_cpus": message["cpus"], "num_gpus": message["gpus"], "max_restarts": 0, "max_task_retries": 0}
    avoided = [node["NodeID"] for node in ray.nodes() if node["NodeManagerHostname"] in message["avoid"]]
    if avoided:
        options["label_selector"] = {"ray.io/node-id": f"!in({','.join(avoided)})"}
    kind = ray.remote(concurrency_groups=groups, **options)(Worker)
    actor = kind.remote(message["command"], message["env"], message["gpus"])
    actors[number] = actor
    threading.Thread(target=listen, args=(number, actor), daemon=True).start()


def control(number, method, *arguments):
    actor = actors.get(number)
    if actor is not None:
        getattr(actor, method).options(concurrency_group="control").remote(*arguments)


def main():
    try:
        ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error", configure_logging=False)
    except Exception as error:
        text = str(error).strip().splitlines()
        say({"fatal": f"no Ray cluster at {sys.argv[1]}: {text[0] if text else type(error).__name__}"})
        sys.exit(1)
    say({"ready": {"ray": ray.__version__, "resources": ray.cluster_resources()}})
    for line in sys.stdin:
        message = json.loads(line)
        if "start" in message:
            start(message)
        elif "send" in message:
            control(message["send"], "send", message["line"])
        elif "close" in message:
            control(message["close"], "close")
        elif "kill" in message:
            actor = actors.pop(message["kill"], None)
            if actor is not None:
                ray.kill(actor)


main()
# The driver's end takes its actors along, and they their workers.
os._exit(0)
