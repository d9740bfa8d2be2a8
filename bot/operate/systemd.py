"""Hardened systemd units of a live session: the bot, the exchange process that alone has the key, the watchdog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bot.operate.direct_line import DOCUMENT_FILE

USER, GROUP = "tidegate", "tidegate"

COMMON = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
UMask=0007
ReadWritePaths={state}
"""
# Not for the bot: its models may need a graphics card.
NO_DEVICES = """\
PrivateDevices=yes
ProtectClock=yes
"""
BOT = """\
# Written by tidegate init --systemd. HASH below has to be replaced before it starts.
[Unit]
Description=Tidegate live session {name}
Wants=network-online.target {stem}-exchange.path {stem}-watchdog.service
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={group}
WorkingDirectory={here}
Environment={var_setting}
Environment=TIDEGATE_CACHE=%C/tidegate
CacheDirectory=tidegate
ExecStart={python} -m bot live {config} --yes-i-accept-these-limits HASH
# The loop says that it lives; silent for so long, it is ended and started again.
WatchdogSec=60
# Signals warm up from the store before READY is said.
TimeoutStartSec=15min
TimeoutStopSec=60
Restart=on-failure
# Longer than the lease of a dead machine (30 s) can hold a start up.
RestartSec=10
# Exit code 2, a fault in the configuration, doesn't mend itself.
RestartPreventExitStatus=2
{common}
[Install]
WantedBy=multi-user.target
"""
EXCHANGE = """\
# Written by tidegate init --systemd. The only process that sees the key.
[Unit]
Description=Tidegate exchange process of {name}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0
ConditionPathExists={document}

[Service]
User={key_user}
Group={group}
WorkingDirectory={here}
Environment={var_setting}
# The key: root-owned, mode 0600; or LoadCredentialEncrypted= with systemd-creds.
LoadCredential=tidegate-{account}:/etc/tidegate/tidegate-{account}
ExecStart={exchange}
Restart=always
RestartSec=2
{common}"""
EXCHANGE_PATH = """\
# Written by tidegate init --systemd. Starts the exchange process as soon as the bot says what it has to serve.
[Unit]
Description=Tidegate exchange process of {name}, when there is work for it

[Path]
PathExists={document}
Unit={stem}-exchange.service
"""
WATCHDOG = """\
# Written by tidegate init --systemd. Halts and cancels when the bot is silent, also after its SIGKILL.
[Unit]
Description=Tidegate watchdog of {name}
Wants={stem}-exchange.path
StartLimitIntervalSec=0

[Service]
Type=notify
User={user}
Group={group}
WorkingDirectory={here}
ExecStart={python} -m bot.operate.watchdog {state} --after {after_s:g}{notify}
WatchdogSec=60
Restart=on-failure
RestartSec=5
{common}"""


def systemd_units(
    config: Any, *, var: Path | None = None, python: str | None = None, key_user: str = USER
) -> dict[str, str]:
    """Unit files by name, for the session of a configuration.

    Parameters
    ----------
    config : Config
        With its `[live]`, `[exchange]` and `[notify]` sections, where it has them.
    var : Path, optional
        Folder of facts and sessions; left out: `var` beside the configuration.
    python : str, optional
        The interpreter that has Tidegate; left out: this one.
    key_user : str
        User of the exchange process. It listens to its own user only, so another one than the bot's can't be given
        until that changes; the key itself is handed to its unit alone.
    """
    name, account, state = _of(config, var)
    here, live = Path(config.folder).resolve(), getattr(config, "live", None)
    file = here / Path(config.where).name
    notify = bool(getattr(getattr(config, "notify", None), "urls", ()))
    values = {
        "name": name, "account": account, "stem": f"tidegate-{name}", "user": USER, "key_user": key_user,
        "group": GROUP, "here": _plain(here), "var": _quoted(state.parent.parent),
        "var_setting": _quoted(f"TIDEGATE_VAR={state.parent.parent}"), "config": _quoted(file),
        "python": _quoted(python or sys.executable), "state": _quoted(state),
        "after_s": getattr(live, "heartbeat_after", 30 * 10**9) / 1e9,
        "notify": f" --notify-from {_quoted(file)}" if notify else "",
    }  # fmt: skip
    values["exchange"] = f"{values['python']} -m bot.exchange.process {_quoted(state / DOCUMENT_FILE)}"
    values["document"] = _plain(state / DOCUMENT_FILE)
    private = COMMON.format(state=values["state"]) + NO_DEVICES
    stem = values["stem"]
    return {
        f"{stem}.service": BOT.format(common=COMMON.format(state=values["var"]), **values),
        f"{stem}-exchange.path": EXCHANGE_PATH.format(**values),
        f"{stem}-exchange.service": EXCHANGE.format(common=private, **values),
        f"{stem}-watchdog.service": WATCHDOG.format(common=private, **values),
    }


def how_to_install(config: Any, names: list[str], *, var: Path | None = None) -> str:
    """What a person does with the units."""
    bot_unit, _, exchange_unit, _ = names
    _, account, state = _of(config, var)
    return f"""\
next, as root:
  useradd --system --user-group --no-create-home {USER}
  install -d -o {USER} -g {GROUP} -m 2770 {state}
  put the exchange key into /etc/tidegate/tidegate-{account}, mode 0600 (for {exchange_unit} alone)
  put what tidegate live asks you to type in place of HASH in {bot_unit}
  install -m 0644 {" ".join(names)} /etc/systemd/system/
  systemctl daemon-reload
  systemctl enable --now {bot_unit}
operate it as its user, for example: sudo -u {USER} tidegate status"""


def _of(config: Any, var: Path | None) -> tuple[str, str, Path]:
    """Name, account label and folder of the configuration's live session."""
    name = str(getattr(getattr(config, "live", None), "name", "default"))
    account = str(getattr(getattr(config, "exchange", None), "account", "main"))
    root = var if var is not None else Path(config.folder) / "var"
    return name, account, root.resolve() / "live" / name


def _plain(path: Path) -> str:
    """A path where systemd takes the whole line: percent signs are doubled."""
    return str(path).replace("%", "%%")


def _quoted(path: Path | str) -> str:
    """A word as systemd reads it: percent signs are doubled, one with blanks is quoted."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    return '"' + text.replace('"', '\\"') + '"' if any(c in text for c in " \t\"'") else text
