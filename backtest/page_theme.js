"use strict";
// Before the first paint: ?theme=light|dark, else what was chosen here before, else what the system asks for.
(() => {
  const known = (name) => (name === "light" || name === "dark" ? name : null);
  let kept = null;
  try { kept = localStorage.getItem("tidegate-theme"); } catch { /* a file may not be allowed to remember */ }
  const asked = new URLSearchParams(location.search).get("theme");
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = known(asked) || known(kept) || system;
})();
