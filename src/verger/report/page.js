"use strict";
// Draws the map and the scree plot. Labels and paths are untrusted text: they are only set as textContent.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("page-data").textContent);
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const FONT = { family: getComputedStyle(document.documentElement).fontFamily, size: 13 };
  const CLEAR = "rgba(0,0,0,0)";
  // 12 colours (contrast 3:1 on white and on black) times 10 symbols: 120 labels have different marks.
  const COLOURS = ["#2c9a55", "#d9731f", "#3a7fc8", "#d24545", "#8c66cc", "#ad8416",
    "#cf5fb0", "#1a98a8", "#9a6a4f", "#808c1c", "#6b7a90", "#e0607c"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross",
    "triangle-down", "star", "hexagon", "x", "pentagon"];
  const colourOf = (label) => COLOURS[label % COLOURS.length];
  const symbolOf = (label) => SYMBOLS[Math.floor(label / COLOURS.length) % SYMBOLS.length];
  // Plotly's default toolbar also has a button that uploads the chart with its data. That button is left out.
  const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    doubleClick: "reset" };
  const BUTTONS = [isTouch ? ["pan2d"] : ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]];

  function axis(title, more) {
    return { title: { text: title, standoff: 8 }, automargin: true, zeroline: false, ...more };
  }

  function layout(more) {
    return { font: FONT, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, showlegend: false,
      modebar: { bgcolor: CLEAR }, margin: { l: 50, r: 12, t: 34, b: 44 }, ...more };
  }

  // ---- map --------------------------------------------------------------------------------------

  function drawMap(map) {
    const plot = byId("map-plot");
    const counts = map.labels.map(() => 0);
    map.label.forEach((label) => { counts[label] += 1; });
    // With one component, the height has no meaning and only separates the points.
    const values = map.values.length > 1 ? map.values
      : [map.values[0], map.label.map((_, i) => (i * 0.618034) % 1)];
    const state = { x: 0, y: 1, hidden: new Set(), highlighted: null };

    function range(column) {
      const finite = column.filter((value) => value !== null);
      const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
      const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
      const pad = (high - low) * 0.04 || 1;
      return [low - pad, high + pad];
    }

    function draw() {
      const shown = map.label.map((_, i) => i).filter((i) => !state.hidden.has(map.label[i]));
      const labels = shown.map((i) => map.label[i]);
      const isDense = labels.length > 2000;
      const trace = {
        type: "scatter", mode: "markers", hoverinfo: "none", customdata: shown,
        x: shown.map((i) => values[state.x][i]), y: shown.map((i) => values[state.y][i]),
        marker: {
          size: isDense ? (plot.clientWidth < 500 ? 4 : 6) : 8, line: { width: 0 },
          color: labels.map(colourOf), symbol: labels.map(symbolOf),
          opacity: state.highlighted ? labels.map((label) => (state.highlighted.has(label) ? 1 : 0.06)) : isDense ? 0.75 : 0.85,
        },
      };
      const isStrip = map.values.length === 1;
      Plotly.react(plot, [trace], layout({
        hovermode: "closest", hoverdistance: 12, dragmode: isTouch ? false : "zoom",
        uirevision: `${state.x} ${state.y}`,
        xaxis: axis(map.axes[state.x], { range: range(values[state.x]) }),
        yaxis: axis(isStrip ? "" : map.axes[state.y], { range: range(values[state.y]), visible: !isStrip }),
      }), { ...CONFIG, modeBarButtons: BUTTONS, toImageButtonOptions: { filename: "verger-map", scale: 2 } });
    }

    draw();
    addAxisMenus(map, state, draw);
    if (map.labels.length > 1) drawLegend(map, counts, state, draw);
    else document.querySelector(".map").classList.add("alone");
    showCards(plot, map);
    window.addEventListener("resize", () => { byId("card").hidden = true; });
    if (map.labels.length <= 1) Plotly.Plots.resize(plot);
  }

  function addAxisMenus(map, state, draw) {
    if (map.axes.length <= 2) return;
    byId("axes").hidden = false;
    for (const name of ["x", "y"]) {
      const select = byId(`axis-${name}`);
      map.axes.forEach((title, i) => select.add(new Option(title, i, false, i === state[name])));
      select.addEventListener("change", () => { state[name] = Number(select.value); draw(); });
    }
  }

  function drawLegend(map, counts, state, draw) {
    const search = byId("legend-search");
    const items = map.labels.map((name, label) => legendItem(name ?? "unlabelled", label, counts[label]));
    byId("legend").hidden = false;
    byId("legend-list").append(...items.map((item) => item.row));

    function refresh() {
      items.forEach((item, label) => {
        item.box.checked = !state.hidden.has(label);
        item.row.classList.toggle("off", state.hidden.has(label));
      });
      draw();
    }
    const matching = () => items.flatMap((item, label) => (item.row.hidden ? [] : [label]));
    let waiting = 0;
    function highlight(labels) {
      clearTimeout(waiting);
      waiting = setTimeout(() => { state.highlighted = labels; draw(); }, 80);
    }
    const highlightMatches = () => highlight(search.value.trim() ? new Set(matching()) : null);

    items.forEach((item, label) => {
      item.box.addEventListener("change", () => {
        if (item.box.checked) state.hidden.delete(label); else state.hidden.add(label);
        refresh();
      });
      item.only.addEventListener("click", () => {
        state.hidden = new Set(items.keys());
        state.hidden.delete(label);
        refresh();
      });
      if (isTouch) return;
      item.row.addEventListener("mouseenter", () => highlight(new Set([label])));
      item.row.addEventListener("mouseleave", highlightMatches);
    });
    byId("legend-all").addEventListener("click", () => {
      matching().forEach((label) => state.hidden.delete(label));
      refresh();
    });
    byId("legend-none").addEventListener("click", () => {
      matching().forEach((label) => state.hidden.add(label));
      refresh();
    });
    search.addEventListener("input", () => {
      const query = search.value.trim().toLowerCase();
      items.forEach((item) => { item.row.hidden = !item.name.toLowerCase().includes(query); });
      byId("legend-empty").hidden = matching().length > 0;
      highlightMatches();
    });
  }

  function element(tag, className, text) {
    const node = document.createElement(tag);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function legendItem(name, label, count) {
    const row = element("li", "");
    const line = element("label", "");
    const box = element("input", "");
    const swatch = element("span", `swatch ${symbolOf(label)}`);
    const text = element("bdi", "text", name);
    const only = element("button", "", "only");
    box.type = "checkbox";
    box.checked = true;
    swatch.style.background = colourOf(label);
    line.title = name;
    only.type = "button";
    only.setAttribute("aria-label", `Show only ${name}`);
    line.append(box, swatch, text, element("span", "n", count.toLocaleString("en")));
    row.append(line, only);
    return { row, box, only, name };
  }

  function showCards(plot, map) {
    const card = byId("card");
    const image = byId("card-image");

    function show(event) {
      const i = event.points[0].customdata;
      const path = map.name[i];
      image.hidden = !map.thumbnail[i];
      if (map.thumbnail[i]) image.src = map.thumbnail[i];
      byId("card-label").textContent = map.labels[map.label[i]] ?? "unlabelled";
      byId("card").style.borderTopColor = colourOf(map.label[i]);
      byId("card-name").textContent = path.slice(path.lastIndexOf("/") + 1);
      card.hidden = false;
      moveTo(event.event);
    }

    function moveTo(pointer) {
      const at = pointer.touches?.[0] ?? pointer.changedTouches?.[0] ?? pointer;
      const gap = 16;
      const box = card.getBoundingClientRect();
      const fitsRight = at.clientX + gap + box.width < document.documentElement.clientWidth;
      const left = fitsRight ? at.clientX + gap : at.clientX - gap - box.width;
      const top = Math.min(at.clientY + gap, document.documentElement.clientHeight - box.height - 8);
      card.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
    }

    const hide = () => { card.hidden = true; };
    plot.on("plotly_hover", show);
    plot.on("plotly_click", show);
    plot.on("plotly_unhover", hide);
    window.addEventListener("scroll", hide, { passive: true });
  }

  // ---- scree plot ---------------------------------------------------------------------------------

  function drawScree(curve) {
    const own = { x: curve.component, y: curve.percent, name: "one component", marker: { color: "#4c9a6a" },
      hovertemplate: "component %{x}: %{y:.3~g}%<extra></extra>" };
    Object.assign(own, curve.log
      ? { type: "scatter", mode: "lines", fill: "tozeroy", line: { color: "#4c9a6a" } } : { type: "bar" });
    const sum = { x: curve.component, y: curve.cumulative, name: "cumulative", type: "scatter",
      mode: curve.component.length > 60 ? "lines" : "lines+markers", line: { color: "#d9731f", width: 2.5 },
      hovertemplate: "the first %{x}: %{y:.3~g}%<extra></extra>" };
    const shapes = [];
    const notes = [];
    if (curve.k !== null) {
      // At the ends of the axis a centred text would be outside the chart.
      const at = curve.log ? Math.log10(curve.k) : curve.k;
      const along = curve.k / curve.component.at(-1);
      const side = { 1: "left", [curve.component.at(-1)]: "right" }[curve.k] ?? (along > 0.9 ? "right" : "center");
      shapes.push({ type: "line", x0: curve.k, x1: curve.k, yref: "paper", y0: 0, y1: 1,
        line: { color: "#d24545", width: 1.5, dash: "dot" } });
      notes.push({ x: at, xanchor: side, yref: "paper", y: 1, yanchor: "bottom", showarrow: false,
        text: `k = ${curve.k} keeps ${curve.kept}%` });
    }
    Plotly.newPlot("scree-plot", [own, sum], layout({
      hovermode: "closest", dragmode: false, bargap: 0.25, shapes, annotations: notes,
      xaxis: axis("component", curve.log ? { type: "log", dtick: 1 } : { tickformat: "d" }),
      yaxis: axis("explained variance", { ticksuffix: "%", range: [0, 104] }),
    }), { ...CONFIG, displayModeBar: false });
  }

  // The charts are drawn for the screen, which is wider than paper.
  function fitPaper() {
    const plots = document.querySelectorAll(".js-plotly-plot");
    window.addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.relayout(plot, { width: 660 })));
    window.addEventListener("afterprint", () => plots.forEach((plot) => Plotly.relayout(plot, { autosize: true })));
  }

  if (data.scatter) drawMap(data.scatter);
  if (data.scree) drawScree(data.scree);
  if (data.scatter || data.scree) fitPaper();
})();
