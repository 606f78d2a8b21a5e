#!/usr/bin/env python3
"""Holds running services against their own OpenAPI documents with schemathesis.

    check.py WORK_DIR URL...

URL is the address of a document. WORK_DIR keeps the virtual environment with the pinned packages of
requirements.txt, so that a second run installs nothing. Requests are made from the documents: their examples, the edges
of what they allow and what they do not allow, and random ones by a fixed seed. Every answer must have a status, a
content type, headers and a body that its document names, and none may be a mistake of the service. Exit code 0: so it
is; 1: it is not, the output says where; 2: schemathesis could not be installed or run.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
MAX_EXAMPLES = "50"
SEED = "4"
TIMEOUT_S = 600


def installed(work: Path) -> Path:
    """The programs of an environment with exactly the pinned packages."""
    home = work / "venv"
    programs = home / "bin"
    stamp = home / "requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(home, with_pip=True, clear=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True, timeout=TIMEOUT_S)
        stamp.write_text(wanted)
    return programs


def holds(programs: Path, work: Path, url: str) -> bool:
    """Whether a service does as its document says."""
    command = [
        str(programs / "schemathesis"), "run", url,
        "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", MAX_EXAMPLES,
        "--seed", SEED,
        "--workers", "1",
        "--suppress-health-check", "all",
        "--continue-on-failure",
    ]
    # No proxy of the environment stands between us and this machine's loopback.
    environment = {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    ended = subprocess.run(command, cwd=work, env=environment, timeout=TIMEOUT_S)
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"schemathesis ended with {ended.returncode}")
    return ended.returncode == 0


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    work = Path(arguments[0]).absolute()
    work.mkdir(parents=True, exist_ok=True)
    try:
        programs = installed(work)
        # All of them are asked, also after one that does not hold.
        return 0 if all([holds(programs, work, url) for url in arguments[1:]]) else 1
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"check.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
