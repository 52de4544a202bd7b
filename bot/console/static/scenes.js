// The chart of one QR channel by day. The table below says the same, so without this script nothing is lost.
const place = document.querySelector("[data-chart]");

function draw() {
  const figures = JSON.parse(place.dataset.chart);
  const [follows, rescans, left] = JSON.parse(place.dataset.words);
  place.hidden = false;
  const style = getComputedStyle(document.body);
  const ink = style.color;
  window.echarts.getInstanceByDom(place)?.dispose();
  const chart = window.echarts.init(place, null, { renderer: "canvas" });
  chart.setOption({
    animation: false,
    color: ["#2f9e44", "#4299e1", "#d63939"],
    textStyle: { color: ink, fontFamily: style.fontFamily },
    tooltip: { trigger: "axis", renderMode: "richText" },
    legend: { top: 0, data: [follows, rescans, left], textStyle: { color: ink } },
    grid: { left: 44, right: 12, top: 36, bottom: 28 },
    xAxis: { type: "category", data: figures.days, axisLabel: { color: ink } },
    yAxis: {
      type: "value",
      minInterval: 1,
      axisLabel: { color: ink },
      splitLine: { lineStyle: { color: "rgba(128, 128, 128, 0.25)" } }, // ECharts reads no CSS variables
    },
    series: [
      { name: follows, type: "bar", stack: "scans", data: figures.follows },
      { name: rescans, type: "bar", stack: "scans", data: figures.rescans },
      { name: left, type: "line", symbol: "none", data: figures.left },
    ],
  });
}

if (place && window.echarts) {
  draw();
  new ResizeObserver(() => window.echarts.getInstanceByDom(place).resize()).observe(place);
  // light and dark have other inks
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
}
