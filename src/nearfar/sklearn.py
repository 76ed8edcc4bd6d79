"""scikit-learn's way in: a classifier that learns from all rows, and labels from those that have one.

Pretrain an encoder on every row without labels, freeze it, fit a multinomial logistic regression on the labelled rows.
Nothing is written to disk, and no trainer is needed; ``nearfar.pretrain`` is the way for data that fill a machine.

    from nearfar.sklearn import ContrastiveClassifier

    model = ContrastiveClassifier(random_state=0).fit(X, y)  # y is -1 where unknown
    model.predict(X), model.predict_proba(X), model.transform(X)

Rows are seen as a table whose columns are replaced by other rows' values (SCARF, https://arxiv.org/abs/2106.15147), or,
with ``image_shape``, as pictures that are cropped and distorted (SimCLR, https://arxiv.org/abs/2002.05709).

May import modalities, methods, evaluation and what is below them; scikit-learn itself stands at the top, torch inside.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from nearfar.errors import require

if TYPE_CHECKING:
    from torch import nn

    from nearfar.modalities import Inputs

__all__ = ["ContrastiveClassifier"]

UNKNOWN = -1
CHUNK = 1024
WHO = "ContrastiveClassifier"


class ContrastiveClassifier(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Contrastive pretraining on all rows, then a linear classifier on the labelled ones.

    Args:
        method: how to pretrain, a name of `nearfar.methods.METHODS`; methods with labels are given the known ones.
        method_options: its settings; of SimCLR on tables the temperature is 1 by default, as SCARF has it.
        encoder: a name of `nearfar.encoders.ENCODERS`; what fits the rows when absent (``table-mlp``; ``small`` for
            pictures of at most 64 pixels).
        encoder_options: its settings.
        views: the name of the views; ``scarf`` for tables when absent, what fits the pictures otherwise.
        image_shape: (H, W) or (H, W, C) when the rows are flat pictures, as `sklearn.datasets.load_digits` has them.
            uint8 is taken as it is; of other numbers the training rows' smallest becomes black, the largest white.
        epochs: passes over all rows.
        batch_size: rows a step; all rows where there are fewer.
        lr: the peak learning rate of AdamW, with a tenth of the steps as warm-up and a cosine down to 0.
        weight_decay: of weights; biases and norms have none.
        C: the inverse strength of the classifier's L2 penalty, as in `sklearn.linear_model.LogisticRegression`.
        device: ``"auto"`` takes a GPU where there is one.
        random_state: seeds weights, order and views; None draws a new seed at every fit.

    Attributes:
        classes_: the known classes (K,), sorted.
        encoder_: the pretrained `torch.nn.Module`, on the CPU and in eval mode.
        inputs_: how rows become what the encoder takes.
        classifier_: the linear model on representations.
        loss_: the mean pretraining loss of every epoch.
        n_features_in_: columns seen in `fit`.

    Missing numbers (NaN) are allowed in tables: the encoder is told that they are missing.
    """

    def __init__(
        self,
        *,
        method: str = "simclr",
        method_options: Mapping[str, Any] | None = None,
        encoder: str = "auto",
        encoder_options: Mapping[str, Any] | None = None,
        views: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 100,
        batch_size: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        C: float = 1.0,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.method_options = method_options
        self.encoder = encoder
        self.encoder_options = encoder_options
        self.views = views
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.C = C
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Pretrain on all rows, then fit the classifier on those whose label is known.

        Args:
            X: (N, d) numbers.
            y: (N,) classes; in an array of numbers -1 stands for unknown. Names are classes all of them.

        Raises:
            InputError: when a setting is out of its range, or fewer than two classes are known.
        """
        import torch

        from nearfar.evaluation import fit_linear

        rows, labels = self._checked(X, y)
        known = labels != UNKNOWN if labels.dtype.kind in "if" else np.ones(len(labels), dtype=bool)
        self.classes_ = np.unique(labels[known])
        require(len(self.classes_) >= 2, WHO, "known classes", "two or more", len(self.classes_), "label more rows")
        codes = _codes(labels, known, self.classes_)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.range_ = (float(np.nanmin(rows)), float(np.nanmax(rows)))
        items = self._items(rows)
        self.inputs_ = self._fitted_inputs(items)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder_ = self.inputs_.build_encoder(self._encoder_name(), dict(self.encoder_options or {}))[0]
            self.loss_ = self._pretrain(items, codes, seed)
        self._n_features_out = int(self.encoder_.dim)  # type: ignore[arg-type]
        self.classifier_ = fit_linear(self._embed(items[known]), codes[known], self.C)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the representations (N, dim) float32 of rows (N, d)."""
        return self._embed(self._items(self._rows(X)))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities (N, K) of the classes, in the order of ``classes_``."""
        from nearfar.evaluation import softmax

        return softmax(self.decision_function(X, all_classes=True))

    def decision_function(self, X: ArrayLike, *, all_classes: bool = False) -> NDArray[np.float64]:
        """Return the classifier's logits, (N, K); of two classes the second's alone less the first's, (N,).

        Args:
            X: (N, d).
            all_classes: (N, K) for two classes as well.
        """
        h, model = self.transform(X).astype(np.float64), self.classifier_
        logits: NDArray[np.float64] = ((h - model.mean) / model.scale) @ model.weights + model.intercept
        if len(self.classes_) == 2 and not all_classes:
            two: NDArray[np.float64] = logits[:, 1] - logits[:, 0]
            return two
        return logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of every row, (N,)."""
        best = self.decision_function(X, all_classes=True).argmax(axis=1)
        answer: NDArray[Any] = self.classes_[best]
        return answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.image_shape is None
        tags.transformer_tags.preserves_dtype = []  # representations are float32
        return tags

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return rows and labels, and refuse settings out of their range."""
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            require(value >= least, WHO, name, f">= {least}", value)
        for name in ("lr", "C"):
            require(getattr(self, name) > 0, WHO, name, "> 0", getattr(self, name))
        finite = "allow-nan" if self.image_shape is None else True
        rows, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=finite)
        check_classification_targets(labels)
        require(len(rows) >= 2, WHO, "rows", "two or more", f"n_samples={len(rows)}")
        if self.image_shape is not None:
            shape = tuple(self.image_shape)
            fits = len(shape) in (2, 3) and math.prod(shape) == rows.shape[1]
            must = f"(H, W) or (H, W, C) with {rows.shape[1]} numbers, as many as there are columns"
            require(fits, WHO, "image_shape", must, shape)
        return rows, labels

    def _rows(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        finite = "allow-nan" if self.image_shape is None else True
        rows: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, ensure_all_finite=finite, reset=False)
        return rows

    def _items(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Return what the views take: rows of a table, or pictures (N, H, W, C) uint8."""
        if self.image_shape is None:
            return rows
        low, high = self.range_
        pixels = 255 * (rows - low) / (high - low if high > low else 1.0)
        shape = (*self.image_shape, 1) if len(self.image_shape) == 2 else self.image_shape
        return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8).reshape(len(rows), *shape)

    def _fitted_inputs(self, items: NDArray[Any]) -> Inputs:
        """Let the modality look at the training rows."""
        from nearfar.data import ArraySource
        from nearfar.data.table import open_table
        from nearfar.modalities import MODALITIES

        if self.image_shape is not None:
            return MODALITIES.get("image").fit(ArraySource(items), {})
        names = [f"x{column}" for column in range(items.shape[1])]
        table = dict(zip(names, items.T, strict=True))
        source = open_table(table, dict.fromkeys(names, "number"), quiet=True)[""]
        return MODALITIES.get("table").fit(source, {})

    def _encoder_name(self) -> str:
        return self.inputs_.default_encoder if self.encoder == "auto" else self.encoder

    def _pretrain(self, items: NDArray[Any], labels: NDArray[np.int64], seed: int) -> list[float]:
        """Train the encoder in place and return the mean loss of every epoch."""
        import torch

        from nearfar.data import Batch
        from nearfar.methods import METHODS
        from nearfar.methods import build as build_method
        from nearfar.optim import Special, build_optimizer, warmup_cosine
        from nearfar.pipeline.view_count import check_views, fit_views

        info, name = METHODS.get(self.method).info, self.views
        views = self.inputs_.views(name)
        check_views(self.method, name, views)
        views = fit_views(info, views)
        options = {"temperature": 1.0} if self.method == "simclr" and self.image_shape is None else {}
        method = build_method(self.method, self.encoder_, {**options, **(self.method_options or {})})
        method.prepare(len(items))
        device = self._device()
        method.to(device)
        batches = max(1, len(items) // self.batch_size)
        total = self.epochs * batches
        special = [Special(prefix, *rule) for prefix, rule in method.rules().items()]
        optimizer = build_optimizer("adamw", method, lr=self.lr, weight_decay=self.weight_decay, special=special)
        peaks = [(group["lr"], bool(group["constant"])) for group in optimizer.param_groups]
        losses, step = [], 0
        method.train()
        for epoch in range(self.epochs):
            method.start_epoch(epoch)
            sum_of_losses = 0.0
            for number, chosen in enumerate(self._order(len(items), batches, seed, epoch)):
                rng = np.random.default_rng([seed, epoch, number])
                made = self.inputs_.make_views(items[chosen], views, rng)
                seen = torch.from_numpy(labels[chosen]).to(device) if info.labels else None
                batch = Batch([_to(view, device) for view in made], seen, torch.from_numpy(chosen).to(device))
                factor = warmup_cosine(step, total=total, warmup=round(total / 10))
                for group, (peak, fixed) in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak if fixed else peak * factor
                method.progress.fill_(step / total)
                loss = method.step(batch).loss
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                method.before_step()
                optimizer.step()
                step += 1
                method.after_step(step / total)
                sum_of_losses += float(loss.detach())
            losses.append(sum_of_losses / batches)
        self.encoder_ = method.kept.cpu().eval()
        return losses

    def _order(self, count: int, batches: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of every batch; what does not fill a batch comes in another epoch."""
        size = min(self.batch_size, count)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for number in range(batches):
            yield order[number * size : (number + 1) * size]

    def _embed(self, items: NDArray[Any]) -> NDArray[np.float32]:
        import torch

        encoder: nn.Module = self.encoder_
        exact = self.image_shape is None  # float64 costs little on rows, and a row's numbers then depend on no other
        if exact:
            encoder = copy.deepcopy(encoder).double()
        view, rng, parts = self.inputs_.evaluation_view(), np.random.default_rng(0), []
        with torch.inference_mode():
            for at in range(0, len(items), CHUNK):
                made = self.inputs_.make_views(items[at : at + CHUNK], [view], rng)[0]
                assert isinstance(made, torch.Tensor)
                parts.append(encoder(made.double() if exact else made).float().numpy())
        return np.concatenate(parts)

    def _device(self) -> Any:
        import torch

        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _codes(labels: NDArray[Any], known: NDArray[np.bool_], classes: NDArray[Any]) -> NDArray[np.int64]:
    codes = np.full(len(labels), UNKNOWN, dtype=np.int64)
    codes[known] = np.searchsorted(classes, labels[known])
    return codes


def _to(view: Any, device: Any) -> Any:
    return {key: part.to(device) for key, part in view.items()} if isinstance(view, Mapping) else view.to(device)
