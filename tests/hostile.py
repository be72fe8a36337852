"""A machine whose owner has settings for everything, all of which would break the course.

    python tests/hostile.py COMMAND ...     # runs a command there, `python3 course.py lab` for one

`tests/test_settings.py` does the same, as far as it is quick.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

OTHERS = ("jupyterlab", "matplotlib", "numpy", "pandas", "torch", "lrcourse", "IPython")
JUPYTER = """{"ServerApp": {"root_dir": "/", "default_url": "/tree", "base_url": "/odd/", "port": 1,
"password": "argon2:x", "contents_manager_class": "no.such.Manager", "open_browser": true}}"""
PIP = """[global]
no-deps = true
target = {home}/target
require-virtualenv = true
dry-run = true
user = true
quiet = 3
log = {home}/no/such/folder
[install]
prefix = {home}/prefix
"""
FILES = {
    ".jupyter/jupyter_server_config.json": JUPYTER,
    ".jupyter/jupyter_lab_config.json": JUPYTER,
    ".jupyter/jupyter_server_config.py": "raise SystemExit('of Jupyter')",
    ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings": "{",
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "language": "python"}',
    ".ipython/profile_default/startup/00.py": "raise SystemExit('of IPython')",
    ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['no']",
    "startup.py": "raise SystemExit('of Python')",
    "matplotlibrc": "backend: TkAgg\ntext.usetex: True\nfigure.dpi: 17\nsavefig.facecolor: red\n",
    ".config/matplotlib/matplotlibrc": "backend: TkAgg\ntext.usetex: True\n",
    ".config/pip/pip.conf": PIP,
    ".keras/keras.json": '{"backend": "tensorflow", "floatx": "float16"}',
    **{f"modules/{name}.py": f"raise SystemExit('a {name} of theirs')" for name in OTHERS},
}
VARIABLES = {
    "HOME": "{home}",
    "PYTHONSTARTUP": "{home}/startup.py",
    "PYTHONPATH": "{home}/modules",
    "PYTHONIOENCODING": "cp1252",
    "PYTHONOPTIMIZE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "0",
    "PYTHONWARNINGS": "error::DeprecationWarning",
    "LC_ALL": "C",
    "MPLBACKEND": "TkAgg",
    "MPLCONFIGDIR": "{home}/.config/matplotlib",
    "MATPLOTLIBRC": "{home}/matplotlibrc",
    "JUPYTER_CONFIG_DIR": "{home}/.jupyter",
    "JUPYTER_CONFIG_PATH": "{home}/.jupyter",
    "JUPYTER_DATA_DIR": "{home}/no/such/folder",
    "JUPYTER_NO_CONFIG": "1",
    "JUPYTER_PATH": "{home}/.local/share/jupyter",
    "JUPYTER_PORT": "1",
    "JUPYTER_RUNTIME_DIR": "/no/such/folder",
    "JUPYTER_TOKEN": "theirs",
    "JUPYTERLAB_DIR": "{home}/no/such/folder",
    "JUPYTERLAB_SETTINGS_DIR": "{home}/no/such/folder",
    "JUPYTERLAB_WORKSPACES_DIR": "{home}/no/such/folder",
    "IPYTHONDIR": "{home}/.ipython",
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": "{home}/.keras",
    "PIP_CONFIG_FILE": "{home}/.config/pip/pip.conf",
    "PIP_DRY_RUN": "1",
    "PIP_LOG": "{home}/no/such/folder/log",
    "PIP_NO_DEPS": "1",
    "PIP_PREFIX": "{home}/prefix",
    "PIP_PYTHON": "/bin/false",
    "PIP_QUIET": "3",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_ROOT": "{home}/root",
    "PIP_TARGET": "{home}/target",
    "PIP_USER": "1",
    "PYTEST_ADDOPTS": "--no-such-option",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


def settings(home: Path) -> dict[str, str]:
    """Fill a home folder with them; gives all variables of a process that is at home there."""
    for name, content in FILES.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("{home}", str(home)), encoding="utf-8")
    set_there = {name: value.replace("{home}", str(home)) for name, value in VARIABLES.items()}
    return {**os.environ, **set_there}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(subprocess.call(sys.argv[1:], env=settings(Path(folder))))
