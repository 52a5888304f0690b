"""The parts of a stack: a third way to run containers replaces only the runner."""

from collections.abc import Sequence
from pathlib import Path

from composed.docker.stack import DockerStack
from composed.env.settings import load_settings
from composed.gateway import Gateway
from composed.project import Project
from composed.stack import BuildOptions, Runner, Service, UpOptions
from tests.recorder import Recorder


class ThirdRunner(Runner):
    """Stands for a runner that is neither Compose nor local mode."""

    def __init__(self) -> None:
        self.started: list[Sequence[str]] = []

    def up(self, options: UpOptions) -> list[Service]:
        self.started.append(options.services)
        return []

    restart = up

    def down(self, *, volumes: bool = False) -> int:
        return 0

    def ps(self) -> list[Service]:
        return [Service("backend", "running", url="http://127.0.0.1:9")]

    def logs(self, services: Sequence[str], *, follow: bool, tail: str, since: str) -> int:
        return 0

    def build(self, options: BuildOptions, /) -> int:
        return 0


def test_a_stack_works_with_a_third_runner(project: Project, recorder: Recorder) -> None:
    recorder.on("docker", "inspect", "--format", "{{.Image}}…").say("sha256:1 shop-backend\n")
    recorder.on("docker", "image", "inspect").say("sha256:1\n")
    runner = ThirdRunner()
    stack = DockerStack(project, load_settings(project), Gateway(Path()), runner)

    assert stack.inside.current_url() == "http://127.0.0.1:9"
    assert stack.inside.manage("check") == 0
    assert runner.started == [["db"]]
    assert recorder.ran[-1][-5:] == ["--entrypoint", "python", "backend", "manage.py", "check"]
