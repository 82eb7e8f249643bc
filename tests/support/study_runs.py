"""Studies that tests run: small grids, whose cells are worked on in the test's own process."""

from types import SimpleNamespace

from rich.console import Console

from otomatch.studies import cells
from otomatch.studies import worker as cell_process
from otomatch.studies.catalogue import Arm, Study
from otomatch.studies.data import prepare_study_data

QUIET = Console(quiet=True)
MATCHING = Arm("m-LTM", {"loss": "m-LTM"}, ("loss.name=matching",))
NTXENT = Arm("NT-Xent", {"loss": "NT-Xent"}, ("loss.name=ntxent",))
BROKEN = Arm("broken", {"loss": "broken"}, ("data.clips=9999",))


def study_of(*arms):
    return Study("losses", "Which is better?", lambda _inputs: list(arms))


def prepared(settings):
    """Return the data of settings of a study on a data set."""
    return prepare_study_data(
        settings.data, settings.out / "data", scenes=1, draws=1, zeroshot=None, console=QUIET
    )


def in_this_process(worked):
    """Return a replacement of `subprocess.run` that works on cells and lists them."""

    def run(command, **_):
        folder = cells.Path(command[4])
        worked.append(folder.name)
        return SimpleNamespace(returncode=cell_process.main(folder, quiet=True))

    return run
