"""Recordings of spoken searches: their format is told by their first bytes, because names and labels may be wrong."""

from dataclasses import dataclass

from backend.errors import UnsupportedMedia

FORMATS = "WebM, Ogg, MP4, WAV, FLAC or MP3"


@dataclass(frozen=True)
class AudioKind:
    """A format as transcription services want it named: by the ending of a file and by a media type."""

    ending: str
    media_type: str


class AudioUnknown(UnsupportedMedia):
    """The bytes are not audio of a format that transcription services read."""

    title = "Audio of an unknown format"


_SIGNS = (
    (0, b"\x1a\x45\xdf\xa3", AudioKind("webm", "audio/webm")),
    (0, b"OggS", AudioKind("ogg", "audio/ogg")),
    (4, b"ftyp", AudioKind("mp4", "audio/mp4")),
    (8, b"WAVE", AudioKind("wav", "audio/wav")),
    (0, b"fLaC", AudioKind("flac", "audio/flac")),
    (0, b"ID3", AudioKind("mp3", "audio/mpeg")),
)


def audio_kind(data: bytes) -> AudioKind:
    """The format of ``data``.

    Raises:
        AudioUnknown: it is none of those that transcription services read.
    """
    for place, sign, kind in _SIGNS:
        if data[place : place + len(sign)] == sign:
            return kind
    # an MPEG frame without a tag before it: eleven bits set, then a version, and a layer, which AAC leaves at zero
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06:
        return AudioKind("mp3", "audio/mpeg")
    raise AudioUnknown("the recording is in no format that is known", found=data[:8].hex(" "), expected=FORMATS)
