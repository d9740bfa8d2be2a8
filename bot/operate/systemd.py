"""Hardened systemd units of a live session: the bot, the exchange process that alone has the key, the watchdog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

USER, KEY_USER, GROUP = "tidegate", "tidegate-key", "tidegate"

COMMON = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices={devices}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
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
BOT = """\
# Written by tidegate init --systemd. HASH below has to be replaced before it starts.
[Unit]
Description=Tidegate live session {name}
Wants=network-online.target {stem}-watchdog.service
Requires={stem}-exchange.service
After=network-online.target time-sync.target {stem}-exchange.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={group}
WorkingDirectory={here}
Environment=TIDEGATE_VAR={var}
ExecStart={python} -m bot live {config} --yes-i-accept-these-limits HASH
# The loop says that it lives; silent for so long, it is ended and started again.
WatchdogSec=60
# Signals warm up from the store before READY is said.
TimeoutStartSec=15min
TimeoutStopSec=60
Restart=on-failure
# Longer than the lease of a dead machine (30 s) can hold a start up.
RestartSec=10
# Exit code 2 (a fault in the configuration) and 3 (refused) don't mend themselves.
RestartPreventExitStatus=2 3
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

[Service]
User={key_user}
Group={group}
WorkingDirectory={here}
Environment=TIDEGATE_VAR={var}
# The key: root-owned, mode 0600; or LoadCredentialEncrypted= with systemd-creds.
LoadCredential=tidegate-{account}:/etc/tidegate/tidegate-{account}
ExecStart={exchange}
Restart=always
RestartSec=2
{common}
[Install]
WantedBy=multi-user.target
"""
WATCHDOG = """\
# Written by tidegate init --systemd. Halts and cancels when the bot is silent, also after its SIGKILL.
[Unit]
Description=Tidegate watchdog of {name}
Wants={stem}-exchange.service
After={stem}-exchange.service
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


def systemd_units(config: Any, *, var: Path | None = None, python: str | None = None) -> dict[str, str]:
    """Unit files by name, for the session of a configuration.

    Parameters
    ----------
    config : Config
        With its `[live]`, `[exchange]` and `[notify]` sections, where it has them.
    var : Path, optional
        Folder of facts and sessions; left out: `var` beside the configuration.
    python : str, optional
        The interpreter that has Tidegate; left out: this one.
    """
    live, venue = getattr(config, "live", None), getattr(config, "exchange", None)
    name, account = str(getattr(live, "name", "default")), str(getattr(venue, "account", "main"))
    here = Path(config.folder).resolve()
    state = (var if var is not None else here / "var").resolve()
    file = here / Path(config.where).name
    notify = bool(getattr(getattr(config, "notify", None), "urls", ()))
    values = {
        "name": name, "account": account, "stem": f"tidegate-{name}", "user": USER, "key_user": KEY_USER,
        "group": GROUP, "here": _quoted(here), "var": _quoted(state), "config": _quoted(file),
        "python": _quoted(python or sys.executable), "state": _quoted(state / "live" / name),
        "after_s": getattr(live, "heartbeat_after", 30 * 10**9) / 1e9,
        "notify": f" --notify-from {_quoted(file)}" if notify else "",
    }  # fmt: skip
    values["exchange"] = f"{values['python']} -m bot.exchange.process {values['config']}"
    # A GPU is a device; only the bot's models need it.
    private = COMMON.format(devices="yes", state=values["state"])
    open_ = COMMON.format(devices="no", state=values["var"])
    stem = values["stem"]
    return {
        f"{stem}.service": BOT.format(common=open_, **values),
        f"{stem}-exchange.service": EXCHANGE.format(common=private, **values),
        f"{stem}-watchdog.service": WATCHDOG.format(common=private, **values),
    }


def how_to_install(names: list[str], name: str) -> str:
    """What a person does with the units."""
    stem = f"tidegate-{name}"
    return f"""\
next, as root:
  useradd --system --user-group --no-create-home {USER}
  useradd --system --no-create-home --gid {GROUP} {KEY_USER}
  put the key into /etc/tidegate (mode 0600) as named in {stem}-exchange.service
  replace HASH in {stem}.service by what tidegate live prints
  install -m 0644 {" ".join(names)} /etc/systemd/system/
  systemctl daemon-reload && systemctl enable --now {stem}.service
operate it as its user: sudo -u {USER} tidegate status"""


def _quoted(path: Path | str) -> str:
    """A path as systemd reads it: percent signs are doubled, one with blanks is quoted."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    return '"' + text.replace('"', '\\"') + '"' if any(c in text for c in " \t\"'") else text
