"""BERT, GPT-2, T5 and Llama as Hugging Face builds them from a config."""

from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from .architecture import Architecture, Width, words

WORDS = words(6)


def bert(hidden_size: int = 12, intermediate_size: int = 20) -> nn.Module:
    """Return BERT with a classifier."""
    config = BertConfig(
        vocab_size=11,
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=intermediate_size,
        max_position_embeddings=8,
        num_labels=4,
    )
    return BertForSequenceClassification(config)


BERT = Architecture(
    make=lambda: bert(),
    build=bert,
    inputs=(WORDS,),
    widths=(
        Width(
            "hidden_size",
            12,
            "*embeddings.weight:1 *LayerNorm.*:0 *.self.*.weight:? *.self.*.bias:0"
            " *.attention.output.dense.*:? *.intermediate.dense.weight:1"
            " bert.encoder.layer.?.output.dense.*:0 *.pooler.dense.*:? classifier.weight:1",
            multiple_of=3,
        ),
        Width(
            "intermediate_size",
            20,
            "*.intermediate.dense.*:0 bert.encoder.layer.?.output.dense.weight:1",
        ),
    ),
    flow=(
        Width(
            "hidden_size",
            12,
            "*embeddings.weight:1 *LayerNorm.*:0 *.self.*.weight:1 *.attention.output.dense.*:0"
            " *.intermediate.dense.weight:1 bert.encoder.layer.?.output.dense.*:0"
            " *.pooler.dense.weight:1",
        ),
        Width(
            "inner",
            12,
            "*.self.*:0 *.attention.output.dense.weight:1",
            multiple_of=4,
            called=("bert.encoder.layer.attention.self.query",),
        ),
        Width(
            "intermediate_size",
            20,
            "*.intermediate.dense.*:0 bert.encoder.layer.?.output.dense.weight:1",
        ),
        Width(
            "pooler", 12, "*.pooler.dense.*:0 classifier.weight:1", called=("bert.pooler.dense",)
        ),
    ),
    fixed={
        "bert.embeddings.word_embeddings": "number of embeddings",
        "bert.embeddings.position_embeddings": "number of embeddings",
        "bert.embeddings.token_type_embeddings": "number of embeddings",
        "classifier": "output size",
    },
)


