"""What ``depotwatch analyse`` says of itself."""

import argparse

from imagery.changes import ObjectClass
from pipelines.parameters import COARSE_GSD_M, Parameters
from service.commands import analyse


def test_what_the_command_says_of_its_defaults_is_so() -> None:
    parser = argparse.ArgumentParser()
    analyse.add_arguments(parser)
    (told,) = [a.help for a in parser._actions if a.dest == "min_confidence"]
    least = Parameters().least_confidence
    assert told is not None
    for kind in ObjectClass:
        assert f"by default {least(kind):g} ({least(kind, sunless=True):g} where" in told
        assert f"{least(kind, coarse=True):g} at pixels over {COARSE_GSD_M:g} m" in told
