"use strict";
// Draws the curves of training and validation, with marks at the best epoch and at the start of the second stage.
(() => {
  const byId = (id) => document.getElementById(id);
  const { history, best } = JSON.parse(byId("page-data").textContent);
  const FONT = { family: getComputedStyle(document.documentElement).fontFamily, size: 13 };
  const CLEAR = "rgba(0,0,0,0)";
  const epochs = history.map((row) => row.epoch);
  const firstUpper = history.find((row) => row.stage === "upper")?.epoch;

  function curve(key, name, color) {
    return { x: epochs, y: history.map((row) => row[key]), name, type: "scatter", mode: "lines+markers",
      line: { color, width: 2.5 }, hovertemplate: `epoch %{x}, ${name}: %{y:.3~f}<extra></extra>` };
  }

  function verticalLine(x, color) {
    return { type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color, width: 1.5, dash: "dot" } };
  }

  function note(x, text, more) {
    return { x, yref: "paper", y: 1, yanchor: "bottom", showarrow: false, text, ...more };
  }

  function draw(id, key, title, more) {
    const shapes = [verticalLine(best, "#d24545")];
    const annotations = [note(best, "best", { xanchor: best === epochs.at(-1) ? "right" : "left" })];
    if (firstUpper > 1) {
      shapes.push(verticalLine(firstUpper - 0.5, "#9aa59d"));
      annotations.push(note(firstUpper - 0.5, "upper layers trained too", { xanchor: "left", y: 1.07 }));
    }
    Plotly.newPlot(byId(id), [curve(key, "training", "#4c9a6a"), curve(`val_${key}`, "validation", "#d9731f")], {
      font: FONT, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, showlegend: false, hovermode: "closest",
      dragmode: false, margin: { l: 56, r: 12, t: 44, b: 44 }, shapes, annotations,
      xaxis: { title: { text: "epoch" }, automargin: true, zeroline: false, tickformat: "d",
        range: [0.5, epochs.at(-1) + 0.5] },
      yaxis: { title: { text: title }, automargin: true, zeroline: false, ...more },
    }, { responsive: true, displayModeBar: false });
  }

  draw("accuracy-plot", "accuracy", "accuracy", { tickformat: ".0%", range: [0, 1.04] });
  draw("loss-plot", "loss", "loss", { rangemode: "tozero" });
})();
