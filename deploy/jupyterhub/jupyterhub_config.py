"""JupyterHub for one class on one server, with real users and real limits; README.md tells how.

It listens on 127.0.0.1 only; a web server with TLS stands before it. Who may come is in a file, one
name a line: /etc/jupyterhub/learners.txt, or the one that LRCOURSE_LEARNERS names.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821 (JupyterHub puts it here)
course = Path(__file__).resolve().parents[2]
bin_dir = Path(sys.executable).parent  # JupyterHub, its proxy and the course share one environment
learners = Path(os.environ.get("LRCOURSE_LEARNERS", "/etc/jupyterhub/learners.txt"))

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:8081"
c.JupyterHub.cleanup_servers = False  # a restarted hub finds the learners' servers as they were
c.ConfigurableHTTPProxy.command = [str(bin_dir / "configurable-http-proxy")]

# Users of the system, with their passwords. A listed name that is none is refused as well.
c.JupyterHub.authenticator_class = "pam"
c.Authenticator.allowed_users = set(learners.read_text(encoding="utf-8").split())
if not c.Authenticator.allowed_users:
    sys.exit(f"{learners} names nobody: write the learners' user names there, one a line.")
# Who is struck off the list must not come in because the hub's database still knows the name.
c.Authenticator.allow_existing_users = False

# Each learner's server is a unit of systemd, so the limits hold for all its processes together.
c.JupyterHub.spawner_class = "systemd"
c.Spawner.mem_limit = "2G"
c.SystemdSpawner.unit_extra_properties = {
    "MemorySwapMax": "0",
    "TasksMax": "512",  # processes and threads
    "CPUWeight": "100",  # equal shares when all want the processor, all of it when one does
    "OOMPolicy": "continue",  # the kernel that took too much dies; the learner's server lives
}
c.SystemdSpawner.isolate_tmp = True
c.SystemdSpawner.disable_user_sudo = True
# A kernel's channels: sockets in the learner's own folder. The usual ones are TCP ports, and what a
# kernel prints there could be read by every user of the machine.
c.Spawner.args = ["--KernelManager.transport=ipc"]
# First their own copies of the chapters, or those that the course has changed and they have not.
copies = ["/bin/sh", str(course / "deploy" / "learner.sh")]
c.Spawner.cmd = [*copies, str(bin_dir / "jupyterhub-singleuser")]
c.Spawner.default_url = "/lab/tree/course%2Fwork%2F00_start_here.ipynb"
c.Spawner.http_timeout = 180  # seconds: when the whole class logs in at once, all wait for all
c.Spawner.environment = {
    "PATH": f"{bin_dir}:/usr/local/bin:/usr/bin:/bin",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",  # twenty learners with all cores each would stand in each other's way
}

# A server that nobody used for an hour is stopped; files stay.
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    }
]
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"],
    }
]
