"""The attentive feedback summarizer is the published network, whatever is padded, missing or asked for one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.ml.feedback.inputs import ItemTokens, Summary, Tokens
from backend.ml.summarizer import (
    AttentiveSummarizer,
    SummarizerConfig,
    TokenBatch,
    TokenSummarizer,
    dump_summarizer,
    load_network,
    load_summarizer,
)

CONFIG = SummarizerConfig(text_width=20, image_width=28, output_width=12, width=32, heads=4, mlp_ratio=2)
PUBLISHED = {
    "CLIP B/32": (SummarizerConfig(512, 768, 512, 768, 12, 4), 15_554_816),
    "CLIP L/14": (SummarizerConfig(768, 1024, 768, 768, 12, 4), 16_144_896),
    "SigLIP so400m": (SummarizerConfig(1152, 1152, 1152, 1152, 16, 2), 25_244_928),
    "BLIP-2": (SummarizerConfig(768, 1408, 256, 256, 16, 4), 2_203_136),
}


@pytest.fixture(scope="module")
def network() -> AttentiveSummarizer:
    torch.manual_seed(3)
    network = AttentiveSummarizer(CONFIG).eval()
    with torch.no_grad():  # as after training: biases, gains and shifts that are not their neutral values
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return network


def rows(count: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def tokens(items: int = 5, *, words: int = 6) -> Tokens:
    """A query and items whose captions differ in length."""
    shown = [ItemTokens(rows(10, 28, 100 + i), rows(3 + i % 4, 20, 200 + i)) for i in range(items)]
    return Tokens(rows(words, 20, 1), tuple(shown))


def plain(network: AttentiveSummarizer, sample: Tokens, strength: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """The network written out row by row in float64, without any shortcut: the summary and (1+Lq, H, S) attention."""
    weights = {name: weight.double().numpy() for name, weight in network.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def block(name: str, x: np.ndarray, queries: np.ndarray, keys: np.ndarray, bias: np.ndarray):
        size = CONFIG.width // CONFIG.heads
        query, both = linear(f"{name}.attention.query", queries), linear(f"{name}.attention.key_value", keys)
        mixed, attention = np.empty_like(query), np.empty((len(queries), CONFIG.heads, len(keys)))
        for row in range(len(queries)):
            for head in range(CONFIG.heads):
                part = slice(head * size, (head + 1) * size)
                logits = both[:, part] @ query[row, part] / math.sqrt(size) + bias
                attention[row, head] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
                mixed[row, part] = attention[row, head] @ both[:, CONFIG.width :][:, part]
        x = x + linear(f"{name}.attention.out", mixed)
        hidden = linear(f"{name}.mlp.0", norm(f"{name}.mlp_norm", x))
        gelu = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
        return x + linear(f"{name}.mlp.2", gelu), attention

    query = np.concatenate([weights["cls"][0], linear("words", sample.query)])
    captions = [linear("words", item.caption) for item in sample.items if item.caption is not None]
    images = [linear("patches", item.image) for item in sample.items if item.image is not None]
    steers = [
        strength * (np.zeros(len(item.image)) if item.steer is None else item.steer)
        for item in sample.items
        if item.image is not None
    ]
    bias = np.concatenate([np.zeros(sum(map(len, captions))), *steers])
    keys = norm("cross.norm", np.concatenate([*captions, *images]))
    mixed, attention = block("cross", query, query, keys, bias)
    normed = norm("inner.norm", mixed)
    mixed, _ = block("inner", mixed, normed, normed, np.zeros(len(mixed)))
    return linear("output", mixed)[0], attention


def all_attention(summary: Summary) -> np.ndarray:
    return np.concatenate([*summary.caption_attention, *summary.image_attention])


def same_summaries(left: Summary, right: Summary) -> bool:
    pairs = ((left.vector, right.vector), (all_attention(left), all_attention(right)))
    return all(np.allclose(a, b, atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize(("config", "count"), PUBLISHED.values(), ids=PUBLISHED)
def test_there_are_as_many_parameters_as_were_published(config: SummarizerConfig, count: int) -> None:
    with torch.device("meta"):
        network = AttentiveSummarizer(config)
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("name", ["CLIP B/32", "CLIP L/14", "SigLIP so400m"])
def test_an_encoder_gets_the_published_sizes(name: str) -> None:
    config, _ = PUBLISHED[name]
    assert SummarizerConfig.for_encoder(config.text_width, config.image_width, config.output_width) == config


def test_a_new_network_starts_as_published() -> None:
    """Standard deviation .02, but .02/sqrt(2l) where block l = 1, 2 adds to its rows; biases 0; default projections."""
    network = AttentiveSummarizer(SummarizerConfig(64, 96, 32, 256, 4, 4))
    for block, depth in ((network.cross, 1), (network.inner, 2)):
        for layer, expected in ((block.attention.query, 0.02), (block.attention.out, 0.02 / math.sqrt(2 * depth))):
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.03)
            assert layer.bias.abs().max().item() == 0
        assert block.mlp[2].weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * depth), rel=0.03)
    assert network.words.weight.abs().max().item() == pytest.approx(1 / math.sqrt(64), rel=0.01)  # U(±1/sqrt(Dt))


@pytest.mark.parametrize("items", [1, 2, 5, 7])
def test_both_ways_of_asking_are_the_network_written_out(network: AttentiveSummarizer, items: int) -> None:
    sample = tokens(items)
    vector, attention = plain(network, sample)
    summary = TokenSummarizer(network, "e").summarize(sample)
    assert summary.vector == pytest.approx(vector, abs=1e-4)
    assert all_attention(summary) == pytest.approx(attention.mean(axis=(0, 1)), abs=1e-5)
    assert all_attention(summary).sum() == pytest.approx(1, abs=1e-5)
    assert [len(one) for one in summary.image_attention] == [10] * items
    assert [len(one) for one in summary.caption_attention] == [3 + i % 4 for i in range(items)]
    assert network(TokenBatch.of([sample]))[0].detach().numpy() == pytest.approx(vector, abs=1e-4)


def test_what_stands_beside_a_search_in_a_batch_does_not_change_it(network: AttentiveSummarizer) -> None:
    """Longer queries, more items and longer captions beside it fill it up; masked, the filling is not seen."""
    samples = [tokens(3, words=2), tokens(7, words=9), replace(tokens(2), items=(ItemTokens(rows(4, 28, 9), None),))]
    batch = TokenBatch.of(samples)
    with torch.inference_mode():
        together, attention = network.with_attention(batch)
    for index, sample in enumerate(samples):
        alone = TokenSummarizer(network, "e").summarize(sample)
        assert together[index].numpy() == pytest.approx(alone.vector, abs=1e-5)
        seen = attention[index].numpy()
        assert np.sort(seen[seen > 0]) == pytest.approx(np.sort(all_attention(alone)), abs=1e-6)


def test_filling_takes_part_where_published_weights_need_it(network: AttentiveSummarizer) -> None:
    """A caption of 2 words beside one of 4 is as one of 4 whose last word stands three times."""
    unmasked = AttentiveSummarizer(replace(CONFIG, mask_padding=False))
    unmasked.load_state_dict(network.state_dict())
    image, long, short = rows(10, 28, 1), rows(4, 20, 2), rows(2, 20, 3)
    written_out = np.concatenate([short, short[[-1, -1]]])
    ragged, full = (
        Tokens(rows(3, 20, 4), (ItemTokens(image, long), ItemTokens(None, caption))) for caption in (short, written_out)
    )
    compatible = TokenSummarizer(unmasked, "e").summarize(ragged)
    reference = TokenSummarizer(network, "e").summarize(full)
    assert compatible.vector == pytest.approx(reference.vector, abs=1e-5)
    assert not np.allclose(compatible.vector, TokenSummarizer(network, "e").summarize(ragged).vector, atol=1e-3)
    kept, repeated = compatible.caption_attention[1], reference.caption_attention[1]
    assert kept == pytest.approx([repeated[0], repeated[1:].sum()], abs=1e-6)
    assert [len(one) for one in compatible.image_attention] == [10, 0]


def test_captions_can_be_left_out(network: AttentiveSummarizer) -> None:
    summarizer, sample = TokenSummarizer(network, "e"), tokens()
    pictures = replace(sample, items=tuple(ItemTokens(item.image, None) for item in sample.items))
    assert same_summaries(summarizer.summarize(sample, captions=False), summarizer.summarize(pictures))
    assert all(len(one) == 0 for one in summarizer.summarize(pictures).caption_attention)


def test_pictures_some_captions_and_the_query_can_be_missing(network: AttentiveSummarizer) -> None:
    summarizer, (first, second, *_) = TokenSummarizer(network, "e"), tokens().items
    words = summarizer.summarize(Tokens(rows(3, 20, 1), (ItemTokens(None, first.caption),)))
    mixed = summarizer.summarize(
        Tokens(
            rows(0, 20, 1), (ItemTokens(None, first.caption), ItemTokens(None, None), ItemTokens(second.image, None))
        )
    )
    assert [len(one) for one in (*words.image_attention, *words.caption_attention)] == [0, 3]
    assert [len(one) for one in (*mixed.caption_attention, *mixed.image_attention)] == [3, 0, 0, 0, 0, 10]
    assert all_attention(mixed).sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="no caption and no picture"):
        summarizer.summarize(Tokens(rows(3, 20, 1), (ItemTokens(None, None),)))
    with pytest.raises(ValueError, match=r"shape \(10, 27\); expected 28"):
        summarizer.summarize(Tokens(rows(3, 20, 1), (ItemTokens(rows(10, 27, 1), None),)))


def test_the_order_of_items_does_not_matter(network: AttentiveSummarizer) -> None:
    summarizer, sample = TokenSummarizer(network, "e"), tokens()
    turned = summarizer.summarize(replace(sample, items=sample.items[::-1]))
    assert turned.vector == pytest.approx(summarizer.summarize(sample).vector, abs=1e-5)


@pytest.mark.parametrize("strength", [0.0, 1.0, 5.0])
def test_a_steer_is_added_to_the_logits_of_all_heads_and_rows(network: AttentiveSummarizer, strength: float) -> None:
    """In each row and head the odds of a patch against another grow by exp(λ(m_i - m_j)): softmax of a sum."""
    sample = tokens(2)
    steer = np.zeros(10, np.float32)
    steer[3:5], steer[7] = 1, -1
    boxed = replace(sample, items=(replace(sample.items[0], steer=steer), sample.items[1]))
    vector, attention = plain(network, boxed, strength)
    _, unsteered = plain(network, sample)
    column = sum(len(item.caption) for item in sample.items if item.caption is not None)
    odds = attention[..., column + 3] / attention[..., column + 7]
    assert odds == pytest.approx(math.exp(2 * strength) * unsteered[..., column + 3] / unsteered[..., column + 7])
    summary = TokenSummarizer(network, "e").summarize(boxed, steer_strength=strength)
    assert summary.vector == pytest.approx(vector, abs=1e-4)
    assert all_attention(summary) == pytest.approx(attention.mean(axis=(0, 1)), abs=1e-5)
    with pytest.raises(ValueError, match="steer of 9 patches; expected 10"):
        TokenSummarizer(network, "e").summarize(Tokens(sample.query, (replace(boxed.items[0], steer=steer[:9]),)))
    assert network(TokenBatch.of([boxed], steer_strength=strength))[0].detach().numpy() == pytest.approx(
        vector, abs=1e-4
    )


def test_kept_and_opened_again_it_is_the_same(network: AttentiveSummarizer) -> None:
    data = dump_summarizer(network, "demo@0123", precision=torch.float32)
    opened = load_summarizer(data, precision="fp32")
    assert (opened.encoder_id, opened.config) == ("demo@0123", CONFIG)
    assert same_summaries(opened.summarize(tokens()), TokenSummarizer(network, "e").summarize(tokens()))
    assert dump_summarizer(*load_network(data), precision=torch.float32) == data
    halved = dump_summarizer(network, "demo@0123")
    assert len(halved) < 0.6 * len(data)
    assert load_summarizer(halved, precision="fp32").summarize(tokens()).vector == pytest.approx(
        opened.summarize(tokens()).vector, rel=0.02, abs=0.02
    )


def test_half_the_bits_keep_the_direction_of_the_summary(network: AttentiveSummarizer) -> None:
    halved, exact = (TokenSummarizer(network, "e", precision=one) for one in ("bf16", "fp32"))
    assert (halved.precision, exact.precision) == ("bf16", "fp32")
    found, expected = halved.summarize(tokens()), exact.summarize(tokens())
    assert found.vector @ expected.vector > 0.999 * np.linalg.norm(found.vector) * np.linalg.norm(expected.vector)
    assert all_attention(found) == pytest.approx(all_attention(expected), abs=0.02)
    assert all_attention(found).sum() == pytest.approx(1, abs=1e-6)


def test_a_network_that_half_the_bits_do_not_carry_keeps_all_of_them(
    network: AttentiveSummarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summaries of nearly nothing but rounding: 1,000 is added in the last layer's input and taken out by its bias."""
    monkeypatch.setattr("backend.ml.summarizer.computes_bf16", lambda: True)
    fragile = AttentiveSummarizer(CONFIG)
    fragile.load_state_dict(network.state_dict())
    with torch.no_grad():
        fragile.inner.mlp[2].bias.add_(1000)
        fragile.output.bias.sub_(1000 * fragile.output.weight.sum(dim=1))
    assert TokenSummarizer(fragile, "e", precision="auto").precision == "fp32"
    assert TokenSummarizer(network, "e", precision="auto").precision == "bf16"


def test_what_is_no_summarizer_is_refused(network: AttentiveSummarizer) -> None:
    data = dump_summarizer(network, "e")
    other = dump_summarizer(AttentiveSummarizer(replace(CONFIG, width=16)), "e")
    with torch.no_grad():
        broken = AttentiveSummarizer(CONFIG)
        broken.cls.fill_(float("nan"))
    swapped = data.replace(b'\\"width\\": 32', b'\\"width\\": 64')
    assert swapped != data
    for damaged in (b"", b"PK\3\4" * 9, data[:-5], data[: len(data) // 2], swapped, dump_summarizer(broken, "e")):
        with pytest.raises(ValueError, match=r"found .* expected"):
            load_summarizer(damaged)
    assert load_summarizer(other).config.width == 16


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="heads that divide the width"):
        replace(CONFIG, heads=5)
