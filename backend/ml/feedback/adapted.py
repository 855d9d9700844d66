"""A summarizer whose summaries are brought to where an index holds its pictures."""

from dataclasses import dataclass, replace

from backend.ml.feedback.inputs import Summarizer, Summary, Tokens
from backend.ml.heads import Head


@dataclass(frozen=True)
class AdaptedSummarizer:
    """Summaries through the head of an index's pictures.

    A summarizer learns in the encoder's space to say what picture is meant, so that it outlives heads; where pictures
    went through a head, what it says goes through the same one. A head keeps lengths, so the summary weighs as much.

    Args:
        summarizer: of the encoder.
        head: of pictures of items.
    """

    summarizer: Summarizer
    head: Head

    def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = 5.0) -> Summary:
        """As ``Summarizer.summarize``, the vector adapted."""
        summary = self.summarizer.summarize(tokens, captions=captions, steer_strength=steer_strength)
        return replace(summary, vector=self.head(summary.vector[None])[0])
