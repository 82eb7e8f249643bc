import pytest

from otomatch.datasets import open_dataset
from tests.support.sounds import tone, write_audio, write_csv


@pytest.fixture
def uneven(tmp_path):
    """Six clips with one to four captions each."""
    rows = [("file_name", "caption")]
    captions = ("a deep hum", "the high tone", "a dog barks", "shrill rain")
    for i in range(6):
        write_audio(tmp_path / "uneven" / f"{i}.wav", tone(200.0 * 2**i, 0.2 + 0.1 * i))
        ending = ("long", "short", "steady", "rising")[i % 4]
        rows += [(f"{i}.wav", f"{caption} {ending}") for caption in captions[: 1 + i % 4]]
    write_csv(tmp_path / "uneven" / "captions.csv", rows)
    return open_dataset(tmp_path / "uneven")
