"""Attention by hand and by torch: an encoder, GPT, ViT, Llama's block, cross attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .architecture import Architecture, Width, numbers, words

WORDS = (words(6),)


class Classifier(nn.Module):
    """Words, torch's own encoder, a class."""

    def __init__(self, d_model: int = 12, heads: int = 3, d_ff: int = 20, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, d_model)
        self.positions = nn.Parameter(torch.randn(1, 6, d_model) * 0.02)
        layer = nn.TransformerEncoderLayer(d_model, heads, d_ff, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(d_model, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(words) + self.positions).mean(dim=1))


ENCODER = Architecture(
    make=Classifier,
    build=Classifier,
    inputs=WORDS,
    widths=(
        Width(
            "d_model",
            12,
            "positions:2 embed.weight:1 encoder.*.self_attn.in_proj_*:0"
            " encoder.*.self_attn.in_proj_weight:1 encoder.*.self_attn.out_proj.*:0"
            " encoder.*.self_attn.out_proj.weight:1 encoder.*.norm?.*:0"
            " encoder.*.linear1.weight:1 encoder.*.linear2.*:0 out.weight:1",
            multiple_of=3,
        ),
        Width(
            "d_ff",
            20,
            "encoder.*.linear1.*:0 encoder.*.linear2.weight:1",
            called=("dim_feedforward",),
        ),
    ),
    fixed={"": "input size", "embed": "number of embeddings", "out": "output size"},
)


