"use strict";
// Draws the charts of a page, and keeps the page current: the server renders, this fetches what it renders now.

const REFRESH_MS = 15000;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function draw() {
  if (!globalThis.Plotly) return; // did not load: the tables are there
  for (const place of document.querySelectorAll(".chart")) {
    const data = JSON.parse(place.previousElementSibling.textContent);
    const middle = data.at.map((at) => new Date(at + data.step_ms / 2).toISOString());
    const bars = ["negative", "neutral", "positive"].map((label) => ({
      type: "bar", name: label, x: middle, y: data[label], width: data.step_ms * 0.9,
      marker: {color: colour(label)}, hovertemplate: "%{y} " + label + "<extra></extra>",
    }));
    const line = {
      type: "scatter", mode: "lines+markers", name: "mean score", x: middle, y: data.score, yaxis: "y2",
      line: {color: colour("ink"), width: 1.2}, marker: {size: 3}, connectgaps: false,
      hovertemplate: "score %{y:+.2f}<extra></extra>",
    };
    const bands = data.alerts.map((alert) => ({
      type: "rect", yref: "paper", y0: 0, y1: 1, x0: new Date(alert.from).toISOString(),
      x1: new Date(alert.to).toISOString(), fillcolor: colour("negative"), opacity: 0.13, line: {width: 0}, layer: "below",
    }));
    const grid = {gridcolor: colour("line"), zerolinecolor: colour("line")};
    const last = data.at[data.at.length - 1] + data.step_ms;
    const wide = place.clientWidth > 500;
    Plotly.react(place, [...bars, line], {
      // On a phone the legend would lie over the bars: the colours are those of the tables.
      barmode: "stack", height: 300, margin: {l: 50, r: 60, t: 10, b: 35}, hovermode: "x unified", showlegend: wide,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: colour("soft"), size: 12},
      hoverlabel: {bgcolor: colour("panel"), font: {color: colour("ink")}},
      legend: {orientation: "h", y: 1.12, x: 0}, shapes: bands,
      xaxis: {...grid, type: "date", nticks: wide ? 0 : 4, tickangle: 0, range: [new Date(data.at[0]).toISOString(), new Date(last).toISOString()]},
      yaxis: {...grid, title: {text: "stories"}, rangemode: "tozero"},
      yaxis2: {overlaying: "y", side: "right", range: [-1.05, 1.05], tickvals: [-1, -0.5, 0, 0.5, 1],
        showgrid: false, zeroline: false, title: {text: "score", standoff: 12}},
    }, {displayModeBar: false, responsive: true});
    place.removeAllListeners("plotly_click");
    place.on("plotly_click", (event) => {
      if (data.step_ms <= 60000) return;
      const from = data.at[event.points[0].pointIndex];
      const here = new URL(location.href);
      here.searchParams.set("since", new Date(from).toISOString());
      here.searchParams.set("until", new Date(from + data.step_ms).toISOString());
      location.assign(here);
    });
  }
}

async function refresh() {
  // Not under somebody's hands: while they type, mark text, or read a value off the chart.
  // (A finger leaves "hover" behind.)
  const hovered = matchMedia("(hover: hover)").matches && document.querySelector(".chart:hover");
  const busy = document.querySelector("input:focus") || hovered || !getSelection().isCollapsed;
  if (document.hidden || busy) return;
  let text;
  try {
    const answer = await fetch(location.href, {signal: AbortSignal.timeout(10000)});
    if (!answer.ok) throw new Error(String(answer.status));
    text = await answer.text();
  } catch {
    document.getElementById("lost").hidden = false;
    return;
  }
  document.getElementById("lost").hidden = true;
  const page = new DOMParser().parseFromString(text, "text/html");
  const opened = document.querySelector("main details[open]") !== null;
  // A chart that is only taken off the page would go on listening to the window.
  for (const chart of document.querySelectorAll(".chart")) globalThis.Plotly?.purge(chart);
  document.title = page.title;
  const named = (element) => element.getAttribute("href") ?? element.textContent;
  const held = document.activeElement?.closest("main a, main summary");
  const scrolled = [...document.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
  document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  document.querySelectorAll(".scroll").forEach((table, number) => { table.scrollLeft = scrolled[number] ?? 0; });
  const places = held ? [...document.querySelectorAll("main a, main summary")] : [];
  places.find((element) => named(element) === named(held))?.focus({preventScroll: true});
  for (const details of document.querySelectorAll("main details")) details.open = opened;
  draw();
}

if (document.body.dataset.live) {
  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
