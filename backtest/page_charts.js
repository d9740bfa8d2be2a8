"use strict";
// Unpacks the run's curves and draws them. All text from the run is escaped here or set as text; nothing is fetched.
const page = { facts: null, range: null, symbol: 0, ready: false };

const DAY = 86400e3;

function firstAtOrAfter(times, value) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// The part of a time axis that shows, and one point more on either side, so that lines run to the edge.
function visible(times) {
  const from = Math.max(firstAtOrAfter(times, page.range[0]) - 1, 0);
  const to = Math.min(firstAtOrAfter(times, page.range[1]) + 1, times.length);
  return [from, to];
}

function line(times, values, style) {
  const [from, to] = visible(times);
  return {
    type: "scatter", mode: "lines", x: times.subarray(from, to), y: values.subarray(from, to),
    connectgaps: false, ...style,
  };
}

// A line that jumps at every bar of a year fills its strip with ink: the more points, the finer it is drawn.
function steps(times) {
  const [from, to] = visible(times);
  return { color: colour("run"), width: to - from > 2000 ? 0.4 : 1, shape: "hv" };
}

function layout(bottom, axes, labels) {
  const spans = page.facts.spans.filter((span) => span[1] >= page.range[0] && span[0] <= page.range[1]);
  return frame({
    hovermode: "x unified", hoversubplots: "axis",
    xaxis: {
      type: "date", range: [...page.range], anchor: bottom, fixedrange: coarse, gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false,
      tickfont: { size: 11, color: colour("muted") }, hoverformat: "%Y-%m-%d %H:%M UTC", nticks: Math.max(Math.floor(byId("equity").clientWidth / 80), 4),
      unifiedhovertitle: { text: "%{x|%Y-%m-%d %H:%M} UTC" },
    },
    shapes: spans.map(([x0, x1]) => ({
      type: "rect", xref: "x", yref: "paper", x0, x1, y0: 0, y1: 1, fillcolor: colour("shade"), line: { width: 0 }, layer: "below",
    })),
    annotations: labels.map(([text, y]) => ({
      text: escaped(text), xref: "paper", yref: "paper", x: 0, y, xanchor: "left", yanchor: "bottom", showarrow: false,
      font: { size: 11, color: colour("muted") },
    })),
    ...axes,
  });
}

function putInTime(id, traces, shape) {
  if (!put(id, traces, shape)) return;
  const box = byId(id);
  box.on("plotly_relayout", (event) => {
    const from = event["xaxis.range[0]"], to = event["xaxis.range[1]"];
    if (from !== undefined && to !== undefined) show(moment(from), moment(to));
  });
  box.on("plotly_doubleclick", () => show());
}

const moment = (text) => (typeof text === "number" ? text : Date.parse(`${String(text).replace(" ", "T")}Z`));

function drawEquity() {
  const { a, quote } = page.facts;
  const unit = escaped(quote);
  putInTime("equity", [
    line(a.t, a.hold, { name: "buy & hold", line: { color: colour("hold"), width: 1.2 }, hovertemplate: `%{y:,.2f} ${unit}` }),
    line(a.t, a.equity, { name: "this run", line: { color: colour("run"), width: 1.8 }, hovertemplate: `%{y:,.2f} ${unit}` }),
    line(a.t, a.fall, { name: "drawdown", yaxis: "y2", fill: "tozeroy", fillcolor: colour("loss-fill"), line: { color: colour("loss"), width: 1.1 }, hovertemplate: "%{y:.1%}" }),
  ], layout("y2", {
    yaxis: axis([0.33, 1], { tickformat: "~s" }),
    yaxis2: axis([0, 0.25], { tickformat: ".0%", rangemode: "tozero", nticks: 4, ...(a.fall.some((value) => value < 0) ? {} : { range: [-0.1, 0] }) }),
  }, [["Drawdown from the high", 0.25]]));
}

