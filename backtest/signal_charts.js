"use strict";
// Draws a signal report: for each signal a small chart a symbol of its correlation by horizon, and how it adds up.
const page = { facts: null };
const PALETTE = ["run", "hold", "gain", "loss", "ink", "muted"];
const DASHES = ["solid", "dash", "dot", "dashdot"];

// Between two curves over the horizons; what isn't known stays open.
function band(x, low, high, style) {
  const known = x.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
  return {
    type: "scatter", mode: "lines", x: [...known.map((i) => x[i]), ...known.reverse().map((i) => x[i])], fill: "toself",
    y: [...known.slice().reverse().map((i) => low[i]), ...known.map((i) => high[i])], hoverinfo: "skip", line: { width: 0 }, ...style,
  };
}

function drawHorizons(s) {
  const { horizons, symbols } = page.facts.signals[s];
  const box = byId(`ic${s}`), fitting = Math.max(Math.min(Math.floor(box.clientWidth / 220), symbols.length, 6), 1);
  const down = Math.ceil(symbols.length / fitting), across = Math.ceil(symbols.length / down), tall = 190, gap = 46;
  const high = down * tall + (down - 1) * gap;
  box.style.height = `${high + 52}px`;
  const places = horizons.map((_, i) => i);
  const all = symbols.flatMap((one) => [...one.low, ...one.high, ...one.sham_low, ...one.sham_high, ...one.price, ...one.step]).filter((value) => value !== null);
  const most = Math.max(...all.map(Math.abs), 0.05) * 1.06;
  const traces = [], shape = frame({ hovermode: "x unified", annotations: [] });
  symbols.forEach((one, k) => {
    const column = k % across, row = Math.floor(k / across), n = k ? k + 1 : "";
    const left = column / across + (column ? 0.02 : 0), right = (column + 1) / across - 0.015;
    const top = 1 - (row * (tall + gap)) / high, bottom = top - tall / high;
    const at = { xaxis: `x${n}`, yaxis: `y${n}` };
    const wider = across === 1 ? {} : { showticklabels: column === 0 };
    shape[`xaxis${n}`] = { ...axis([left, right], { tickvals: places, ticktext: horizons, range: [-0.3, horizons.length - 0.7], anchor: `y${n}` }) };
    shape[`yaxis${n}`] = { ...axis([Math.max(bottom, 0), top], { range: [-most, most], zeroline: true, zerolinecolor: colour("muted"), tickformat: "+.2f", nticks: 5, anchor: `x${n}`, ...wider }) };
    traces.push(band(places, one.sham_low, one.sham_high, { ...at, fillcolor: colour("shade") }));
    traces.push(band(places, one.low, one.high, { ...at, fillcolor: colour("run-fill") }));
    const lined = (name, y, line, mode) => ({ type: "scatter", mode, name, x: places, y, line, marker: { size: 6, color: line.color }, hovertemplate: "%{y:+.3f}", ...at });
    traces.push(lined("price alone", one.price, { color: colour("hold"), width: 1.1, dash: "dash" }, "lines"));
    traces.push(lined("since the one before", one.step, { color: colour("muted"), width: 1.1, dash: "dot" }, "lines"));
    traces.push(lined("IC", one.ic, { color: colour("run"), width: 2 }, "lines+markers"));
    shape.annotations.push({
      text: escaped(one.evidence ? `${one.name} ✓` : one.name), xref: "paper", yref: "paper", x: left, y: top, xanchor: "left", yanchor: "bottom",
      showarrow: false, font: { size: 12, color: colour(one.evidence ? "gain" : "ink") },
    });
  });
  shape.margin = { ...shape.margin, t: 22 };
  put(`ic${s}`, traces, shape);
}

// A line a symbol, those with evidence thicker.
function drawSums(s) {
  const { symbols } = page.facts.signals[s];
  const { a } = page.facts;
  const there = symbols.map((one, k) => ({ ...one, k })).filter((one) => a[`total${s}_${one.k}`]);
  const traces = there.map((one) => ({
    type: "scatter", mode: "lines", name: escaped(one.name), x: a[`t${s}`], y: a[`total${s}_${one.k}`], hovertemplate: "%{y:+.3f}",
    line: { color: colour(PALETTE[one.k % PALETTE.length]), width: one.evidence ? 2.4 : 1.2, dash: DASHES[Math.floor(one.k / PALETTE.length) % DASHES.length] },
  }));
  put(`sum${s}`, traces, frame({
    hovermode: "x unified", showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12, color: colour("ink") } },
    xaxis: { ...axis([0, 1], { type: "date", hoverformat: "%Y-%m-%d", fixedrange: true }) },
    yaxis: axis([0, 1], { tickformat: "+.2f", zeroline: true, zerolinecolor: colour("muted") }), margin: { l: 52, r: 10, t: 34, b: 38 },
  }));
}

function draw() {
  page.facts.signals.forEach((_, s) => { drawHorizons(s); drawSums(s); });
}

whenLoaded(async () => {
  page.facts = unpack(await inflate("facts"));
  await loadPlotly();
  redrawn("ic0", draw);
  draw();
});