class CausalAttention(nn.Module):
    """Queries, keys and values from one projection, as in nanoGPT."""

    mask: Tensor

    def __init__(self, n_embd: int, n_head: int, block_size: int) -> None:
        super().__init__()
        assert n_embd % n_head == 0
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.n_head = n_head
        self.n_embd = n_embd
        mask = torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        q = q.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        v = v.view(b, t, self.n_head, c // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        att = att.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
        y = (functional.softmax(att, dim=-1) @ v).transpose(1, 2).contiguous().view(b, t, c)
        return self.c_proj(y)


class GPTBlock(nn.Module):
    """Attention and a feed-forward layer, each behind a norm."""

    def __init__(self, n_embd: int, n_head: int, block_size: int, d_ff: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = CausalAttention(n_embd, n_head, block_size)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = nn.Sequential(nn.Linear(n_embd, d_ff), nn.GELU(), nn.Linear(d_ff, n_embd))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A decoder whose head is its embedding."""

    def __init__(
        self, n_embd: int = 12, d_ff: int = 32, n_layer: int = 2, n_head: int = 3, vocab: int = 11
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, n_embd)
        self.wpe = nn.Embedding(8, n_embd)
        self.h = nn.ModuleList([GPTBlock(n_embd, n_head, 8, d_ff) for _ in range(n_layer)])
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx: Tensor) -> Tensor:
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.wte(idx) + self.wpe(pos)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


HANDMADE_GPT = Architecture(
    make=lambda: GPT(),
    build=lambda n_embd=12, d_ff=32: GPT(n_embd, d_ff),
    inputs=WORDS,
    widths=(
        Width(
            "n_embd",
            12,
            "wte.weight:1 wpe.weight:1 h.*.ln_?.*:0 h.*.attn.c_attn.*:? h.*.attn.c_proj.*:?"
            " h.*.mlp.0.weight:1 h.*.mlp.2.*:0 ln_f.*:0",
            multiple_of=3,
            called=("d_model",),
        ),
        Width("d_ff", 32, "h.*.mlp.0.*:0 h.*.mlp.2.weight:1"),
    ),
    fixed={
        "wte": "number of embeddings",
        "wpe": "number of embeddings",
        "lm_head": "output size",
    },
)


class SelfAttention(nn.Module):
    """Queries, keys and values from one projection; heads that are unbound."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attn = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((attn @ v).transpose(1, 2).reshape(b, n, c))


class ViTBlock(nn.Module):
    """Attention and an MLP, each behind a norm, scaled before they are added."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, num_heads)
        self.scale = nn.Parameter(torch.full((dim,), 0.1))
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.attn(self.norm1(x))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """Patches and a class token."""

    def __init__(self, dim: int = 8, mlp_dim: int = 18, depth: int = 2, num_heads: int = 2) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, dim) * 0.02)
        self.blocks = nn.Sequential(*[ViTBlock(dim, num_heads, mlp_dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


VIT = Architecture(
    make=ViT,
    build=ViT,
    inputs=(numbers(3, 8, 8),),
    widths=(
        Width(
            "dim",
            8,
            "patch_embed.*:0 cls_token:2 pos_embed:2 blocks.*.norm?.*:0 blocks.*.attn.*:?"
            " blocks.*.scale:0 blocks.*.fc1.weight:1 blocks.*.fc2.*:0 norm.*:0 head.weight:1",
            multiple_of=2,
            called=("d_model", "embed_dim"),
        ),
        Width("mlp_dim", 18, "blocks.*.fc1.*:0 blocks.*.fc2.weight:1", called=("d_ff",)),
    ),
    fixed={"": "given by the example", "patch_embed": "input size", "head": "output size"},
)


class RMSNorm(nn.Module):
    """As in Llama."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class GroupedQueryAttention(nn.Module):
    """Several queries share a key and a value; positions by rotation."""

    cos: Tensor
    sin: Tensor

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, head_dim
        self.n_rep = n_heads // n_kv_heads
        self.wq = nn.Linear(dim, n_heads * head_dim, bias=False)
        self.wk = nn.Linear(dim, n_kv_heads * head_dim, bias=False)
        self.wv = nn.Linear(dim, n_kv_heads * head_dim, bias=False)
        self.wo = nn.Linear(n_heads * head_dim, dim, bias=False)
        angles = torch.outer(torch.arange(16), 100.0 ** (-torch.arange(0, head_dim, 2) / head_dim))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate each half of a head's numbers [batch, tokens, heads, head_dim]."""
        tokens = x.shape[1]
        cos, sin = self.cos[:tokens, None], self.sin[:tokens, None]
        left, right = x.chunk(2, dim=-1)
        return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        bsz, seqlen, _ = x.shape
        q = self.wq(x).view(bsz, seqlen, self.n_heads, self.head_dim)
        k = self.wk(x).view(bsz, seqlen, self.n_kv_heads, self.head_dim)
        v = self.wv(x).view(bsz, seqlen, self.n_kv_heads, self.head_dim)
        q, k = self.rotate(q), self.rotate(k)
        k = k.repeat_interleave(self.n_rep, dim=2)
        v = v.repeat_interleave(self.n_rep, dim=2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(y.transpose(1, 2).contiguous().view(bsz, seqlen, -1))


class SwiGLU(nn.Module):
    """A gated feed-forward layer."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden_dim, bias=False)
        self.w2 = nn.Linear(hidden_dim, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class LlamaBlock(nn.Module):
    """Both, behind norms."""

    def __init__(self, dim: int, hidden_dim: int, n_heads: int) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = RMSNorm(dim), RMSNorm(dim)
        self.attention = GroupedQueryAttention(dim, n_heads, n_heads // 2, 4)
        self.feed_forward = SwiGLU(dim, hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class HandmadeLlama(nn.Module):
    """A decoder as Meta wrote it."""

    def __init__(
        self, dim: int = 18, hidden_dim: int = 22, n_heads: int = 4, n_layers: int = 2
    ) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(11, dim)
        self.layers = nn.ModuleList([LlamaBlock(dim, hidden_dim, n_heads) for _ in range(n_layers)])
        self.norm = RMSNorm(dim)
        self.output = nn.Linear(dim, 11, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.tok_embeddings(tokens)
        for layer in self.layers:
            h = layer(h)
        return self.output(self.norm(h))


HANDMADE_LLAMA = Architecture(
    make=HandmadeLlama,
    build=lambda dim=18, hidden_dim=22, inner=16: HandmadeLlama(dim, hidden_dim, inner // 4),
    inputs=WORDS,
    widths=(
        Width(
            "dim",
            18,
            "tok_embeddings.weight:1 layers.*_norm.weight:0 layers.*.attention.w[qkv].weight:1"
            " layers.*.attention.wo.weight:0 layers.*.w[13].weight:1 layers.*.w2.weight:0"
            " norm.weight:0 output.weight:1",
            called=("d_model",),
        ),
        Width(
            "inner",
            16,
            "layers.*.attention.w[qkv].weight:0 layers.*.attention.wo.weight:1",
            multiple_of=8,
            called=("attention", "heads", "n_heads", "wq", "layers.attention.wq"),
        ),
        Width("hidden_dim", 22, "layers.*.w[13].weight:0 layers.*.w2.weight:1", called=("d_ff",)),
    ),
    fixed={"tok_embeddings": "number of embeddings", "output": "output size"},
)


class CrossAttention(nn.Module):
    """Separate projections to an inner size of their own."""

    def __init__(self, dim: int, context: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        inner_dim = heads * dim_head
        self.to_q = nn.Linear(dim, inner_dim, bias=False)
        self.to_k = nn.Linear(context, inner_dim, bias=False)
        self.to_v = nn.Linear(context, inner_dim, bias=False)
        self.to_out = nn.Linear(inner_dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.to_out(y.transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    """Learned queries that look at a sequence, then at one another."""

    def __init__(self, dim: int = 12, context: int = 10, inner_dim: int = 8) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, dim))
        self.embed = nn.Linear(5, context)
        self.cross = CrossAttention(dim, context, 2, inner_dim // 2)
        self.mix = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries.unsqueeze(0).expand(x.shape[0], -1, -1)
        y = self.norm(queries + self.cross(queries, self.embed(x)))
        return self.out((y + self.mix(y, y, y, need_weights=False)[0]).mean(1))


RESAMPLER = Architecture(
    make=Resampler,
    build=Resampler,
    inputs=(numbers(7, 5),),
    widths=(
        Width(
            "dim",
            12,
            "queries:1 cross.to_q.weight:1 cross.to_out.*:0 mix.*:? norm.*:0 out.weight:1",
            multiple_of=4,
            called=("d_model",),
        ),
        Width(
            "context", 10, "embed.*:0 cross.to_k.weight:1 cross.to_v.weight:1", called=("embed",)
        ),
        Width(
            "inner_dim",
            8,
            "cross.to_?.weight:0 cross.to_out.weight:1",
            multiple_of=2,
            called=("cross.to_q",),
        ),
    ),
    fixed={"": "no other layer shares", "embed": "input size", "out": "output size"},
)
