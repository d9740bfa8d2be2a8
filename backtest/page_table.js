"use strict";
// The trade table: sorted by any column, filtered by symbol, 25 rows a page; a trade's time brings it up in the chart.
const table = { order: [], by: "entry", down: false, page: 0, symbol: "" };
const ROWS = 25;

function columns() {
  const { a, quote, market, purposes, symbols } = page.facts;
  const money = (value) => (Number.isFinite(value) ? value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).replace("-", "−") : "–");
  const share = (value) => (Number.isFinite(value) ? `${value > 0 ? "+" : ""}${(100 * value).toFixed(2)}%`.replace("-", "−") : "–");
  const time = (value) => (Number.isFinite(value) ? new Date(value).toISOString().slice(0, 16).replace("T", " ") : "open");
  const narrow = innerWidth < 560;
  const cost = (i) => a.trade_fees[i] + a.trade_slippage[i];
  return [
    { key: "entry", label: "Entry, UTC", value: (i) => a.trade_entry[i], text: narrow ? (value) => time(value).slice(0, 10) : time, link: true },
    { key: "symbol", label: "Symbol", value: (i) => symbols[a.trade_symbol[i]], text: String, mark: narrow && market !== "spot" ? (i) => (a.trade_side[i] > 0 ? "▲ " : "▼ ") : () => "" },
    { key: "side", label: "Side", value: (i) => (a.trade_side[i] > 0 ? "long" : "short"), text: String, wide: true },
    { key: "pnl", label: `P&L, ${quote}`, value: (i) => a.trade_pnl[i], text: money, signed: true },
    { key: "return", label: "Return", value: (i) => a.trade_return[i], text: share, signed: true },
    { key: "exit", label: "Exit, UTC", value: (i) => a.trade_exit[i], text: time, wide: true },
    { key: "purpose", label: "Ended by", value: (i) => (a.trade_purpose[i] < 0 ? "still open" : purposes[a.trade_purpose[i]]), text: String, wide: true },
    { key: "bars", label: "Bars", value: (i) => a.trade_bars[i], text: (value) => value.toLocaleString("en-US"), number: true, wide: true },
    { key: "entry_price", label: "Entry at", value: (i) => a.trade_entry_price[i], text: figure, number: true, wide: true },
    { key: "exit_price", label: "Exit at", value: (i) => a.trade_exit_price[i], text: figure, number: true, wide: true },
    { key: "qty", label: "Quantity", value: (i) => a.trade_qty[i], text: figure, number: true, wide: true },
    { key: "cost", label: "Fees + slippage", value: cost, text: money, number: true, wide: true },
    ...(market === "spot" ? [] : [{ key: "funding", label: "Funding", value: (i) => a.trade_funding[i], text: money, number: true, wide: true }]),
  ];
}

function arrange() {
  const { a } = page.facts;
  const column = table.columns.find((one) => one.key === table.by);
  const rows = [];
  for (let i = 0; i < a.trade_entry.length; i++) {
    if (table.symbol === "" || a.trade_symbol[i] === Number(table.symbol)) rows.push(i);
  }
  const turn = table.down ? -1 : 1;
  rows.sort((one, other) => {
    const left = column.value(one), right = column.value(other);
    if (typeof left === "string") return turn * left.localeCompare(right) || one - other;
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return turn * (left - right) || one - other;
  });
  table.order = rows;
  table.page = 0;
  fill();
}

function heads() {
  const row = document.createElement("tr");
  for (const column of table.columns) {
    const cell = document.createElement("th");
    const button = document.createElement("button");
    cell.scope = "col";
    cell.className = [column.number || column.signed ? "num" : "", column.wide ? "wide" : ""].join(" ").trim();
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => {
      table.down = table.by === column.key ? !table.down : Boolean(column.number || column.signed);
      table.by = column.key;
      arrange();
    });
    cell.append(button);
    row.append(cell);
    column.cell = cell;
  }
  document.querySelector("#trades thead").replaceChildren(row);
}

function fill() {
  const { a } = page.facts;
  const pages = Math.max(Math.ceil(table.order.length / ROWS), 1);
  const body = document.querySelector("#trades tbody");
  body.replaceChildren(...table.order.slice(table.page * ROWS, (table.page + 1) * ROWS).map((i) => {
    const row = document.createElement("tr");
    row.addEventListener("click", () => showTrade(a.trade_symbol[i], a.trade_entry[i], a.trade_exit[i]));
    for (const column of table.columns) {
      const cell = document.createElement("td");
      const value = column.value(i);
      cell.className = [column.number || column.signed ? "num" : "", column.wide ? "wide" : "", column.signed && value > 0 ? "gain" : "", column.signed && value < 0 ? "loss" : ""].join(" ").trim();
      if (column.link) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "link";
        button.title = "Show in the chart";
        button.textContent = column.text(value);
        cell.append(button);
      } else {
        cell.textContent = (column.mark ? column.mark(i) : "") + column.text(value);
      }
      row.append(cell);
    }
    return row;
  }));
  if (!table.order.length) {
    const row = document.createElement("tr"), cell = document.createElement("td");
    cell.colSpan = table.columns.length;
    cell.textContent = "No trade.";
    row.append(cell);
    body.replaceChildren(row);
  }
  for (const column of table.columns) column.cell.ariaSort = column.key === table.by ? (table.down ? "descending" : "ascending") : "none";
  byId("page").textContent = `${(table.page + 1).toLocaleString("en-US")} of ${pages.toLocaleString("en-US")}`;
  byId("older").disabled = table.page === 0;
  byId("newer").disabled = table.page >= pages - 1;
  document.querySelector(".pager").hidden = pages < 2;
}

function startTable() {
  table.columns = columns();
  heads();
  byId("older").addEventListener("click", () => { table.page -= 1; fill(); });
  byId("newer").addEventListener("click", () => { table.page += 1; fill(); });
  byId("trade-symbol").addEventListener("change", (event) => { table.symbol = event.target.value; arrange(); });
  arrange();
}
