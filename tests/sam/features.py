"""All functions are built with the same features of the crates that they share: `sam build` builds them one after the
other, and would build the AWS SDK again for each other set. Usage: features.py"""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir())


def features(*names):
    """The features of each crate in the build of these functions."""
    packages = [argument for name in names for argument in ("--package", name)]
    command = ["cargo", "tree", "--locked", "--edges", "features,normal,build", "--target", "x86_64-unknown-linux-gnu"]
    command += ["--prefix", "none", *packages]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {}
    for crate, feature in re.findall(r'^(\S+) feature "([^"]+)"', lines, re.MULTILINE):
        found.setdefault(crate, set()).add(feature)
    return found


def main():
    together = features(*FUNCTIONS)
    assert "aws-sdk-dynamodb" in together, together.keys()
    assert "doors" not in together.get("shared", set()), "what only fuzzing may reach would be deployed"
    differing = {
        f"{name}: {crate}": sorted(together[crate] - alone)
        for name in FUNCTIONS
        for crate, alone in features(name).items()
        if together[crate] != alone and crate not in FUNCTIONS
    }
    assert not differing, f"built alone these lack features that they have beside other functions: {differing}"
    print(f"{len(FUNCTIONS)} functions share one set of features of {len(together)} crates")


main()
