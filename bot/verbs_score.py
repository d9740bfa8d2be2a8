"""The verb that runs a model over stored posts: `score`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.terminal import VAR, AsJson, ConfigFile, OnSample, VarFolder, emit, note, now_ns, progress, say
from data.errors import InputError

if TYPE_CHECKING:
    from data.store import Store
    from signals.models import ModelCard
    from signals.score_report import ScoreOptions, ScoreProgress, ScoreReport
    from signals.scorer import Compute

PANEL = "Facts"
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(rich_help_panel=PANEL)(score)


def score(
    config: ConfigFile = None,
    model: Annotated[
        str | None, typer.Option(help="A name from `models`, owner/name@commit, or a folder; else run.model.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Classes of the model's outputs: bearish,neutral,bullish.")] = None,
    cutoff: Annotated[str | None, typer.Option(help="Last day of the model's training texts: 2023-06-30.")] = None,
    device: Annotated[str, typer.Option(help="auto (CUDA when there is one), cpu, cuda or cuda:1.")] = "auto",
    engine: Annotated[str, typer.Option(help="torch, or onnx: int8 on the CPU (the extra tidegate[onnx]).")] = "torch",
    batch_tokens: Annotated[int, typer.Option(help="Tokens in one batch, padding included; 0 chooses.")] = 0,
    dtype: Annotated[str, typer.Option(help="auto (bf16 where the device has it), fp32, bf16 or fp16.")] = "auto",
    long: Annotated[str, typer.Option(help="Of a long text: its lead, or the mean of its windows.")] = "lead",
    delay: Annotated[str, typer.Option(help="From a post to its score, as a live run would have needed.")] = "2s",
    since: Annotated[str | None, typer.Option(help="Only posts known from then on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only posts known before then.")] = None,
    sources: Annotated[list[str] | None, typer.Option("--source", help="Only posts of this source.")] = None,
    keep_spam: Annotated[bool, typer.Option(help="Score posts that look like spam, too.")] = False,
    keep_foreign: Annotated[bool, typer.Option(help="Score posts that aren't in English, too.")] = False,
    rescore_duplicates: Annotated[
        bool, typer.Option(help="Score near-duplicates too, instead of taking the first one's score.")
    ] = False,
    sample: OnSample = None,
    var: VarFolder = VAR,
    follow: Annotated[
        bool, typer.Option("--follow", help="Then score each new post as it arrives, till Ctrl-C.")
    ] = False,
    max_delay: Annotated[str | None, typer.Option(help="With --follow: from a post to its score; else 200ms.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score the stored posts that have no score of this model and revision. Stopped at any time, it goes on later."""
    from bot.config_resolve import resolve_model
    from bot.context import facts_of
    from data.times import parse_duration, parse_time
    from signals.models import DEFAULT_MODEL, resolve
    from signals.score_report import ScoreOptions
    from signals.scorer import Compute

    budget = latency_budget(follow, max_delay)
    chosen, store = facts_of(config, sample=sample, var=var)
    card = resolve_model(chosen) if chosen and model is None else resolve(model or DEFAULT_MODEL, labels, cutoff)
    options = ScoreOptions(
        delay_ns=parse_duration(delay, key="--delay"),
        keep_spam=keep_spam,
        keep_foreign=keep_foreign,
        rescore_duplicates=rescore_duplicates,
        since_ns=None if since is None else parse_time(since, key="--since"),
        until_ns=None if until is None else parse_time(until, key="--until"),
        sources=sources or None,
    )
    compute = Compute(device, batch_tokens, dtype, engine, long)
    aliases = chosen.path(chosen.aliases.file) if chosen and chosen.aliases.file else None
    report = run_scoring(store, card, compute, options=options, aliases=aliases, max_delay_ns=budget)
    if as_json:
        emit({**dataclasses.asdict(report), "done": report.done, "posts_per_second": report.posts_per_second})
    else:
        show_scoring(report)
    if report.interrupted and not report.followed:
        note("interrupted: what was scored is stored; the same command goes on from there")
        raise typer.Exit(INTERRUPTED)


def latency_budget(follow: bool, max_delay: str | None) -> int | None:
    """Nanoseconds from a post to its score when new posts are followed, else None."""
    from data.times import parse_duration

    if max_delay is not None and not follow:
        raise InputError("needs --follow", key="--max-delay", value=max_delay, remedy="Add --follow")
    return parse_duration(max_delay or "200ms", key="--max-delay") if follow else None


def run_scoring(
    store: "Store",
    card: "ModelCard",
    compute: "Compute",
    *,
    options: "ScoreOptions",
    aliases: Path | None,
    max_delay_ns: int | None = None,
) -> "ScoreReport":
    """Score with a bar on stderr, and go on with new posts when given a latency budget; a user's own names on top."""
    from signals.scoring import score_posts
    from signals.streaming import follow_posts

    if aliases is not None:
        from signals.aliases import read_aliases
        from signals.entities import Linker

        options = dataclasses.replace(options, linker=Linker(read_aliases(aliases)))
    if card.notice:
        note(f"note: {card.notice}")
    with progress(f"scoring with {card.name}", "posts") as advance:

        def tell(done: "ScoreProgress") -> None:
            advance(done.done, done.total)

        if max_delay_ns is not None:
            note(f"following the store, at most {max_delay_ns / 1e6:,.0f} ms from a post to its score; Ctrl-C ends it")
            return follow_posts(store, card, compute, now_ns, tell, options, max_delay_ns)
        return score_posts(store, card, compute, now_ns, tell, options=options)


def show_scoring(report: "ScoreReport") -> None:
    """What a scoring run did, in four lines."""
    where = f" on {report.device} in {report.dtype}" if report.device else ""
    say(f"{report.model}@{report.model_revision}{where}: {report.posts:,} posts, {report.already:,} scored before")
    if not report.posts:
        note("No posts are stored: tidegate import posts FILE, or score the embedded sample with --sample")
    if report.done:
        rate = f"{report.posts_per_second:,.0f} posts/s" if report.elapsed_s else ""
        say(f"  {report.done:,} done now in {report.elapsed_s:.1f} s, {rate}")
        say(
            f"  {report.linked:,} about a coin or the market, {report.unlinked:,} about neither, {report.spam:,} spam, "
            f"{report.foreign:,} not in English, {report.unchanged:,} edited without new words"
        )
    if report.note:
        say(f"  {report.note}")
    say(f"  {report.rows_added:,} sentiment rows added, {report.rows_revised:,} revised")
    if report.near_duplicates:
        say(
            f"  {report.near_duplicates:,} posts all but repeat an earlier one; "
            f"{report.scores_borrowed:,} scores were taken from those"
        )
    if report.delays_ms:
        told = ", ".join(f"{name} {value:,.0f} ms" for name, value in report.delays_ms.items())
        say(f"  from a post to its score: {told}")
    if report.failed:
        say(f"  {report.failed:,} posts got no score (the model gave no finite answer); the next run tries them again")
