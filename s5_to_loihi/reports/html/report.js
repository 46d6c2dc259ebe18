"use strict";
// Draws the charts of the page, and again at the width of the paper when it is printed.
const plots = [...document.querySelectorAll("[data-figure]")];
const PAPER_WIDTH = 660;
for (const plot of plots) {
  const figure = JSON.parse(document.getElementById(`figure-${plot.dataset.figure}`).textContent);
  Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displayModeBar: false });
}
const folded = [...document.querySelectorAll("details")];
let opened = [];
addEventListener("beforeprint", () => {
  opened = folded.filter((part) => !part.open);
  for (const part of opened) part.open = true;
  for (const plot of plots) Plotly.relayout(plot, { width: PAPER_WIDTH });
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
  for (const plot of plots) Plotly.relayout(plot, { width: null, autosize: true });
});
