"""Builds `build/poll.wasm` and puts its manifest beside it."""

import os
import pathlib
import shutil
import subprocess
import sysconfig

HERE = pathlib.Path(__file__).resolve().parent
# Where the contract is: beside the examples, unless somebody says otherwise.
CONTRACT = os.environ.get("HULYNET_WIT", str(HERE.parent.parent / "wit"))
# Of this interpreter's environment, whether or not it is activated.
TOOL = pathlib.Path(sysconfig.get_path("scripts")) / "componentize-py"

build = HERE / "build"
build.mkdir(exist_ok=True)
arguments = ["--wit-path", CONTRACT, "--wit-path", "poll.wit", "--world", "example:poll/poll", "--quiet"]
component = build / "poll.wasm"
subprocess.run([TOOL, *arguments, "componentize", "--output", component, "app"], cwd=HERE, check=True)
shutil.copy(HERE / "poll.toml", build / "poll.toml")
print(f"{component.relative_to(HERE)}: {component.stat().st_size / 1e6:.1f} MB")
