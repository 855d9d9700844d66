"""The text side of an encoder: ids to vectors and word tokens, cut to the longest prompt where that is allowed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from backend.ml.packed_linear import pack_linears, unpack_linears
from backend.ml.word_spans import piece_bytes

CUT_TOLERANCE = 1e-5
"""Largest difference between unit vectors of a cut and an uncut batch in fp32."""

Tokenize = Callable[[list[str]], Tensor]


class TextTower:
    """An open_clip text tower in fp32, never trained here.

    Texts are padded to the context length, mostly far beyond their end. In a causal tower nothing behind the
    end-of-text token reaches it, so a batch may be cut to its longest prompt. Whether a tower is causal is proved
    on its weights when it is loaded (`causal`), whatever its family.

    Args:
        model: an open_clip model; CLIP keeps the parts of its tower in the model itself.
        tokenize: the tokenizer: texts -> ids (n, context length).
        pad: id that fills a row behind the text.
        device: where the tower runs.

    Attributes:
        causal: True where batches are cut.
        packed: True where linear layers were replaced by faster ones that give the same vectors.
        dim: width of the vectors, d.
        width: width of a word token, Dt.
    """

    def __init__(self, model: nn.Module, tokenize: Tokenize, pad: int, device: torch.device) -> None:
        self.device = device
        self._tokenize = tokenize
        self._pad = pad
        self._model = model
        self._tower: Any = getattr(model, "text", model)
        self._pool = getattr(self._tower, "pool_type", None) or getattr(model, "text_pool_type", "last")
        self._eos = int(getattr(self._tower, "eos_id", None) or getattr(model, "text_eos_id", None) or -1)
        model.eval().requires_grad_(False)
        self._own = self._runs_by_parts()
        self.packed = self._own and self.device.type == "cpu" and self._packs()
        self.causal = self._own and self._pool in {"argmax", "eos"} and self._proves_causal()
        vectors, tokens = self._states(self.tokenize([""]))
        self.dim, self.width = vectors.shape[1], tokens.shape[2]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts -> ids (n, context length) on the tower's device."""
        return self._tokenize(list(texts)).to(self.device)

    def lengths(self, ids: Tensor) -> Tensor:
        """Tokens of each row up to and with the end of its text, (n,)."""
        return self._pooled_position(ids) + 1 if self.causal else torch.full((len(ids),), ids.shape[1])

    @torch.inference_mode()
    def encode(self, ids: Tensor) -> Tensor:
        """Ids (n, context length) -> projected vectors (n, d), not normalised."""
        return self._states(self.cut(ids))[0]

    @torch.inference_mode()
    def encode_with_tokens(self, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Ids -> projected vectors (n, d) and, of each text, the word tokens that are kept, (L_i, Dt).

        Tokens are the last hidden state after the final LayerNorm, before the projection. Kept are the rows from the
        start of the text to its end; where the tower pools a position behind the text (SigLIP), that row comes last.
        """
        ids = self.cut(ids)
        pooled, tokens = self._states(ids)
        return pooled, [row[keep] for row, keep in zip(tokens, self._kept(ids), strict=True)]

    def pieces(self, text: str) -> list[bytes]:
        """What each word token of ``text`` stands for, in UTF-8; empty for its start and its end."""
        ids = self.cut(self.tokenize([text]))
        return piece_bytes(self._tokenize, ids[0][self._kept(ids)[0]].tolist())

    def cut(self, ids: Tensor) -> Tensor:
        """The same rows without the columns behind every text, where the tower is causal."""
        if not self.causal or not len(ids):
            return ids
        return ids[:, : int(self._pooled_position(ids).max()) + 1]

    def _kept(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        pooled = self._pooled_position(ids).unsqueeze(1)
        if self._pool in {"argmax", "eos"}:  # not by padding: the id of "!" is the padding of CLIP's tokenizer
            return positions <= pooled
        return (ids != self._pad) | (positions == pooled)

    def _pooled_position(self, ids: Tensor) -> Tensor:
        if self._pool == "argmax":
            return ids.argmax(dim=1)  # the end-of-text id is the highest
        if self._pool == "eos":
            return torch.eq(ids, self._eos).int().argmax(dim=1)
        return torch.full((len(ids),), 0 if self._pool == "first" else ids.shape[1] - 1, device=ids.device)

    def _states(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Projected vectors (n, d) and all tokens (n, L, Dt)."""
        if self._own:
            return self._by_parts(ids)
        if hasattr(self._tower, "forward_intermediates"):  # CoCa: its CLS, appended, is no word
            output = self._tower.forward_intermediates(ids, indices=1, normalize_intermediates=True, output_fmt="NLC")
            return output["text_features"], output["text_intermediates"][-1]
        self._tower.output_tokens = True  # a transformers model
        pooled, tokens = self._tower(ids)
        return pooled, tokens

    def _by_parts(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        tower, length = self._tower, ids.shape[1]
        hidden = tower.token_embedding(ids) + tower.positional_embedding[:length]
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        tokens = tower.ln_final(tower.transformer(hidden, attn_mask=mask))
        pooled = tokens[torch.arange(len(ids), device=ids.device), self._pooled_position(ids)]
        projection = tower.text_projection
        if projection is None:
            return pooled, tokens
        return projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection, tokens

    @torch.inference_mode()
    def _runs_by_parts(self) -> bool:
        """True where the parts, put together here, reproduce the model's own encode_text."""
        parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "attn_mask")
        if not all(hasattr(self._tower, part) for part in parts) or getattr(self._tower, "cls_emb", None) is not None:
            return False
        ids = self.tokenize(_PROBES)
        return _difference(self._by_parts(ids)[0], self._model.encode_text(ids)) <= CUT_TOLERANCE  # type: ignore[operator]

    @torch.inference_mode()
    def _packs(self) -> bool:
        """True where the layers could be packed and the vectors stayed what they were."""
        ids = self.tokenize(_PROBES)
        exact = self._by_parts(ids)[0]
        try:
            originals = pack_linears(self._tower.transformer)
        except (RuntimeError, AttributeError):  # a processor or a torch without the operation
            return False
        if _difference(exact, self._by_parts(ids)[0]) <= CUT_TOLERANCE:
            return True
        unpack_linears(self._tower.transformer, originals)
        return False

    @torch.inference_mode()
    def _proves_causal(self) -> bool:
        """True where other tokens behind the end of the texts, or none, leave the vectors as they are."""
        ids = self.tokenize(_PROBES)
        ends = self._pooled_position(ids)
        vectors = self._by_parts(ids)[0]
        generator = torch.Generator().manual_seed(1)
        highest = int(ids.max())  # below it nothing is taken for the end of a text
        noise = torch.randint(1, highest - 1, ids.shape, generator=generator).to(self.device)
        noise = torch.where(noise == self._eos, torch.ones_like(noise), noise)
        behind = torch.arange(ids.shape[1], device=self.device) > ends.unsqueeze(1)
        altered = self._by_parts(torch.where(behind, noise, ids))[0]
        cut = self._by_parts(ids[:, : int(ends.max()) + 1])[0]
        return max(_difference(vectors, altered), _difference(vectors, cut)) <= CUT_TOLERANCE


_PROBES = ("", "a mug", "a small orange plush toy with big eyes", "two chairs, one lamp & a vase on a wooden table 42")


def _difference(left: Tensor, right: Tensor) -> float:
    """Largest difference between the rows as unit vectors."""
    normalised = nn.functional.normalize(left, dim=1) - nn.functional.normalize(right, dim=1)
    return float(normalised.abs().max())
