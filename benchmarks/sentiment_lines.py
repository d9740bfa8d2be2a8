"""The lines of the sentiment table: held-out sets, probes of our own, and other sets that only report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.sentiment_judge import Judge, Line, Scored, error_of
from benchmarks.sentiment_posts.grammar import written
from benchmarks.train_sentiment.calibrate import Ints, area_under_curve, macro_f1
from benchmarks.train_sentiment.sets import read_table

CRYPTOLIN_SINCE: Final = "2021-07-01"
PROBES: Final = "probes.csv"
PROBE_AIMS: Final = {"negated": 0.80, "reversed": 0.70, "slang": 0.75, "sarcasm": None, "plain": None}


def held_out_lines(judge: Judge, folder: Path) -> list[Line]:
    """The sets that nothing was trained, chosen or fitted on."""
    tfns = read_table(folder / "eval_tfns_valid.parquet")
    sentfin = read_table(folder / "eval_sentfin_entity.parquet")
    crypto = read_table(folder / "eval_cryptolin.parquet")
    late = _since(crypto, late=True)
    return [
        _f1_line(judge, tfns, "held out", "TFNS validation", (0.81, 0.85)),
        _f1_line(judge, _single(sentfin), "held out", "SEntFiN tenth, single-label texts", (0.855, 0.88)),
        _accuracy_line(judge, _mixed(sentfin), "held out", "SEntFiN tenth, entities in conflict", (0.70, 0.78)),
        *crypto_lines(judge, late, "held out", "CryptoLin from 2021-07", ((0.925, 0.95), (0.50, 0.62))),
    ]


def other_lines(judge: Judge, folder: Path) -> list[Line]:
    """Checked on others as well: no floor, nothing chosen by them."""
    finentity = read_table(folder / "train_finentity.parquet")
    early = _since(read_table(folder / "eval_cryptolin.parquet"), late=False)
    return [
        _f1_line(judge, _single(finentity), "others", "FinEntity, single-label texts", (None, None)),
        _accuracy_line(judge, _mixed(finentity), "others", "FinEntity, entities in conflict", (None, None)),
        *crypto_lines(judge, early, "others", "CryptoLin before 2021-07", ((None, None), (None, None))),
    ]


def probe_lines(judge: Judge) -> list[Line]:
    """Sign of the score on probes of our own, which no training post resembles."""
    lines = []
    posts = pd.DataFrame(written(PROBES), columns=["kind", "label", "text"])
    for kind, floor in PROBE_AIMS.items():
        frame = posts[posts["kind"] == kind].reset_index(drop=True)
        truth = frame["label"].to_numpy()
        found, lexicon = judge.score(frame), judge.lexicon(frame)
        right = np.sign(found.score) == truth
        low, high = judge.interval(np.arange(len(frame)), lambda rows, right=right: float(right[rows].mean()))  # type: ignore[misc]
        vader = float((np.sign(lexicon.score) == truth).mean())
        sides = " ".join(f"{name} {right[truth == side].mean():.2f}" for name, side in (("up", 1), ("down", -1)))
        name = {"reversed": "reversed sense"}.get(kind, kind)
        lines.append(
            Line("probes", name, "sign accuracy", len(frame), float(right.mean()), low, high, vader, floor, note=sides)
        )
    return lines


def bearish_headlines(folder: Path | None) -> pd.DataFrame:
    """What the attacks are tried on: our own bearish headlines, and those of the held-out sets when they are there."""
    own = pd.DataFrame([text for kind, label, text in written(PROBES) if (kind, label) == ("headline", -1)])
    frames = [own.set_axis(["text"], axis=1)]
    if folder is not None:
        sets = [
            read_table(folder / "eval_tfns_valid.parquet"),
            _single(read_table(folder / "eval_sentfin_entity.parquet")).drop_duplicates("text"),
            _since(read_table(folder / "eval_cryptolin.parquet"), late=True),
        ]
        frames += [each[each["label"] == -1].reindex(columns=["text", "target"]) for each in sets]
    return pd.concat(frames, ignore_index=True)


def crypto_lines(
    judge: Judge,
    frame: pd.DataFrame,
    section: str,
    title: str,
    aims: tuple[tuple[float | None, float | None], tuple[float | None, float | None]],
) -> list[Line]:
    """How well bullish and bearish are told apart, and macro-F1 at the card's own thresholds for news."""
    truth = frame["label"].to_numpy()
    found, lexicon = judge.score(frame), judge.lexicon(frame)
    (auc_floor, auc_aim), (f1_floor, f1_aim) = aims

    def auc(of: Scored, rows: Ints) -> float:
        rows = rows[truth[rows] != 0]
        return area_under_curve(of.score[rows], truth[rows] == 1)

    everything = np.arange(len(frame))
    pair = judge.thresholds("news")
    called, by_lexicon = found.by(pair), lexicon.classes
    note = "most probable class" if pair is None else f"score <= {pair[0]:g} bearish, >= {pair[1]:g} bullish"
    polar = truth != 0
    common: dict[str, Any] = {"texts_per_s": found.texts_per_s}
    return [
        Line(
            *(section, title, "AUC bullish against bearish", int(polar.sum()), auc(found, everything)),
            *judge.interval(everything, lambda rows: auc(found, rows)),
            *(auc(lexicon, everything), auc_floor, auc_aim),
            **common,
        ),
        Line(
            *(section, title, "macro-F1", len(frame), macro_f1(truth, called)),
            *judge.interval(everything, lambda rows: macro_f1(truth[rows], called[rows])),
            *(macro_f1(truth, by_lexicon), f1_floor, f1_aim, error_of(found, truth)),
            note=note,
            **common,
        ),
    ]


def _f1_line(
    judge: Judge, frame: pd.DataFrame, section: str, title: str, aims: tuple[float | None, float | None]
) -> Line:
    truth = frame["label"].to_numpy()
    found, lexicon = judge.score(frame), judge.lexicon(frame)
    low, high = judge.interval(frame["text"].tolist(), lambda rows: macro_f1(truth[rows], found.classes[rows]))
    return Line(
        *(section, title, "macro-F1", len(frame), macro_f1(truth, found.classes), low, high),
        *(macro_f1(truth, lexicon.classes), *aims, error_of(found, truth), found.texts_per_s),
    )


def _accuracy_line(
    judge: Judge, frame: pd.DataFrame, section: str, title: str, aims: tuple[float | None, float | None]
) -> Line:
    """Right per entity; a lexicon has but one answer for the whole text."""
    truth = frame["label"].to_numpy()
    found = judge.score(frame)
    right = found.classes == truth
    low, high = judge.interval(frame["text"].tolist(), lambda rows: float(right[rows].mean()))
    vader = float((judge.lexicon(frame).classes == truth).mean())
    return Line(
        *(section, title, "accuracy per entity", len(frame), float(right.mean()), low, high),
        *(vader, *aims, error_of(found, truth), found.texts_per_s),
    )


def _single(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["n_labels"] == 1].reset_index(drop=True)


def _mixed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["n_labels"] > 1].reset_index(drop=True)


def _since(crypto: pd.DataFrame, *, late: bool) -> pd.DataFrame:
    after = pd.to_datetime(crypto["date"]) >= CRYPTOLIN_SINCE
    return crypto[after == late].reset_index(drop=True)
