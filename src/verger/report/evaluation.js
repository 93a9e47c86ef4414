"use strict";
// Draws the charts of an evaluation. Labels are untrusted text: Plotly would interpret HTML tags in them.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("page-data").textContent);
  const FONT = { family: getComputedStyle(document.documentElement).fontFamily, size: 13 };
  const CLEAR = "rgba(0,0,0,0)";
  const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d"], ["resetScale2d"], ["toImage"]], doubleClick: "reset" };
  const safe = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const percent = { tickformat: ".0%", zeroline: false, automargin: true };

  function layout(more) {
    return { font: FONT, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, showlegend: false,
      modebar: { bgcolor: CLEAR }, margin: { l: 50, r: 12, t: 34, b: 44 }, ...more };
  }

  function drawConfusion({ labels, shares }) {
    const names = labels.map(safe);
    const plot = byId("confusion");
    plot.style.height = `${Math.max(360, 180 + 14 * labels.length)}px`;
    const names_axis = { tickvals: labels.map((_, i) => i), ticktext: names, automargin: true, zeroline: false,
      showgrid: false, tickfont: { size: labels.length > 40 ? 9 : 12 } };
    const trace = { type: "heatmap", z: shares, zmin: 0, zmax: 1, xgap: 1, ygap: 1, hoverongaps: false,
      colorscale: [[0, "#dff0e5"], [0.1, "#a8d5b8"], [0.5, "#4c9a6a"], [1, "#17502f"]],
      colorbar: { tickformat: ".0%", thickness: 10, outlinewidth: 0 },
      text: shares.map((row, i) => row.map((share, j) => share === null ? ""
        : `${(100 * share).toFixed(1)} % of ${names[i]}<br>predicted as ${names[j]}`)),
      hovertemplate: "%{text}<extra></extra>" };
    Plotly.newPlot(plot, [trace], layout({
      xaxis: { ...names_axis, side: "top", tickangle: -60 },
      yaxis: { ...names_axis, autorange: "reversed" },
    }), CONFIG);
  }

  function drawReliability(plot, rows) {
    const most = Math.max(...rows.map((row) => row.n_photos));
    Plotly.newPlot(plot, [
      { x: [0, 1], y: [0, 1], mode: "lines", line: { dash: "dot", color: "#9aa59d" }, hoverinfo: "skip" },
      { x: rows.map((row) => row.sureness), y: rows.map((row) => row.accuracy), mode: "markers+lines",
        line: { color: "#4c9a6a", width: 1 },
        marker: { color: "#4c9a6a", size: rows.map((row) => 6 + 22 * Math.sqrt(row.n_photos / most)) },
        text: rows.map((row) => row.n_photos.toLocaleString("en")),
        hovertemplate: "confidence %{x:.0%}, accuracy %{y:.1%}<br>%{text} photos<extra></extra>" },
    ], layout({
      xaxis: { ...percent, title: { text: "confidence" }, range: [0, 1.03] },
      yaxis: { ...percent, title: { text: "accuracy" }, range: [0, 1.06] },
    }), CONFIG);
  }

  function drawCoverage(plot, curve, [covered, accuracy]) {
    const lowest = Math.min(...curve.map(([, accuracy]) => accuracy));
    const mark = accuracy === null ? [] : [{ x: [covered], y: [accuracy], mode: "markers",
      marker: { size: 13, color: "#d9731f" },
      hovertemplate: "this classifier: coverage %{x:.1%}, accuracy %{y:.1%}<extra></extra>" }];
    Plotly.newPlot(plot, [
      { x: curve.map(([coverage]) => coverage), y: curve.map(([, accuracy]) => accuracy), mode: "lines",
        line: { color: "#4c9a6a", width: 3 }, hovertemplate: "coverage %{x:.0%}, accuracy %{y:.1%}<extra></extra>" },
      ...mark,
    ], layout({
      xaxis: { ...percent, title: { text: "coverage" }, range: [0, 1.02] },
      yaxis: { ...percent, title: { text: "accuracy" }, range: [Math.max(0, lowest - 0.05), 1.01] },
    }), CONFIG);
  }

  data.levels.forEach(({ reliability, coverage, chosen }, i) => {
    drawReliability(byId(`reliability-${i}`), reliability);
    if (coverage.length) drawCoverage(byId(`coverage-${i}`), coverage, chosen);
  });
  if (data.confusion.labels.length) drawConfusion(data.confusion);
})();
