"""The guessed mask: opaque clouds are found, and nothing that a site is made of is taken for one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from imagery.cloud import guess_obstruction
from imagery.illumination import Sun
from imagery.observability import ObservationState as State

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "real"
Cube = NDArray[np.float32]


def ground(rng: np.random.Generator, shape: tuple[int, int], level: float = 0.16) -> Cube:
    """Brownish ground with texture, blue to nir."""
    texture = gaussian_filter(rng.normal(size=shape), 3) * 0.25 + rng.normal(size=shape) * 0.01
    colours = np.array([0.7, 0.9, 1.1, 1.5])[:, None, None] * level
    return (colours * (1.0 + texture)).clip(0.01, 1.0).astype(np.float32)


def with_cloud(
    cube: Cube, gsd_m: float, centre: tuple[float, float], radius_m: float, top: float = 0.6
) -> Cube:
    """Lay one soft-edged cloud over a cube; metres from the north-west corner."""
    row, col = np.mgrid[: cube.shape[1], : cube.shape[2]] * gsd_m
    distance = np.hypot(row - centre[0], col - centre[1])
    opaque = np.clip((radius_m - distance) / (0.4 * radius_m), 0.0, 1.0)
    return (cube * (1 - opaque) + top * opaque).astype(np.float32)


NAMES = ("blue", "green", "red", "nir")


@pytest.mark.parametrize("gsd_m", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("names", [NAMES, NAMES[:3], ("pan",)], ids=["rgbn", "rgb", "pan"])
def test_an_opaque_cloud_is_found_and_the_clear_ground_left(gsd_m: float, names: tuple[str, ...]) -> None:
    side = 600 if gsd_m < 1.0 else 400
    metres = side * gsd_m
    cube = with_cloud(
        ground(np.random.default_rng(3), (side, side)), gsd_m, (metres / 2, metres / 2), metres / 4
    )
    state = guess_obstruction(cube[: len(names)], names, np.ones((side, side), bool), gsd_m, relative=False)
    assert state[side // 2, side // 2] == State.CLOUD
    row, col = np.mgrid[:side, :side] - side / 2
    far = np.hypot(row, col) * gsd_m > metres / 4 + 60.0
    assert not state[far].any()


@pytest.mark.parametrize("radius_m", [36.0, 50.0])
@pytest.mark.parametrize("relative", [False, True])
def test_clouds_of_a_few_dozen_metres_are_found_on_a_small_site(radius_m: float, relative: bool) -> None:
    cube = with_cloud(ground(np.random.default_rng(9), (480, 480)), 0.5, (120.0, 120.0), radius_m)
    cube = np.minimum(cube * 1.6, 1.0) if relative else cube
    state = guess_obstruction(cube, NAMES, np.ones((480, 480), bool), 0.5, relative=relative)
    row, col = np.mgrid[:480, :480] * 0.5 - 120.0
    away = np.hypot(row, col)
    assert (state[away < 0.8 * radius_m] == State.CLOUD).all()
    assert not state[away > radius_m + 50.0].any()


def test_beside_a_cloud_smaller_ones_are_believed_and_alone_they_are_not() -> None:
    seen = np.ones((480, 480), bool)
    small = with_cloud(ground(np.random.default_rng(9), (480, 480)), 0.5, (60.0, 190.0), 18.0)
    assert not guess_obstruction(small, NAMES, seen, 0.5, relative=False).any()
    both = with_cloud(small, 0.5, (160.0, 80.0), 50.0)
    state = guess_obstruction(both, NAMES, seen, 0.5, relative=False)
    assert state[120, 380] == state[320, 160] == State.CLOUD


def test_a_shadow_is_found_where_the_sun_casts_it() -> None:
    side, gsd_m = 500, 2.0
    rng = np.random.default_rng(4)
    row, col = np.mgrid[:side, :side]
    lit = ground(rng, (side, side))
    # The sun stands in the south: the shadow lies 300 m north of the cloud.
    shade = np.clip(2.0 - np.hypot(row - 200, col - 250) / 40.0, 0.0, 1.0)
    cube = with_cloud((lit * (1.0 - 0.6 * shade)).astype(np.float32), gsd_m, (700.0, 500.0), 140.0)
    state = guess_obstruction(
        cube, NAMES, np.ones((side, side), bool), gsd_m, relative=False, sun=Sun(180.0, 40.0)
    )
    assert (state[180:220, 230:270] == State.CLOUD_SHADOW).mean() > 0.9
    assert (state == State.CLOUD_SHADOW).mean() < 0.09  # the shadow itself is 0.05, its rim the rest
    wrong = guess_obstruction(
        cube, NAMES, np.ones((side, side), bool), gsd_m, relative=False, sun=Sun(0.0, 40.0)
    )
    assert not (wrong == State.CLOUD_SHADOW).any()


@pytest.mark.parametrize("relative", [False, True])
def test_bright_objects_with_walls_are_never_clouds(relative: bool) -> None:
    gsd_m = 0.5
    cube = ground(np.random.default_rng(5), (600, 600), 0.2)
    white = 0.95 if relative else 0.7
    for i in range(8):  # rows of white containers
        cube[:, 50 + 30 * i : 55 + 30 * i, 50:300] = white
    cube[:, 350:550, 100:400] = white  # a white warehouse of 100 x 150 m
    cube[:, 100:140, 400:560] = white
    state = guess_obstruction(cube, NAMES, np.ones((600, 600), bool), gsd_m, relative=relative)
    assert not state.any()


def test_sand_is_no_cloud() -> None:
    sand = np.ones((4, 300, 300), np.float32) * np.array([0.28, 0.37, 0.46, 0.52], np.float32)[:, None, None]
    sand += np.random.default_rng(6).normal(size=sand.shape).astype(np.float32) * 0.005
    for gsd_m in (0.5, 10.0):
        assert not guess_obstruction(sand, NAMES, np.ones((300, 300), bool), gsd_m, relative=False).any()


def test_a_snowed_in_look_is_called_snow() -> None:
    rng = np.random.default_rng(7)
    colours = np.array([0.72, 0.71, 0.69, 0.60], np.float32)[:, None, None]
    snow = (colours * (1 + 0.05 * rng.normal(size=(1, 300, 300)))).astype(np.float32)
    snow[:, 100:110] = 0.15  # a cleared road
    state = guess_obstruction(snow, NAMES, np.ones((300, 300), bool), 10.0, relative=False)
    assert (state[:90] == State.SNOW).mean() > 0.9
    assert not (state[102:108] == State.SNOW).any()


def test_what_has_no_number_is_never_guessed() -> None:
    cube = with_cloud(ground(np.random.default_rng(8), (200, 200)), 4.0, (400.0, 400.0), 200.0)
    observed = np.ones((200, 200), bool)
    observed[:, :100] = False
    state = guess_obstruction(cube, NAMES, observed, 4.0, relative=False)
    assert not state[~observed].any()
    assert not guess_obstruction(cube, NAMES, np.zeros((200, 200), bool), 4.0, relative=False).any()
    assert not guess_obstruction(cube[:1], ("lwir",), observed, 4.0, relative=False).any()


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real imagery is not here")
def test_clear_real_pictures_stay_clear() -> None:
    from skimage.io import imread

    shares = []
    for folder, gsd_m in (
        ("levir_cd_samples", 0.5),
        ("sztaki_airchange_szada", 1.5),
        ("pdok_maasvlakte", 0.2),
        ("xbd_hurricane_matthew", 0.5),
        ("pytorch_change_models_demo", 0.5),
        ("dsifn_samples", 2.0),
    ):
        for path in sorted((REAL / folder).rglob("*.png")):
            picture = np.asarray(imread(path))
            if picture.ndim != 3 or "label" in path.parts or path.name == "gt.png":
                continue
            cube = (np.moveaxis(picture[..., :3], -1, 0) / 255.0).astype(np.float32)
            observed = np.ones(cube.shape[1:], bool)
            state = guess_obstruction(cube, ("red", "green", "blue"), observed, gsd_m, relative=True)
            shares.append(float((state > 0).mean()))
    assert len(shares) > 20
    assert max(shares) == 0.0
