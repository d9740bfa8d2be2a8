"""Training loops: token-budget batches, one pass per epoch over freshly varied rows, fine-tuning and distilling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.train_sentiment.nets import Net, kept_layers
from benchmarks.train_sentiment.sets import LABELS, OWN, Row

TEMPERATURE: Final = 2.0
"""Softens teacher and student alike while distilling (Hinton, Vinyals & Dean 2015)."""

GOLD_SHARE: Final = 0.3
"""Weight of a set's labels beside the teacher's answers."""

SURE_SHARE: Final = 1.0
"""Weight of the labels of our own posts, which are no annotators' guesses: where the teacher errs, they alone count."""

HIDDEN_SHARE: Final = 1.0
"""Weight of the distance between the student's layers and the teacher's."""

Vary = Callable[[int], list[Row]]
"""The rows of an epoch: the same labels, other words around them."""

LossOf = Callable[["Batch"], Any]


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch: token ids and mask of shape (rows, tokens), classes and whether they are sure (rows)."""

    tokens: Any
    mask: Any
    classes: Any
    sure: Any


@dataclass(frozen=True)
class Plan:
    """How a network is trained."""

    epochs: int
    rate: float
    batch_tokens: int = 2048
    warm_share: float = 0.06
    decay: float = 0.01
    length_max: int = 96
    bf16: bool = False
    seed: int = 1


def token_batches(lengths: Sequence[int], budget: int, rng: np.random.Generator) -> list[list[int]]:
    """Positions in batches of at most `budget` tokens with padding, in random order.

    Texts are sorted by length within random blocks, so that batches hold like lengths and yet differ between epochs.
    """
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), 4096):
        block = sorted((int(at) for at in order[start : start + 4096]), key=lambda at: lengths[at])
        group: list[int] = []
        for at in block:
            if group and (len(group) + 1) * lengths[at] > budget:
                batches.append(group)
                group = []
            group.append(at)
        if group:
            batches.append(group)
    return [batches[at] for at in rng.permutation(len(batches))]


def encode(net: Net, texts: Sequence[str], length_max: int) -> list[list[int]]:
    """Token ids of each text, at most as many as the network has positions."""
    most = min(length_max, int(net.model.config.max_position_embeddings))
    found = net.tokenizer(list(texts), truncation=True, max_length=most, return_attention_mask=False)["input_ids"]
    return [list(ids) for ids in found]


def padded(ids: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Tokens and mask of a batch as tensors."""
    import torch

    longest = max(len(row) for row in ids)
    tokens = np.full((len(ids), longest), pad, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for at, row in enumerate(ids):
        tokens[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def epoch_batches(net: Net, rows: Sequence[Row], plan: Plan, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch."""
    import torch

    ids = encode(net, [row.text for row in rows], plan.length_max)
    classes = np.array([LABELS.index(row.label) for row in rows])
    sure = np.array([row.origin.startswith(OWN) for row in rows])
    rng = np.random.default_rng([plan.seed, epoch])
    for members in token_batches([len(row) for row in ids], plan.batch_tokens, rng):
        tokens, mask = padded([ids[at] for at in members], net.tokenizer.pad_token_id)
        yield Batch(tokens, mask, torch.from_numpy(classes[members]), torch.from_numpy(sure[members]))


def train(
    net: Net,
    vary: Vary,
    plan: Plan,
    loss_of: LossOf,
    say: Callable[[str], None],
    after: Callable[[int], None],
) -> None:
    """Fit a network in place.

    Parameters
    ----------
    net : Net
    vary : callable
        Rows of an epoch.
    plan : Plan
    loss_of : callable
        Loss of a batch: `gold_loss` or `distil_loss`.
    say : callable
        Takes a line of progress.
    after : callable
        Called with each finished epoch.
    """
    import torch

    torch.manual_seed(plan.seed)
    first = vary(0)
    steps = plan.epochs * sum(1 for _ in epoch_batches(net, first, plan, 0))
    plain = [p for name, p in net.model.named_parameters() if p.ndim < 2 or "embeddings" in name]
    heavy = [p for name, p in net.model.named_parameters() if not (p.ndim < 2 or "embeddings" in name)]
    groups = [{"params": heavy, "weight_decay": plan.decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)
    warm = max(1, round(plan.warm_share * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, max(0.02, (steps - step) / max(1, steps - warm)))
    )
    for epoch in range(plan.epochs):
        net.model.train()
        total, count = 0.0, 0
        for batch in epoch_batches(net, first if epoch == 0 else vary(epoch), plan, epoch):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.bf16):
                loss = loss_of(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total, count = total + loss.detach().item() * len(batch.classes), count + len(batch.classes)
        say(f"epoch {epoch + 1} of {plan.epochs}: mean loss {total / count:.4f} over {count:,} rows")
        after(epoch)
    net.model.eval()


def gold_loss(net: Net) -> LossOf:
    """Cross-entropy with the labels."""
    import torch

    def loss_of(batch: Batch) -> Any:
        logits = net.model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        return torch.nn.functional.cross_entropy(logits.float(), batch.classes)

    return loss_of


def distil_loss(student: Net, teacher: Net) -> LossOf:
    """The teacher's softened answers and hidden states, and the labels beside them."""
    import torch
    from torch.nn import functional

    taken = kept_layers(teacher.layers, student.layers)

    def loss_of(batch: Batch) -> Any:
        read = {"input_ids": batch.tokens, "attention_mask": batch.mask, "output_hidden_states": True}
        with torch.no_grad():
            told = teacher.model(**read)
        said = student.model(**read)
        soft = functional.kl_div(
            functional.log_softmax(said.logits.float() / TEMPERATURE, dim=-1),
            functional.softmax(told.logits.float() / TEMPERATURE, dim=-1),
            reduction="none",
        ).sum(dim=-1)
        soft = soft * ~(batch.sure & (told.logits.argmax(dim=-1) != batch.classes))
        gold = functional.cross_entropy(said.logits.float(), batch.classes, reduction="none")
        share = GOLD_SHARE + (SURE_SHARE - GOLD_SHARE) * batch.sure
        weights = batch.mask[..., None].float()
        apart = sum(
            ((said.hidden_states[at + 1].float() - told.hidden_states[of + 1].float()) ** 2 * weights).sum()
            for at, of in enumerate(taken)
        ) / (weights.sum() * said.hidden_states[0].shape[-1] * len(taken))
        return (TEMPERATURE**2 * soft + share * gold).mean() + HIDDEN_SHARE * apart

    return loss_of


def logits_of(net: Net, texts: Sequence[str], plan: Plan) -> NDArray[np.float64]:
    """Logits of each text, shape (n, 3), in order."""
    import torch

    ids = encode(net, texts, plan.length_max)
    found = np.zeros((len(texts), len(LABELS)))
    net.model.eval()
    rng = np.random.default_rng(0)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.bf16):
        for members in token_batches([len(row) for row in ids], 2 * plan.batch_tokens, rng):
            tokens, mask = padded([ids[at] for at in members], net.tokenizer.pad_token_id)
            found[members] = net.model(input_ids=tokens, attention_mask=mask).logits.float().numpy()
    return found
