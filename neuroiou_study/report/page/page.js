"use strict";
// Draws every chart in the colours of the page, and again when those change or the page goes to a printer.
const night = matchMedia("(prefers-color-scheme: dark)");

function look(isDark) {
  const ink = isDark ? "#e8eaed" : "#1c1f23", line = isDark ? "#3a4149" : "#d5d9de";
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: line },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12 },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, labelLimit: 240 },
    rule: { color: ink },
  };
}

async function draw(isDark) {
  const options = { actions: false, renderer: "svg", config: look(isDark) };
  for (const place of document.querySelectorAll("[data-chart]")) {
    const source = document.getElementById("data-" + place.dataset.chart);
    await vegaEmbed(place, JSON.parse(source.textContent), options);
  }
  document.body.dataset.drawn = isDark ? "dark" : "light";
}

night.addEventListener("change", () => draw(night.matches));
addEventListener("beforeprint", () => draw(false));
addEventListener("afterprint", () => draw(night.matches));
draw(night.matches);
