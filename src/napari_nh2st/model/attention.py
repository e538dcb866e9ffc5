"""Attention: of tokens to a context, and between the image and the expression side of a branch."""

from torch import Tensor, nn
from torch.nn import functional


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to the tokens of a context.

    Shapes: x (b, t, dim), context (b, s, dim) → (b, t, dim). A bias (b or 1, heads or 1, t, s) is
    added to the logits; -inf keeps a token out.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in (self.to_q(x), *self.to_kv(context).chunk(2, dim=-1))
        )
        attended = functional.scaled_dot_product_attention(q, k, v, bias)
        return self.dropout(self.to_out(attended.transpose(1, 2).flatten(2)))


class CrossAttentionLayer(nn.Module):
    """Pre-norm attention and pre-norm feed-forward, each added to what came in.

    The context goes through the same LayerNorm as the tokens that attend to it.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        hidden = round(dim * mlp_ratio)
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = CrossAttention(dim, heads, dropout)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, context: Tensor, bias: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm_attention(x), self.norm_attention(context), bias)
        return x + self.mlp(self.norm_mlp(x))


class CrossEncoder(nn.Module):
    """One stack of layers that serves both branches and both directions.

    The image side attends to the expression side; then the expression side attends to the image
    side as just refined (not to the one that came in).

    Shapes: image (b, dim), expression (b, dim) → the same two, refined.
    """

    def __init__(self, dim: int, depth: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossAttentionLayer(dim, heads, mlp_ratio, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def _refine(self, x: Tensor, context: Tensor) -> Tensor:
        x, context = x[:, None], context[:, None]
        for layer in self.layers:
            x = layer(x, context)
        return self.norm(x)[:, 0]

    def forward(self, image: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        image = self._refine(image, expression)
        return image, self._refine(expression, image)
