"""Runs a command and measures it."""
import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Measured:
    code: int
    seconds: float
    cpu_seconds: float
    megabytes: float        # largest sum of resident memory over the command's processes
    text: str


def tree(root):
    """The process ids of a process and all below it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def resident(root):
    """Resident megabytes of a process and all below it, shared pages counted once for each."""
    total = 0
    for pid in tree(root):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            pass
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


async def run(command, seconds, environment, log):
    """Runs to the end or for `seconds`; the output goes to the file `log`."""
    before, begun, peak = os.times(), time.monotonic(), 0.0
    with open(log, "wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL, env=environment)
        end = asyncio.ensure_future(process.wait())
        while not end.done() and time.monotonic() - begun < seconds:
            peak = max(peak, resident(process.pid))
            await asyncio.wait([end], timeout=0.1)
        if not end.done():
            process.kill()
        code = await end
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(code, time.monotonic() - begun, cpu, peak, Path(log).read_text(errors="replace"))