function drawExposure() {
  const { a, market } = page.facts;
  const traces = [line(a.t, a.gross, { name: "gross", fill: "tozeroy", fillcolor: colour("run-fill"), line: steps(a.t), hovertemplate: "%{y:.0%}" })];
  if (market !== "spot") traces.push(line(a.t, a.net, { name: "net", line: { color: colour("hold"), width: 1.1, shape: "hv" }, hovertemplate: "%{y:.0%}" }));
  putInTime("exposure", traces, layout("y", { yaxis: axis([0, 1], { tickformat: ".0%", rangemode: "tozero" }) }, []));
}

const MARKS = [
  { name: "long entry", has: (purpose, qty) => purpose === "entry" && qty > 0, symbol: "triangle-up", colour: "gain", size: 9 },
  { name: "short entry", has: (purpose, qty) => purpose === "entry" && qty < 0, symbol: "triangle-down", colour: "hold", size: 9 },
  { name: "exit", has: (purpose) => ["exit", "time-exit", "stale-exit"].includes(purpose), symbol: "circle", colour: "ink", size: 5 },
  { name: "stop", has: (purpose) => ["stop-loss", "trailing-stop"].includes(purpose), symbol: "x", colour: "loss", size: 7 },
  { name: "take-profit", has: (purpose) => purpose === "take-profit", symbol: "diamond", colour: "run", size: 8 },
  { name: "forced", has: (purpose) => ["flatten", "liquidation"].includes(purpose), symbol: "star", colour: "loss", size: 10 },
];
const MOST_MARKS = 1200;

function marks() {
  const { a, purposes, left_out: leftOut } = page.facts;
  let seen = [];
  for (let i = 0; i < a.fill_t.length; i++) {
    if (a.fill_symbol[i] === page.symbol && a.fill_t[i] >= page.range[0] && a.fill_t[i] <= page.range[1]) seen.push(i);
  }
  const all = seen.length;
  if (all > MOST_MARKS) seen = Array.from({ length: MOST_MARKS }, (_, place) => seen[Math.floor((place * all) / MOST_MARKS)]);
  let note = all > MOST_MARKS ? ` · ${MOST_MARKS.toLocaleString("en-US")} of ${all.toLocaleString("en-US")} marks drawn, zoom in for all` : "";
  if (leftOut.fills) note += ` · the last ${leftOut.fills.toLocaleString("en-US")} fills of the run are in the exports only`;
  byId("marks").textContent = note;
  return MARKS.map((mark) => {
    const mine = seen.filter((i) => mark.has(purposes[a.fill_purpose[i]], a.fill_qty[i]));
    return {
      type: "scatter", mode: "markers", name: mark.name, x: mine.map((i) => a.fill_t[i]), y: mine.map((i) => a.fill_price[i]),
      text: mine.map((i) => `${purposes[a.fill_purpose[i]]} ${a.fill_qty[i] > 0 ? "+" : ""}${figure(a.fill_qty[i])} at ${figure(a.fill_price[i])}`),
      marker: { symbol: mark.symbol, size: mark.size, color: colour(mark.colour), line: { width: 1, color: colour("panel") } },
      hovertemplate: "%{text}",
    };
  }).filter((trace) => trace.x.length);
}

function figure(value) {
  if (!Number.isFinite(value)) return "–";
  return value.toLocaleString("en-US", { maximumSignificantDigits: 7 });
}

function priceTrace() {
  const { a, candles } = page.facts;
  const k = page.symbol;
  const [from, to] = visible(a.t);
  if (!candles || to - from > 260) {
    return line(a.t, a[`close${k}`], { name: "close", line: { color: colour("muted"), width: 1.2 }, hovertemplate: "%{y:,.7~g}" });
  }
  const side = (name) => ({ line: { color: colour(name), width: 1 }, fillcolor: colour(name) });
  const part = (name) => a[`${name}${k}`].subarray(from, to);
  const middles = a.t.subarray(from, to).map((close) => close - page.facts.bar_ms / 2);
  return {
    type: "candlestick", name: "price", x: middles, open: part("open"), high: part("high"), low: part("low"), close: part("close"),
    increasing: side("gain"), decreasing: side("loss"), opacity: 0.75,
  };
}