def gpt2(n_embd: int = 12, n_inner: int = 30) -> nn.Module:
    """Return GPT-2 with its head."""
    config = GPT2Config(
        vocab_size=11,
        n_positions=8,
        n_embd=n_embd,
        n_layer=2,
        n_head=3,
        n_inner=n_inner,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return GPT2LMHeadModel(config)


GPT2 = Architecture(
    make=lambda: gpt2(),
    build=gpt2,
    inputs=(WORDS,),
    widths=(
        Width(
            "n_embd",
            12,
            "*.wte.weight:1 *.wpe.weight:1 *.ln_?.*:0 *.attn.*:? *.c_fc.weight:0"
            " *.mlp.c_proj.bias:0 *.mlp.c_proj.weight:1",
            multiple_of=3,
            called=("hidden_size",),
        ),
        Width("n_inner", 30, "*.c_fc.weight:1 *.c_fc.bias:0 *.mlp.c_proj.weight:0"),
    ),
    flow=(
        Width(
            "n_embd",
            12,
            "*.wte.weight:1 *.wpe.weight:1 *.ln_?.*:0 *.c_attn.weight:0 *.attn.c_proj.bias:0"
            " *.attn.c_proj.weight:1 *.c_fc.weight:0 *.mlp.c_proj.bias:0 *.mlp.c_proj.weight:1",
        ),
        Width(
            "inner",
            12,
            "*.c_attn.weight:1 *.c_attn.bias:0 *.attn.c_proj.weight:0",
            multiple_of=4,
            called=("transformer.h.attn.c_attn",),
        ),
        Width("n_inner", 30, "*.c_fc.weight:1 *.c_fc.bias:0 *.mlp.c_proj.weight:0"),
    ),
    fixed={
        "transformer.wte": "number of embeddings",
        "transformer.wpe": "number of embeddings",
        "lm_head": "output size",
    },
)


def t5(d_model: int = 14, d_ff: int = 22, num_heads: int = 3) -> nn.Module:
    """Return T5 with gated feed-forward layers; heads of four numbers."""
    config = T5Config(
        vocab_size=11,
        d_model=d_model,
        d_kv=4,
        d_ff=d_ff,
        num_layers=2,
        num_heads=num_heads,
        relative_attention_num_buckets=6,
        decoder_start_token_id=0,
        use_cache=False,
        feed_forward_proj="gated-gelu",
    )
    return T5ForConditionalGeneration(config)


T5 = Architecture(
    make=lambda: t5(),
    build=t5,
    inputs={"input_ids": WORDS, "decoder_input_ids": WORDS},
    widths=(
        Width(
            "d_model",
            14,
            "shared.weight:1 *layer_norm.weight:0 *Attention.[qkv].weight:1 *Attention.o.weight:0"
            " *.wi_?.weight:1 *.wo.weight:0",
        ),
        Width(
            "num_heads",
            3,
            "*Attention.[qkv].weight:0 *Attention.o.weight:1 *relative_attention_bias.weight:1",
        ),
        Width("d_ff", 22, "*.wi_?.weight:0 *.wo.weight:1"),
    ),
    flow=(
        Width(
            "d_model",
            14,
            "shared.weight:1 *layer_norm.weight:0 *Attention.[qkv].weight:1 *Attention.o.weight:0"
            " *.wi_?.weight:1 *.wo.weight:0",
        ),
        Width(
            "encoder's heads",
            3,
            "encoder.*SelfAttention.[qkv].weight:0 encoder.*SelfAttention.o.weight:1"
            " encoder.*relative_attention_bias.weight:1",
            called=("encoder.block.layer.0.SelfAttention.q",),
        ),
        Width(
            "decoder's heads",
            3,
            "decoder.*SelfAttention.[qkv].weight:0 decoder.*SelfAttention.o.weight:1"
            " decoder.*relative_attention_bias.weight:1",
            called=("decoder.block.layer.0.SelfAttention.q",),
        ),
        Width(
            "heads between them",
            12,
            "*EncDecAttention.[qkv].weight:0 *EncDecAttention.o.weight:1",
            multiple_of=4,
            called=("decoder.block.layer.1.EncDecAttention.q",),
        ),
        Width(
            "encoder's d_ff",
            22,
            "encoder.*.wi_?.weight:0 encoder.*.wo.weight:1",
            called=("encoder.block.layer.1.DenseReluDense.wi_0",),
        ),
        Width(
            "decoder's d_ff",
            22,
            "decoder.*.wi_?.weight:0 decoder.*.wo.weight:1",
            called=("decoder.block.layer.2.DenseReluDense.wi_0",),
        ),
    ),
    fixed={
        "shared": "number of embeddings",
        "*.embed_tokens": "number of embeddings",
        "*relative_attention_bias": "number of embeddings",
        "lm_head": "output size",
    },
)


def llama_config() -> LlamaConfig:
    """Return a small Llama's, with grouped queries: heads of four numbers, two to a key."""
    return LlamaConfig(
        vocab_size=11,
        hidden_size=12,
        intermediate_size=22,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=16,
        use_cache=False,
    )


def llama(hidden_size: int = 12, intermediate_size: int = 22, inner: int = 16) -> nn.Module:
    """Return Llama; its sizes are set afterwards, where the configuration refuses none."""
    config = llama_config()
    config.hidden_size, config.intermediate_size = hidden_size, intermediate_size
    config.num_attention_heads, config.num_key_value_heads = inner // 4, inner // 8
    return LlamaForCausalLM(config)


LLAMA = Architecture(
    make=lambda: LlamaForCausalLM(llama_config()),
    build=llama,
    inputs=(WORDS,),
    widths=(
        Width(
            "hidden_size",
            12,
            "*embed_tokens.weight:1 *norm.weight:0 *.[qkv]_proj.weight:1 *.o_proj.weight:0"
            " *.gate_proj.weight:1 *.up_proj.weight:1 *.down_proj.weight:0 lm_head.weight:1",
            multiple_of=4,
        ),
        Width(
            "inner",
            16,
            "*.[qkv]_proj.weight:0 *.o_proj.weight:1",
            multiple_of=8,
            called=("num_attention_heads", "model.layers.self_attn.q_proj"),
        ),
        Width(
            "intermediate_size",
            22,
            "*.gate_proj.weight:0 *.up_proj.weight:0 *.down_proj.weight:1",
        ),
    ),
    flow=(
        Width(
            "hidden_size",
            12,
            "*embed_tokens.weight:1 *norm.weight:0 *.[qkv]_proj.weight:1 *.o_proj.weight:0"
            " *.gate_proj.weight:1 *.up_proj.weight:1 *.down_proj.weight:0 lm_head.weight:1",
        ),
        Width(
            "inner",
            16,
            "*.[qkv]_proj.weight:0 *.o_proj.weight:1",
            multiple_of=8,
            called=("num_attention_heads", "model.layers.self_attn.q_proj"),
        ),
        Width(
            "intermediate_size",
            22,
            "*.gate_proj.weight:0 *.up_proj.weight:0 *.down_proj.weight:1",
        ),
    ),
    fixed={"model.embed_tokens": "number of embeddings", "lm_head": "output size"},
)
