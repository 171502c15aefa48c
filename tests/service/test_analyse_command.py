"""What ``depotwatch analyse`` says of itself."""

import argparse

from imagery.changes import ObjectClass
from pipelines.parameters import COARSE_GSD_M, Parameters
from service.commands import analyse


def test_what_the_command_says_of_its_defaults_is_so() -> None:
    parser = argparse.ArgumentParser()
    analyse.add_arguments(parser)
    (told,) = [a.help for a in parser._actions if a.dest == "min_confidence"]
    least, kind = Parameters().least_confidence, ObjectClass.CONTAINER
    assert told is not None
    assert f"{least(kind):g} for containers and berms ({least(kind, sunless=True):g} where" in told
    assert f"{least(ObjectClass.OTHER):g} for what is not identified" in told
    assert f"{least(kind, coarse=True):g} at pixels over {COARSE_GSD_M:g} m" in told
