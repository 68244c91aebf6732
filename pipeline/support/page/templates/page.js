"use strict";
// The explorers' readouts. Which curves are coloured is decided by the check boxes and the style sheet alone.
for (const figure of document.querySelectorAll(".explorer")) {
  const svg = figure.querySelector(".curves");
  const front = figure.querySelector(".front");
  const readout = figure.querySelector(".readout");
  const cursor = figure.querySelector(".cursor");
  const configurations = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const [left, right, top, bottom] = svg.dataset.box.split(" ").map(Number);
  const { epochs, low, high } = Object.fromEntries(Object.entries(svg.dataset).map(([key, text]) => [key, Number(text)]));

  const x = epoch => left + (right - left) * epoch / epochs;
  const y = perplexity => bottom + (top - bottom) * Math.log(perplexity / low) / Math.log(high / low);
  const mean = values => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
  const number = value => value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(2);
  const bestEpoch = of => Math.round(of.best.reduce((sum, epoch) => sum + epoch, 0) / of.best.length);
  const lastEpoch = of => Math.min(...of.val_pooled.map(curve => curve.length));
  const at = (of, curve, epoch) => of[curve].map(values => values[epoch - 1]);

  function sentences(of, epoch) {
    const split = (name, curve) => {
      const seeds = at(of, `${curve}_pooled`, epoch);
      const each = seeds.length > 1 ? ` (seeds ${of.seeds.join(", ")}: ${seeds.map(number).join(", ")})` : ` (seed ${of.seeds[0]})`;
      const other = of[curve] ? `, by the book's average ${number(mean(at(of, curve, epoch)))}` : "";
      return `${name} ${number(mean(seeds))}${each}${other}`;
    };
    return [
      `${of.name}, ${of.cost}; epoch ${epoch} of ${of.planned}`,
      split("validation", "val"),
      split("training", "train"),
      ...of.remarks,
    ];
  }

  function show(index, epoch) {
    const of = configurations[index];
    const lines = sentences(of, epoch).map(text => Object.assign(document.createElement("p"), { textContent: text }));
    readout.replaceChildren(...lines);
    figure.querySelectorAll(".near").forEach(element => element.classList.remove("near"));
    figure.querySelectorAll(`.context.n${index}, .point.n${index}`).forEach(element => element.classList.add("near"));
    cursor.setAttribute("visibility", "visible");
    cursor.firstChild.setAttribute("transform", `translate(${x(epoch)})`);
    ["train_pooled", "val_pooled"].forEach((curve, place) => {
      const dot = cursor.children[place + 1];
      dot.setAttribute("cx", x(epoch));
      dot.setAttribute("cy", y(mean(at(of, curve, epoch))));
    });
  }

  const boxes = [...figure.querySelectorAll("input")]; // none if there is a single curve
  const isShown = index => boxes[index]?.checked ?? true;
  const colour = index => { if (boxes[index]) { boxes[index].checked = true; placeLabels(); } };

  function pointOf(chart, event) {
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
  }

  function nearestCurve(event) {
    const point = pointOf(svg, event);
    const wanted = Math.round((point.x - left) / (right - left) * epochs);
    const distances = configurations.map((of, index) => {
      const epoch = Math.max(1, Math.min(lastEpoch(of), wanted));
      const curves = isShown(index) ? ["val_pooled", "train_pooled"] : ["val_pooled"];
      const away = curves.map(curve => Math.hypot(y(mean(at(of, curve, epoch))) - point.y, x(epoch) - point.x));
      return { index, epoch, away: Math.min(...away) };
    });
    return distances.reduce((near, other) => other.away < near.away ? other : near);
  }

  function nearestPoint(event) {
    const place = pointOf(front, event);
    const distances = [...front.querySelectorAll(".point")].map(({ dataset }) => ({
      index: Number(dataset.number),
      epoch: bestEpoch(configurations[dataset.number]),
      away: Math.hypot(dataset.x - place.x, dataset.y - place.y),
    }));
    return distances.reduce((near, other) => other.away < near.away ? other : near);
  }

  for (const [chart, nearest] of [[svg, nearestCurve], ...(front ? [[front, nearestPoint]] : [])]) {
    chart.addEventListener("pointermove", event => { const near = nearest(event); show(near.index, near.epoch); });
    chart.addEventListener("click", event => { const near = nearest(event); colour(near.index); show(near.index, near.epoch); });
  }

  // Labels of curves stand so far apart that they do not overlap.
  function placeLabels() {
    const curveOf = label => label.closest(".detail");
    const labels = [...svg.querySelectorAll(".end")].filter(label => !curveOf(label) || isShown(curveOf(label).dataset.number));
    labels.sort((one, other) => one.dataset.y - other.dataset.y);
    const gap = Math.min(12, (bottom - top) / labels.length);
    const heights = labels.map(label => Number(label.dataset.y));
    heights.forEach((_, place) => { heights[place] = Math.max(heights[place], top + gap * place, place ? heights[place - 1] + gap : top); });
    for (let place = heights.length - 1; place >= 0; place--) heights[place] = Math.min(heights[place], place + 1 < heights.length ? heights[place + 1] - gap : bottom);
    labels.forEach((label, place) => {
      label.querySelector("path").setAttribute("d", `M${label.dataset.x},${label.dataset.y}L${right + 4},${heights[place]}`);
      label.querySelector("text").setAttribute("y", heights[place] + 4);
    });
  }

  for (const box of boxes) {
    box.addEventListener("change", placeLabels);
    const summary = () => show(box.dataset.number, bestEpoch(configurations[box.dataset.number]));
    box.addEventListener("focus", summary);
    box.parentElement.addEventListener("pointerenter", summary);
  }

  // A coloured curve is reached by Tab; the arrow keys walk along its epochs.
  for (const curve of figure.querySelectorAll(".detail")) {
    const index = curve.dataset.number, of = configurations[index], last = lastEpoch(of);
    let epoch = bestEpoch(of);
    const walk = next => {
      epoch = Math.max(1, Math.min(last, next));
      curve.setAttribute("aria-valuenow", epoch);
      const [validation, training] = ["val_pooled", "train_pooled"].map(split => number(mean(at(of, split, epoch))));
      curve.setAttribute("aria-valuetext", `epoch ${epoch}: validation ${validation}, training ${training}`);
      show(index, epoch);
    };
    const attributes = { tabindex: 0, role: "slider", "aria-label": of.name, "aria-valuemin": 1, "aria-valuemax": last, "aria-valuenow": epoch };
    Object.entries(attributes).forEach(([name, value]) => curve.setAttribute(name, value));
    curve.addEventListener("focus", () => walk(epoch));
    curve.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -last, End: last }[event.key];
      if (step) { event.preventDefault(); walk(epoch + step); }
    });
  }

  readout.hidden = false;
  readout.textContent = "Point at a curve or a mark, tap it, or reach it with Tab and the arrow keys.";
}

// Unfold what the address leads to; without scripts the browser may do so itself.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
