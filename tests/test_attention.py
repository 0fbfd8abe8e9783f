"""Attention: the identities DMFL §4.4 rests on."""

import pytest
import torch

from rumorlib.models.attention import AttentionBlock, MultiHeadAttention, masked_mean

B, Q, K = 3, 4, 5


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return MultiHeadAttention(6, 7, 10, n_heads=3, d_head=16).double()


@pytest.fixture
def rows():
    torch.manual_seed(1)
    return torch.randn(B, Q, 6, dtype=torch.double), torch.randn(B, K, 7, dtype=torch.double)


def test_one_key_gives_its_value_whatever_the_query(attention, rows):
    query, key = rows
    attended = attention(query, key[:, :1], need_weights=True)
    expected = attention.out(attention.value(key[:, :1])).expand(B, Q, 10)
    torch.testing.assert_close(attended.rows, expected)
    assert (attended.weights == 1).all()


def test_equals_the_formula(attention, rows):
    query, key = rows
    q, k, v = attention.query(query), attention.key(key), attention.value(key)
    heads = []
    for h in range(3):
        part = slice(16 * h, 16 * h + 16)
        heads.append((q[..., part] @ k[..., part].mT / 16**0.5).softmax(-1) @ v[..., part])
    torch.testing.assert_close(attention(query, key).rows, attention.out(torch.cat(heads, -1)))


@pytest.mark.parametrize("n_heads", [2, 4, 6, 8, 10])
def test_every_head_count_of_the_paper_maps_16_per_head_to_300(n_heads):
    attention = MultiHeadAttention(300, 300, 300, n_heads, d_head=16)
    assert attention.out.weight.shape == (300, 16 * n_heads)
    attended = attention(torch.randn(2, 3, 300), torch.randn(2, 4, 300), need_weights=True)
    assert attended.rows.shape == (2, 3, 300) and attended.weights.shape == (2, n_heads, 3, 4)


def test_asking_for_weights_changes_nothing_and_they_sum_to_one(attention, rows):
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 0]], dtype=torch.bool)
    with_weights = attention(*rows, mask, need_weights=True)
    torch.testing.assert_close(attention(*rows, mask).rows, with_weights.rows)
    torch.testing.assert_close(with_weights.weights.sum(-1), torch.ones(B, 3, Q, dtype=torch.double))
    assert not with_weights.weights.masked_select(~mask[:, None, None]).any()
    assert with_weights.scores.isfinite().all()


def test_padding_keys_do_not_matter(attention, rows):
    query, key = rows
    padded = torch.cat([key, torch.full((B, 2, 7), 1e3, dtype=torch.double)], dim=1)
    mask = torch.arange(K + 2).expand(B, -1) < K
    torch.testing.assert_close(attention(query, padded, mask).rows, attention(query, key).rows)


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_post_without_keys_gives_zeros_and_finite_gradients(attention, rows, need_weights):
    mask = torch.ones(B, K, dtype=torch.bool)
    mask[1] = False
    attended = attention(*rows, mask, need_weights)
    attended.rows.square().sum().backward()
    assert not attended.rows[1].any() and attended.rows[0].all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_block_is_mfans_or_the_attention_alone():
    torch.manual_seed(0)
    rows = torch.randn(B, Q, 8)
    block = AttentionBlock(8, n_heads=2, d_head=16, ffn=True)
    inner = rows + block.attention(rows, rows).rows
    torch.testing.assert_close(block(rows, rows).rows, inner + block.ffn(inner))
    bare = AttentionBlock(8, n_heads=2, d_head=16, ffn=False)
    torch.testing.assert_close(bare(rows, rows).rows, bare.attention(rows, rows).rows)
    names = {name for name, _ in block.named_parameters()} - {name for name, _ in bare.named_parameters()}
    assert {name.split(".")[0] for name in names} == {"ffn"}


def test_a_normed_block_reads_rows_of_any_size_alike_and_adds_to_them_as_they_are():
    torch.manual_seed(0)
    query, key = torch.randn(B, Q, 8), torch.randn(B, K, 8)
    block = AttentionBlock(8, n_heads=2, d_head=16, ffn=False, norm=True)
    small = block(query / 100, key / 100, need_weights=True).weights
    torch.testing.assert_close(small, block(query, key, need_weights=True).weights, atol=0.05, rtol=0)
    assert block(query, key, need_weights=True).weights.std() > 0.01
    whole = AttentionBlock(8, n_heads=2, d_head=16, ffn=True, norm=True)
    inner = query + whole.attention(whole.query_norm(query), whole.key_norm(key)).rows
    torch.testing.assert_close(whole(query, key).rows, inner + whole.ffn(inner))


def test_masked_mean():
    rows = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [6.0], [7.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(rows, mask).tolist() == [[2.0], [0.0]]
    torch.testing.assert_close(masked_mean(rows, None), rows.mean(1))


def test_refuses_shapes(attention, rows):
    query, key = rows
    with pytest.raises(ValueError, match="key_mask"):
        attention(query, key, torch.ones(B, K + 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="must be"):
        attention(query[:2], key)