// Price on top, then one strip for each signal, then the weight held; one time axis for all.
function drawPrice() {
  const { a, signals } = page.facts;
  const k = page.symbol;
  const strips = [...signals.map((name, s) => ({ label: name, times: a.decide, values: a[`signal${k}_${s}`], style: { line: { color: colour("run"), width: 1.1 }, hovertemplate: "%{y:.3~g}" }, axis: { zeroline: true, zerolinecolor: colour("muted"), nticks: 4, tickformat: "~g" } })),
    { label: "Weight held, share of equity", times: a.t, values: a[`weight${k}`], style: { fill: "tozeroy", fillcolor: colour("run-fill"), line: steps(a.t), hovertemplate: "%{y:.0%}" }, axis: { tickformat: ".0%", rangemode: "tozero", nticks: 3 } }];
  const tall = coarse ? 270 : 330, strip = 74, gap = 24, frame = 52;
  const inner = tall + strips.length * (strip + gap);
  byId("price").style.height = `${inner + frame}px`;
  const traces = [priceTrace(), ...marks()];
  const axes = { yaxis: axis([1 - tall / inner, 1], { tickformat: ",~g" }) };
  const labels = [];
  let top = 1 - tall / inner;
  strips.forEach(({ label, times, values, style, axis: more }, place) => {
    top -= gap / inner;
    const bottom = Math.max(top - strip / inner, 0);
    axes[`yaxis${place + 2}`] = axis([bottom, top], more);
    labels.push([label, top]);
    traces.push(line(times, values, { name: escaped(label), yaxis: `y${place + 2}`, ...style }));
    top = bottom;
  });
  const shape = layout(`y${strips.length + 1}`, axes, labels);
  shape.xaxis.rangeslider = { visible: false };
  putInTime("price", traces, shape);
}

const date = (ms) => new Date(ms).toISOString().slice(0, 10);

function show(from, to) {
  const { a, start_ms: start, bar_ms: bar } = page.facts;
  const end = a.t[a.t.length - 1];
  const whole = from === undefined;
  page.range = whole ? [start, end] : [Math.max(from, start), Math.min(to, end)];
  if (page.range[1] - page.range[0] < 10 * bar) page.range = [page.range[0] - 5 * bar, page.range[1] + 5 * bar];
  document.querySelectorAll(".ranges button").forEach((button) => {
    const days = Number(button.dataset.days) * DAY;
    button.setAttribute("aria-pressed", String(whole ? !days : Math.abs(page.range[1] - page.range[0] - days) < bar && page.range[1] === end));
  });
  byId("shown").textContent = whole ? "" : `${date(page.range[0])} to ${date(page.range[1])}`;
  draw();
}

function draw() {
  if (!page.ready) return;
  drawEquity();
  drawPrice();
  drawExposure();
}

// A trade from the table: its symbol, and its time with some room on either side.
function showTrade(symbol, entry, exit) {
  const { a, bar_ms: bar } = page.facts;
  page.symbol = symbol;
  byId("symbol").value = String(symbol);
  const until = Number.isFinite(exit) ? exit : a.t[a.t.length - 1];
  const room = Math.max((until - entry) * 0.6, 24 * bar);
  show(entry - room, until + room);
  byId("price").closest("section").scrollIntoView({ behavior: "smooth", block: "start" });
}

function listen() {
  document.querySelectorAll(".ranges button").forEach((button) => button.addEventListener("click", () => {
    const end = page.facts.a.t[page.facts.a.t.length - 1], days = Number(button.dataset.days);
    if (days) show(end - days * DAY, end); else show();
  }));
  redrawn("equity", draw);
  byId("symbol").addEventListener("change", (event) => { page.symbol = Number(event.target.value); drawPrice(); });
}

async function start() {
  page.facts = unpack(await inflate("facts"));
  startTable();
  await loadPlotly();
  page.ready = true;
  listen();
  document.querySelector(".ranges").hidden = false;
  const asked = new URLSearchParams(location.search); // ?days=30&symbol=1 opens the page there
  const days = Number(asked.get("days")), symbol = Number(asked.get("symbol"));
  if (Number.isInteger(symbol) && symbol > 0 && symbol < page.facts.symbols.length) byId("symbol").value = String((page.symbol = symbol));
  const end = page.facts.a.t[page.facts.a.t.length - 1];
  if (days > 0) show(end - days * DAY, end); else show();
}

whenLoaded(start);
