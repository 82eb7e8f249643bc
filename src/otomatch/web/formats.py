"""Sound file formats that all current browsers can play, and their media types."""

from pathlib import Path

import soundfile

from otomatch.audio.decoders import CONTAINER_SUFFIXES, failure_reason, missing_decoder_error
from otomatch.errors import AudioError

_PLAYED = {
    ("WAV", "PCM_U8"): "audio/wav",
    ("WAV", "PCM_16"): "audio/wav",
    ("WAV", "PCM_24"): "audio/wav",
    ("WAV", "FLOAT"): "audio/wav",
    ("WAVEX", "PCM_16"): "audio/wav",
    ("WAVEX", "PCM_24"): "audio/wav",
    ("WAVEX", "FLOAT"): "audio/wav",
    ("FLAC", "PCM_S8"): "audio/flac",
    ("FLAC", "PCM_16"): "audio/flac",
    ("FLAC", "PCM_24"): "audio/flac",
    ("MP3", "MPEG_LAYER_III"): "audio/mpeg",
    ("OGG", "VORBIS"): "audio/ogg",
    ("OGG", "OPUS"): "audio/ogg",
}
_CODECS = {
    (".webm", "opus"): "audio/webm",
    (".webm", "vorbis"): "audio/webm",
    (".m4a", "aac"): "audio/mp4",
    (".mp4", "aac"): "audio/mp4",
    (".aac", "aac"): "audio/aac",
}
_RATES = (3000, 192_000)
_CHANNELS = 2


def media_type(path: Path, suffix: str) -> str | None:
    """Return the media type of a file that browsers can play; None if it must be converted.

    The content of the file decides, since extensions can be wrong: MP3 data in a ``.wav`` file is
    MP3.

    Args:
        path: Path of the file.
        suffix: File name extension, with the dot.

    Raises:
        AudioError: The file is not a sound file.
        MissingDecoderError: The file can be examined only with a package that is not installed.
    """
    if suffix in CONTAINER_SUFFIXES:
        return _CODECS.get((suffix, _codec(path)))
    try:
        about = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    low, high = _RATES
    if not low <= about.samplerate <= high or about.channels > _CHANNELS:
        return None
    return _PLAYED.get((about.format, about.subtype))


def _codec(path: Path) -> str:
    try:
        import av
    except ImportError as error:
        raise missing_decoder_error(path) from error
    try:
        with av.open(str(path)) as container:
            codecs = [stream.codec_context.name for stream in container.streams.audio]
    except (av.FFmpegError, EOFError, ValueError) as error:
        raise _unreadable(path, error) from error
    return codecs[0] if codecs else ""


def _unreadable(path: Path, error: Exception) -> AudioError:
    return AudioError(f"{path}: {failure_reason(error)}; replace the file and index it again")
