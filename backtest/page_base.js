"use strict";
// What every page's charts share: the inflating of what travels inside, colours, axes, drawing. Nothing is fetched.
const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const coarse = matchMedia("(pointer: coarse)").matches || innerWidth < 560;

async function inflate(id) {
  const holder = byId(id);
  const bytes = Uint8Array.from(atob(holder.textContent.trim()), (char) => char.charCodeAt(0));
  holder.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpack(bytes) {
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array };
  facts.a = {};
  for (const [name, [offset, count, kind]] of Object.entries(facts.arrays)) {
    facts.a[name] = new kinds[kind](bytes.buffer, 4 + length + offset, count);
  }
  return facts;
}

function axis(domain, more) {
  return {
    domain, fixedrange: true, gridcolor: colour("grid"), zeroline: false, linecolor: colour("line"), nticks: 6,
    tickfont: { size: 11, color: colour("muted") }, automargin: false, ...more,
  };
}

// What every chart's layout begins with.
function frame(more) {
  return {
    margin: { l: 52, r: 10, t: 14, b: 38 }, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("ink") }, dragmode: coarse ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("ink") },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink"), size: 12 } },
    ...more,
  };
}

// Draws into a box as wide as it is; true when it is the first time.
function put(id, traces, shape) {
  const box = byId(id);
  shape.width = box.clientWidth;
  const fresh = !box.classList.contains("js-plotly-plot");
  const options = {
    displaylogo: false, doubleClick: false, displayModeBar: coarse ? false : "hover",
    modeBarButtons: [["toImage"]], // the default ones offer to send the chart to somebody's cloud
    showSendToCloud: false, plotlyServerURL: "",
  };
  Plotly.react(box, traces, shape, options);
  return fresh;
}

// Draws anew when the theme or the width of a box changes.
function redrawn(id, draw) {
  byId("theme").addEventListener("click", draw);
  let width = byId(id).clientWidth, waiting = 0;
  new ResizeObserver(() => {
    if (byId(id).clientWidth === width) return;
    width = byId(id).clientWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  }).observe(byId(id));
}

byId("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("tidegate-theme", next); } catch { /* not remembered then */ }
});

async function loadPlotly() {
  const code = document.createElement("script");
  code.nonce = document.querySelector("script[nonce]").nonce;
  code.textContent = new TextDecoder().decode(await inflate("plotly"));
  document.head.append(code);
  if (typeof Plotly === "undefined") throw new Error("the drawing code did not load");
}

function whenLoaded(start) {
  const checked = async () => {
    if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for them: they need Chrome 80, Firefox 113, Safari 16.4 or newer");
    await start();
  };
  addEventListener("DOMContentLoaded", () => checked().catch((error) => {
    byId("no-charts").textContent = `No charts: ${error.message}. All figures below are complete.`;
    byId("no-charts").hidden = false;
  }));
}
