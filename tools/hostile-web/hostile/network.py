"""The namespace: every address is this machine, the resolver is ours."""
import subprocess
import tempfile
from pathlib import Path

from . import watch
from .kind import WEB

# Addresses of ours that no route leads to.
UNREACHABLE = ["93.184.68.0/24", "2606:2800:220:68::/64", "2a00:dead::/32"]


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def set_up():
    """All addresses lead to this machine, so that whatever is asked for is seen."""
    ip("link", "set", "lo", "up")
    ip("route", "replace", "local", "0.0.0.0/0", "dev", "lo")
    ip("-6", "route", "replace", "local", "::/0", "dev", "lo")
    for network in UNREACHABLE:
        ip(*(["-6"] if ":" in network else []), "route", "add", "unreachable", network, "table", "local")


def set_up_names():
    """/etc/resolv.conf and /etc/hosts of this mount namespace."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-web-"))
    hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
    hosts += "".join(f"{address} {name}\n" for name, address in WEB.hosts_file.items())
    for name, text in (("resolv.conf", watch.resolver_lines()), ("hosts", hosts)):
        (folder / name).write_text(text)
        subprocess.run(["mount", "--bind", folder / name, Path("/etc", name).resolve()], check=True)
