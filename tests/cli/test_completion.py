"""What a shell completes, and the scripts by which it does."""

from __future__ import annotations

import os
import subprocess
import sysconfig

import pytest

from support.command_line import CommandLine
from support.runs import Project


def completed(command_line: CommandLine, words: str) -> list[str]:
    """Return what bash is told to complete the last word with."""
    os.environ["_MLFLOW_UTILITIES_COMPLETE"] = "bash_complete"
    os.environ["COMP_WORDS"] = words
    os.environ["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    return [line.partition(",")[2] for line in command_line().out.splitlines() if line]


def test_names_and_statuses_are_completed(command_line: CommandLine) -> None:
    """A shell completes commands, options and statuses."""
    assert completed(command_line, "mlflow-utilities ro") == ["rollback"]
    assert completed(command_line, "mlflow-utilities enable --dry") == ["--dry-run"]
    assert {value.lower() for value in completed(command_line, "mlflow-utilities runs --status ")} == {
        "new", "active", "canary", "disabled",
    }  # fmt: skip


def test_run_ids_are_completed(command_line: CommandLine, project: Project) -> None:
    """A shell completes run ids of the experiment that is named, and nothing when the server cannot be asked."""
    words = f"mlflow-utilities show -e {project.name} "

    assert set(completed(command_line, words)) == set(project.runs)
    assert completed(command_line, words + project.runs[0][:10]) == [project.runs[0]]
    assert completed(command_line, "mlflow-utilities show ") == []
    os.environ["MLFLOW_TRACKING_URI"] = "nonsense"
    assert completed(command_line, words) == []


def test_bash_completes_by_the_script() -> None:
    """The script that is printed works in a real bash."""
    script = (
        'eval "$(mlflow-utilities completion bash)"; COMP_WORDS=(mlflow-utilities cache p); COMP_CWORD=2; '
        '_mlflow_utilities_completion mlflow-utilities; echo "${COMPREPLY[*]}"'
    )
    environ = {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}

    ended = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == ("path prune\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(command_line: CommandLine, shell: str) -> None:
    """`completion` prints the script of a shell, and says how to install it without one."""
    script = command_line("completion", shell)

    assert script.code == 0
    assert "_MLFLOW_UTILITIES_COMPLETE" in script.out
    assert f"{shell}: " in command_line("completion").out
