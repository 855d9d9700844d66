"""A residual head is the identity until it is trained, the same in numpy as in torch, and kept whole as bytes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.ml.head_files import dump_item_heads, dump_query_heads, load_item_heads, load_query_heads
from backend.ml.heads import Head, HeadConfig, ItemHeads, QueryHeads, drift
from backend.ml.residual_head import ResidualHead

DIM, HIDDEN = 24, 6


def unit_rows(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def trained(seed: int = 3, *, dim: int = DIM, alpha: float = 0.2, learn_alpha: bool = False) -> ResidualHead:
    """As after training: no weight, gain or shift has its neutral value."""
    torch.manual_seed(seed)
    head = ResidualHead(HeadConfig(dim, alpha=alpha, learn_alpha=learn_alpha)).eval()
    with torch.no_grad():
        for weight in head.parameters():
            if weight.ndim:
                weight.add_(0.3 * torch.randn_like(weight))
    return head


def written_out(head: Head, x: np.ndarray) -> np.ndarray:
    """h(x) row by row in float64, in the words of the formula: n((1-α)x + α·γ·W2·GELU(W1·LN(x) + b1))."""
    rows = []
    for row in x.astype(np.float64):
        normed = (row - row.mean()) / math.sqrt(row.var() + 1e-5) * head.gain + head.shift
        hidden = [
            h / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            for h in head.inward.astype(np.float64) @ normed + head.bias
        ]
        blend = (1 - head.alpha) * row + head.alpha * head.gamma * (head.outward.astype(np.float64) @ hidden)
        rows.append(blend / np.linalg.norm(blend))
    return np.array(rows)


def test_a_head_of_clip_has_the_stated_number_of_weights() -> None:
    """512·128 twice, b1 128, gain and shift 512 each; a learned α is one more."""
    assert sum(weight.numel() for weight in ResidualHead(HeadConfig(512)).parameters()) == 132_224
    assert sum(weight.numel() for weight in ResidualHead(HeadConfig(512, learn_alpha=True)).parameters()) == 132_225


@pytest.mark.parametrize("learn_alpha", [False, True])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8, 0.99])
def test_a_new_head_is_the_identity_to_the_last_bit(alpha: float, learn_alpha: bool) -> None:
    """So are the ranks of every query over every item, ties included."""
    head = ResidualHead(HeadConfig(DIM, alpha=alpha, learn_alpha=learn_alpha))
    rows = unit_rows(300)
    with torch.no_grad():
        in_torch = head(torch.from_numpy(rows)).numpy()
    in_numpy = head.frozen()(rows)
    assert in_torch.tobytes() == in_numpy.tobytes() == rows.tobytes()
    order = np.argsort(-(in_numpy[:20] @ in_numpy.T), axis=1, kind="stable")
    np.testing.assert_array_equal(order, np.argsort(-(rows[:20] @ rows.T), axis=1, kind="stable"))


def test_no_gamma_and_no_alpha_are_the_identity_too() -> None:
    rows = unit_rows(50)
    assert trained().frozen().scaled(0)(rows).tobytes() == rows.tobytes()
    assert trained(alpha=0).frozen()(rows).tobytes() == rows.tobytes()


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8])
def test_a_head_is_the_formula(alpha: float, gamma: float) -> None:
    head = trained(alpha=alpha).frozen().scaled(gamma)
    rows = unit_rows(40)
    np.testing.assert_allclose(head(rows), written_out(head, rows), atol=1e-6)
    assert drift(rows, head(rows)) > 1e-4


@pytest.mark.parametrize(("dim", "learn_alpha"), [(DIM, False), (DIM, True), (512, False)])
def test_numpy_serves_what_torch_trained(dim: int, learn_alpha: bool) -> None:
    head = trained(dim=dim, learn_alpha=learn_alpha)
    rows = unit_rows(64, dim=dim)
    with torch.inference_mode():
        expected = head(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(head.frozen()(rows), expected, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([head.frozen()(row[None]) for row in rows]), expected, atol=1e-6)


def test_rows_in_blocks_and_one_by_one_come_out_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    head, rows = trained().frozen(), unit_rows(25)
    whole = head(rows)
    monkeypatch.setattr("backend.ml.heads._BLOCK", 10)
    np.testing.assert_allclose(head(rows), whole, atol=1e-6)


def test_every_gradient_is_the_slope() -> None:
    """Of all weights, a learned α among them, and of the rows, against finite differences in float64."""
    head = trained(dim=8, learn_alpha=True).double()
    names = [name for name, _ in head.named_parameters()]
    rows = torch.from_numpy(unit_rows(2, dim=8)).double().requires_grad_()
    target = torch.from_numpy(unit_rows(2, seed=8, dim=8)).double()

    def loss(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(head, dict(zip(names, weights, strict=True)), (x,)) * target).sum()

    weights = [weight.detach().requires_grad_() for weight in head.parameters()]
    assert torch.autograd.gradcheck(loss, (rows, *weights))


def test_a_new_head_learns_through_its_zero() -> None:
    """W2 has a gradient at the start, so the identity is a start and not a trap; only W2 has one."""
    head = ResidualHead(HeadConfig(DIM, dropout=0))
    (head(torch.from_numpy(unit_rows(5))) * torch.from_numpy(unit_rows(5, seed=8))).sum().backward()
    moved = {name for name, weight in head.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == {"outward.weight"}


@pytest.mark.parametrize("alpha", [1.0, 1.5, -0.1, float("nan")])
def test_an_alpha_that_is_no_blend_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"expected a share in \[0, 1\)"):
        HeadConfig(DIM, alpha=alpha)


def test_the_refusal_says_why_one_is_too_much() -> None:
    with pytest.raises(ValueError, match="nothing of the embedding would be left"):
        HeadConfig(DIM, alpha=1)
    with pytest.raises(ValueError, match="sigmoid"):
        HeadConfig(DIM, alpha=0, learn_alpha=True)


def test_a_learned_alpha_starts_where_it_is_told() -> None:
    assert trained(alpha=0.35, learn_alpha=True).frozen().alpha == pytest.approx(0.35)


def test_a_head_goes_on_where_it_was_frozen() -> None:
    head, rows = trained().frozen().scaled(0.5), unit_rows(20)
    with torch.inference_mode():
        again = ResidualHead.of(head).eval()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(again, head(rows), atol=1e-6)


floats = st.floats(-1, 1, width=32)
matrices = st.lists(st.lists(floats, min_size=DIM, max_size=DIM), min_size=1, max_size=4)


@settings(deadline=None, max_examples=30)
@given(matrices, st.floats(0.01, 100), st.integers(0, 3), st.floats(0, 0.95))
def test_length_is_kept_scale_is_nothing_and_nothing_is_changed_in_place(
    rows: list[list[float]], scale: float, seed: int, alpha: float
) -> None:
    x = np.array(rows, dtype=np.float32)
    before, head = x.tobytes(), trained(seed, alpha=alpha).frozen()
    adapted = head(x)
    assert x.tobytes() == before
    lengths = np.linalg.norm(x, axis=1)
    kept = lengths > 1e-6
    np.testing.assert_allclose(np.linalg.norm(adapted, axis=1)[kept], lengths[kept], rtol=1e-5)
    scaled = head(np.float32(scale) * x)
    cosines = np.einsum("nd,nd->n", adapted.astype(np.float64), scaled)[kept]
    np.testing.assert_allclose(cosines, scale * lengths[kept] ** 2, rtol=1e-4)
    assert np.isfinite(adapted).all()


def test_drift_is_the_mean_of_one_minus_cosine() -> None:
    """A right angle, no move and a turn around: (1 + 0 + 2) / 3."""
    raw = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert drift(raw, np.array([[0, 1], [0, 2], [-1, 0]], dtype=np.float32)) == pytest.approx(1)
    assert drift(raw[:0], raw[:0]) == 0
    with pytest.raises(ValueError, match="shapes"):
        drift(raw, raw[:2])


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 7\); expected \(n, 24\)"):
        trained().frozen()(np.ones((2, 7), dtype=np.float32))


def test_a_frozen_head_is_not_trained_along() -> None:
    training = trained()
    head, rows = training.frozen(), unit_rows(4)
    before = head(rows)
    with torch.no_grad():
        training.outward.weight.mul_(3)
    np.testing.assert_array_equal(head(rows), before)
    with pytest.raises(ValueError, match="read-only"):
        head.outward[0, 0] = 1


def test_query_heads_are_kept_whole() -> None:
    text, image = trained(1).frozen().scaled(0.35), trained(2, alpha=0.6).frozen()
    data = dump_query_heads(QueryHeads(text, image), "ViT-B-32/abc")
    assert data == dump_query_heads(QueryHeads(text, image), "ViT-B-32/abc")
    kept, rows = load_query_heads(data, "ViT-B-32/abc"), unit_rows(9)
    for head, again in ((text, kept.of("text")), (image, kept.of("image"))):
        assert again is not None
        assert (again.alpha, again.gamma, again.hidden) == (head.alpha, head.gamma, HIDDEN)
        assert again(rows).tobytes() == head(rows).tobytes()


def test_a_side_without_a_head_stays_without_one() -> None:
    only_text = dump_query_heads(QueryHeads(text=trained().frozen()), "e")
    assert load_query_heads(only_text, "e").of("image") is None
    only_captions = dump_item_heads(ItemHeads(caption=trained().frozen()), "e")
    assert load_item_heads(only_captions, "e").of("image") is None
    assert load_item_heads(only_captions, "e").of("caption") is not None


def test_heads_of_another_encoder_or_of_the_other_side_are_refused() -> None:
    query = dump_query_heads(QueryHeads(text=trained().frozen()), "demo/1")
    with pytest.raises(ValueError, match="found heads of encoder demo/1; expected ViT-B-32/2"):
        load_query_heads(query, "ViT-B-32/2")
    with pytest.raises(ValueError, match="found query heads; expected item heads"):
        load_item_heads(query, "demo/1")


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_damaged_bytes_are_refused_or_say_another_number(data: st.DataObject) -> None:
    """Never anything but a ValueError; a flip inside the weights gives other weights of the same shape."""
    whole = dump_query_heads(QueryHeads(text=trained().frozen()), "e")
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match="found"):
        load_query_heads(whole[:cut], "e")
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= data.draw(st.integers(1, 255))
    try:
        head = load_query_heads(bytes(flipped), "e").text
    except ValueError:
        return
    assert head is None or (head.dim, head.hidden) == (DIM, HIDDEN)


def test_weights_that_are_not_finite_are_refused() -> None:
    broken = trained()
    with torch.no_grad():
        broken.inward.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="inward with numbers that are not finite"):
        broken.frozen()
