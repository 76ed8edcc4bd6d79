r"""iBOT: DINO on whole pictures, and the same game patch by patch where the student's patches are hidden.

Zhou, Wei, Wang, Shen, Xie, Yuille, Kong, "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022,
https://arxiv.org/abs/2111.07832; KoLeo as in Oquab et al., "DINOv2", 2023, https://arxiv.org/abs/2304.07193

    encoder   h = f(x)            kept is the teacher's, as the paper evaluates it; a vision transformer
    head      g, shared           for h and for patch tokens: MLP with GELU, bottleneck, weight-normalised outputs
    loss      L_CLS + L_MIM       DINO between different views (section 3.2); in each large view the cross-entropy of
                                  the student's hidden patches with the teacher's, who sees them (eq. 2)
    state     teacher f', g'      momentum on a cosine to 1; one centre for h and one for patches

Defaults are those of the published ViT-S/16: 8,192 outputs, shared head 2048-2048-256, temperatures 0.1 and 0.04 to
0.07, momentum 0.996, centres' momentum 0.9, half of the large views with 10 to 50 % of their patches hidden in blocks.
The teacher's temperature rises over 30 % of training and the last layer is held fast for 1 % (30 epochs and one of
100). ``koleo_weight`` (0.1 in DINOv2) spreads the student's h of each large view over all ranks' items.
A view's patches count by their mean, and a view without hidden ones as 0, as in the code.
Departures: the last layer's weights always have length 1 (off in the code for ViT-S); blocks are placed by rejection
with a fixed number of tries; ``features`` come from the student's first view with its patches hidden.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, by_size
from nearfar.distributed import mean_over_rows
from nearfar.encoders.tokens import check_vit, encode_tokens, grid_of
from nearfar.errors import require
from nearfar.losses import dino, dino_center, koleo
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import PrototypeHead, Teacher, draw_blocks, momentum_at, temperature_at

__all__ = ["IBOT"]


class _Targets(NamedTuple):
    whole: tuple[Tensor, ...]
    hidden: Tensor
    per_picture: Tensor


class IBOT(Method):
    """iBOT on two or more views, the large ones first.

    Args:
        encoder: a vision transformer of timm; with crops of several sizes one with the option dynamic_img_size.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        bottleneck_dim: width of the head's bottleneck.
        prototypes: K, number of outputs.
        temperature: the student's, > 0.
        teacher_temperature: the teacher's after the warm-up, > 0.
        first_teacher_temperature: the teacher's at the start, > 0.
        temperature_warmup: share of training, in [0, 1], over which the teacher's temperature moves.
        momentum: of the teacher at the start, in [0, 1]; at the end it is 1.
        center_momentum: of both centres, in [0, 1].
        frozen_share: share of training, in [0, 1], for which the last layer stays as it is.
        large_views: how many of the first views the teacher sees; of one size.
        mask_share: share of the large views in which patches are hidden, in [0, 1].
        mask_ratio: smallest and largest share of the patches hidden there.
        patch_weight: of L_MIM, >= 0.
        koleo_weight: of KoLeo, >= 0.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when the encoder is no plain vision transformer.
    """

    info: ClassVar[Info] = Info(
        "a student matches a momentum teacher on pictures and on patches hidden from it",
        "Zhou et al. 2022",
        "https://arxiv.org/abs/2111.07832",
        negatives=False,
        teacher=True,
        most_views=None,
        mixed_sizes=True,
        encoder="vit",
    )
    center: Tensor
    patch_center: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        prototypes: int = 8192,
        temperature: float = 0.1,
        teacher_temperature: float = 0.07,
        first_teacher_temperature: float = 0.04,
        temperature_warmup: float = 0.3,
        momentum: float = 0.996,
        center_momentum: float = 0.9,
        frozen_share: float = 0.01,
        large_views: int = 2,
        mask_share: float = 0.5,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        patch_weight: float = 1.0,
        koleo_weight: float = 0.0,
    ) -> None:
        super().__init__()
        positive = {"temperature": temperature, "teacher_temperature": teacher_temperature}
        positive |= {"first_teacher_temperature": first_teacher_temperature}
        for name, value in positive.items():
            require(value > 0, "IBOT", name, "> 0", value)
        shares = {"temperature_warmup": temperature_warmup, "frozen_share": frozen_share, "momentum": momentum}
        shares |= {"center_momentum": center_momentum, "mask_share": mask_share}
        for name, value in shares.items():
            require(0 <= value <= 1, "IBOT", name, "in [0, 1]", value)
        rising = 0 < mask_ratio[0] <= mask_ratio[1] < 1
        require(rising, "IBOT", "mask_ratio", "two rising numbers in (0, 1)", mask_ratio)
        for name, value in {"patch_weight": patch_weight, "koleo_weight": koleo_weight}.items():
            require(value >= 0, "IBOT", name, ">= 0", value)
        require(large_views >= 1, "IBOT", "large_views", ">= 1", large_views)
        check_vit("IBOT", encoder)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.bottleneck_dim, self.prototypes = hidden_dim or dim, bottleneck_dim, prototypes
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.first_teacher_temperature, self.temperature_warmup = first_teacher_temperature, temperature_warmup
        self.momentum, self.center_momentum, self.frozen_share = momentum, center_momentum, frozen_share
        self.large_views, self.mask_share, self.mask_ratio = large_views, mask_share, mask_ratio
        self.patch_weight, self.koleo_weight = patch_weight, koleo_weight
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.head = PrototypeHead(dim, self.hidden_dim, bottleneck_dim, prototypes)
        self.teacher, self.teacher_head = Teacher(encoder), Teacher(self.head)
        self.register_buffer("center", torch.zeros(prototypes))
        self.register_buffer("patch_center", torch.zeros(prototypes))
        self.train(self.training)

    @property
    def kept(self) -> nn.Module:
        """The teacher's encoder."""
        return self.teacher.module

    def train(self, mode: bool = True) -> Self:
        """Set the mode; the teacher stays in eval mode, as the code's is built without drop path."""
        super().train(mode)
        self.teacher.eval()
        return self

    def step(self, batch: Batch) -> Step:
        """Return the cross-entropies over views and over hidden patches, and KoLeo where asked for."""
        count = len(batch.views)
        least = max(2, self.large_views)
        require(count >= least, "IBOT", "number of views", f">= {least}", count)
        stacked = by_size(batch.views[: self.large_views])
        require(len(stacked) == 1, "IBOT", "the large views", "of one size", f"{len(stacked)} sizes")
        large = stacked[0]
        require(isinstance(large, Tensor), "IBOT", "views", "tensors of pictures", type(large).__name__)
        assert isinstance(large, Tensor)
        hidden = self._draw(large)
        tokens = encode_tokens(self.encoder, large, hidden=hidden, mask_token=self.mask_token)
        h = torch.cat([tokens.h, *(self.encoder(small) for small in by_size(batch.views[self.large_views :]))])
        targets = self._targets(large, hidden)
        temperature = temperature_at(
            self.progress, self.first_teacher_temperature, self.teacher_temperature, self.temperature_warmup
        )
        whole = dino(
            self.head(h).chunk(count),
            targets.whole,
            self.center,
            student_temperature=self.temperature,
            teacher_temperature=temperature,
        )
        labels = torch.softmax((targets.hidden.float() - self.patch_center) / temperature, 1)
        predicted = torch.log_softmax(self.head(tokens.patches[hidden]).float() / self.temperature, 1)
        patches = mean_over_rows(mean_by_picture(-(labels * predicted).sum(1), hidden))
        loss = whole + self.patch_weight * patches
        if self.koleo_weight:
            spread = [koleo(view) for view in tokens.h.chunk(self.large_views)]
            loss = loss + self.koleo_weight * torch.stack(spread).sum()
        if self.training:
            self._move_centers(targets)
        logs = {"whole": whole.detach(), "patches": patches.detach()}
        return Step(loss, tokens.h.detach().chunk(self.large_views)[0], logs)

    def _draw(self, large: Tensor) -> Tensor:
        """Return (A N, L) bool; one draw per view, so that each is the same for any number of ranks."""
        rows, grid = len(large) // self.large_views, grid_of(self.encoder, large)
        masks = [
            draw_blocks(rows, grid, share=self.mask_share, ratio=self.mask_ratio, device=large.device)
            for _ in range(self.large_views)
        ]
        return torch.cat(masks)

    @torch.no_grad()
    def _targets(self, large: Tensor, hidden: Tensor) -> _Targets:
        head = cast(PrototypeHead, self.teacher_head.module)
        tokens = encode_tokens(self.teacher.module, large)
        z = head.bottleneck(tokens.patches.flatten(0, 1)).view(*hidden.shape, -1)
        whole = head(tokens.h).chunk(self.large_views)
        # the outputs of all patches would be large; their mean is the output of the mean
        return _Targets(whole, head.outputs(z[hidden]), head.outputs(z.mean(1)))

    def _move_centers(self, targets: _Targets) -> None:
        self.center.copy_(dino_center(self.center, targets.whole, momentum=self.center_momentum))
        everywhere = [targets.per_picture]
        self.patch_center.copy_(dino_center(self.patch_center, everywhere, momentum=self.center_momentum))

    def before_step(self) -> None:
        """Hold the last layer fast at the start."""
        if float(self.progress) < self.frozen_share:
            self.head.prototypes.grad = None

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        momentum = momentum_at(progress, self.momentum)
        self.teacher.follow(self.encoder, momentum)
        self.teacher_head.follow(self.head, momentum)


def mean_by_picture(values: Tensor, hidden: Tensor) -> Tensor:
    """Return (N,) the mean of each picture's values; 0 where it has none.

    Args:
        values: (M,) one value per hidden patch, in the order of ``hidden``.
        hidden: (N, L) bool with M entries true.
    """
    picture = hidden.nonzero()[:, 0]
    sums = values.new_zeros(len(hidden)).index_add(0, picture, values)
    return sums / hidden.sum(1).clamp(min=1)
