"""A small GPT of CustomLayers."""

import math

import numpy as np
import ravop as R
from ravdl.v2 import Functional
from ravdl.v2.layers import (
    Activation,
    Add,
    CustomLayer,
    Dense,
    Division,
    Dot,
    Embedding,
    LayerNormalization,
    Multiply,
    Power,
    Reshape,
    Transpose,
)


class NewGeLU(CustomLayer):
    def __init__(self):
        super().__init__()
        self.half, self.one = R.t(0.5), R.t(1)
        self.c, self.cubic = R.t(math.sqrt(2.0 / math.pi)), R.t(0.044715)
        self.pow = Power()
        self.tanh = Activation('tanh')
        self.mul = Multiply()
        self.add = Add()

    def _forward_pass_call(self, x, training=True):
        inner = self.add._forward_pass(x, self.mul._forward_pass(self.cubic, self.pow._forward_pass(x, power=3)))
        gate = self.add._forward_pass(self.one, self.tanh._forward_pass(self.mul._forward_pass(self.c, inner)))
        return self.mul._forward_pass(self.half, self.mul._forward_pass(x, gate))


class MultiHeadAttention(CustomLayer):
    def __init__(self, n_embed, n_heads):
        super().__init__()
        assert n_embed % n_heads == 0
        self.n_embed, self.n_heads, self.depth = n_embed, n_heads, n_embed // n_heads
        self.wq, self.wk, self.wv = Dense(n_embed), Dense(n_embed), Dense(n_embed)
        self.c_proj = Dense(n_embed)
        self.split_heads, self.join_heads = Reshape(), Reshape(contiguous="True")
        self.transpose = Transpose()
        self.dot, self.scale = Dot(), Division()
        self.softmax = Activation('softmax')
        self.depth_sqrt = R.t(np.sqrt(np.cast['float32'](self.depth)))

    def split(self, x, batch_size):
        x = self.split_heads._forward_pass(x, shape=(batch_size, -1, self.n_heads, self.depth))
        return self.transpose._forward_pass(x, axes=(1, 2))

    def _forward_pass_call(self, input, training=True, batch_size=None, mask=None):
        q = self.split(self.wq._forward_pass(input), batch_size)
        k = self.split(self.wk._forward_pass(input), batch_size)
        v = self.split(self.wv._forward_pass(input), batch_size)
        logits = self.dot._forward_pass(q, self.transpose._forward_pass(k, axes=(-2, -1)))
        logits = self.scale._forward_pass(logits, self.depth_sqrt)
        if mask is not None:
            logits = logits + R.t(mask * -1e9)
        mixed = self.dot._forward_pass(self.softmax._forward_pass(logits), v)
        mixed = self.transpose._forward_pass(mixed, axes=(1, 2))
        mixed = self.join_heads._forward_pass(mixed, shape=(batch_size, -1, self.n_embed))
        return self.c_proj._forward_pass(mixed)


class Block(CustomLayer):
    def __init__(self, n_embed, n_heads):
        super().__init__()
        self.ln_1 = LayerNormalization(normalized_shape=n_embed)
        self.attn = MultiHeadAttention(n_embed=n_embed, n_heads=n_heads)
        self.ln_2 = LayerNormalization(normalized_shape=n_embed)
        self.c_fc = Dense(4 * n_embed)
        self.gelu = NewGeLU()
        self.c_proj = Dense(n_embed)
        self.add = Add()

    def _forward_pass_call(self, x, training=True, batch_size=None, mask=None):
        attended = self.attn._forward_pass(self.ln_1._forward_pass(x), training=training, batch_size=batch_size,
                                           mask=mask)
        x = self.add._forward_pass(x, attended)
        o = self.gelu._forward_pass(self.c_fc._forward_pass(self.ln_2._forward_pass(x)))
        return self.add._forward_pass(x, self.c_proj._forward_pass(o))


class GPT(Functional):
    def __init__(self, vocab_size, embed_dim, block_size, n_heads, n_layer, optimizer):
        super().__init__()
        self.wte = Embedding(vocab_size=vocab_size, embed_dim=embed_dim)
        self.wpe = Embedding(block_size, embed_dim)
        self.add = Add()
        self.h = [Block(n_embed=embed_dim, n_heads=n_heads) for _ in range(n_layer)]
        self.ln_f = LayerNormalization(normalized_shape=embed_dim)
        self.lm_head = Dense(vocab_size, use_bias='False')
        self.initialize_params(optimizer)

    def _forward_pass_call(self, inputs, training=True, batch_size=None, length=None):
        mask = np.triu(np.ones((length, length)), k=1)
        pos = R.t(np.expand_dims(np.arange(0, length), axis=0))
        x = self.add._forward_pass(self.wte._forward_pass(inputs), self.wpe._forward_pass(pos))
        for block in self.h:
            x = block._forward_pass(x, training=training, batch_size=batch_size, mask=mask)
        return self.lm_head._forward_pass(self.ln_f._forward_pass(x))
