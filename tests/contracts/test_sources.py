"""What every kind of source promises; a new module in streaming/sources is tested as soon as it is there."""

import itertools
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from streaming import sources
from streaming.clock import SystemClock
from streaming.sources import Limits, SourceError, SourceRefused, kinds, open_source
from streaming.sources.base import Opening
from streaming.sources.synthetic import Scene, render_file

LIMITS = Limits(open_timeout_s=2, read_timeout_s=2)
KINDS = sorted(kinds())

# an address of each kind that leads nowhere, but is well formed
NOWHERE = {
    "file": "file:missing.mp4",
    "http": "http://127.0.0.1:1/x",
    "rtsp": "rtsp://127.0.0.1:1/x",
    "v4l2": "v4l2:/dev/video63",
}
# one that gives pictures here and now
SOMEWHERE = {"file": "file:yard.mp4?loop=1", "synthetic": "synthetic:yard?fps=50&size=96x80"}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    render_file(folder / "yard.mp4", Scene("yard", 96, 80), seconds=0.2, fps=50)
    return folder


def test_the_modules_are_found():
    """Every module that names schemes is a kind, none else, and the intended ones are there."""
    folder = Path(sources.__file__).parent
    naming = {path.stem for path in folder.glob("*.py") if "\nSCHEMES" in path.read_text()}
    assert naming == set(KINDS) >= {"rtsp", "file", "http", "v4l2", "synthetic"}


def test_no_scheme_belongs_to_two_kinds():
    """An address leads to exactly one kind."""
    schemes = [scheme for kind in kinds().values() for scheme in kind.SCHEMES]
    assert len(schemes) == len(set(schemes))
    assert all(scheme == scheme.lower() for scheme in schemes)


@pytest.mark.parametrize("name", KINDS)
def test_nonsense_is_refused_before_anything_is_opened(name, media):
    """An address of the kind's scheme and nothing else needs a person."""
    kind = kinds()[name]
    for scheme in kind.SCHEMES:
        with pytest.raises(SourceRefused):
            kind.open_url(f"{scheme}:", Opening(2.0, LIMITS, SystemClock(), media))


@pytest.mark.parametrize("name", sorted(set(KINDS) & set(NOWHERE)))
def test_a_dead_end_is_an_error_with_a_reason(name, media):
    """Making the source is fine and opens nothing; taking a picture raises, once, and leaves nothing behind."""
    source = open_source(NOWHERE[name], fps=2, limits=LIMITS, media_dir=media)
    threads = threading.active_count()
    frames = source.frames()
    with pytest.raises(SourceError) as error:
        next(frames)
    assert error.value.reason
    assert "\n" not in error.value.reason
    assert list(frames) == []
    assert threading.active_count() == threads


@pytest.mark.parametrize("name", KINDS)
def test_a_source_closed_before_it_began_gives_nothing(name, media):
    """close() is honoured whenever it comes, and may come twice."""
    source = open_source((SOMEWHERE | NOWHERE).get(name, ""), fps=2, limits=LIMITS, media_dir=media)
    source.close()
    source.close()
    try:
        assert len(list(itertools.islice(source.frames(), 3))) == 0
    except SourceError:
        assert name in NOWHERE


@pytest.mark.parametrize("name", sorted(set(KINDS) & set(SOMEWHERE)))
def test_pictures_are_rgb_in_order_and_end_with_close(name, media):
    """Times never step back, sizes are told without a conversion, each image is its own, closing ends the iteration."""
    source = open_source(SOMEWHERE[name], fps=2, limits=LIMITS, media_dir=media)
    with closing(source.frames()) as frames:
        pictures = list(itertools.islice(frames, 25))
        stamps = [picture.pts_ns for picture in pictures]
        assert all(stamp is not None for stamp in stamps)
        assert stamps == sorted(set(stamps))
        assert {picture.size for picture in pictures} == {(96, 80)}
        assert all(picture.age_ns >= 0 for picture in pictures)
        image = pictures[-1].image()
        assert (image.shape, image.dtype) == ((80, 96, 3), np.uint8)
        assert not np.shares_memory(image, pictures[-2].image())
        source.close()
        assert list(frames) == []
