"use strict";
// The explorers' readouts. Which curves are coloured is decided by the check boxes and the style sheet alone.
for (const figure of document.querySelectorAll(".explorer")) {
  const [svg, front, readout, cursor] = ["curves", "front", "readout", "cursor"].map(name => figure.querySelector(`.${name}`));
  const configurations = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const [left, right, top, bottom, epochs, low, high] = svg.dataset.box.split(" ").map(Number);

  const x = epoch => left + (right - left) * epoch / epochs;
  const y = perplexity => bottom + (top - bottom) * Math.log(perplexity / low) / Math.log(high / low);
  const at = (of, split, epoch) => of[split].map(values => values[epoch - 1]);
  const mean = values => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
  const number = value => value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(2);

  function show(index, epoch) {
    const of = configurations[index];
    const said = split => {
      const seeds = at(of, split, epoch);
      const each = seeds.length > 1 ? `s ${of.seeds.join(", ")}: ${seeds.map(number).join(", ")}` : ` ${of.seeds[0]}`;
      return `${number(mean(seeds))} (seed${each})`;
    };
    const lines = [`${of.name}, ${of.cost}; epoch ${epoch} of ${of.planned}`, `validation ${said("val")}`, `training ${said("train")}`, ...of.remarks];
    readout.replaceChildren(...lines.map(text => Object.assign(document.createElement("p"), { textContent: text })));
    figure.querySelectorAll(".near").forEach(element => element.classList.remove("near"));
    figure.querySelectorAll(`.context.n${index}, .point.n${index}`).forEach(element => element.classList.add("near"));
    cursor.setAttribute("visibility", "visible");
    cursor.firstChild.setAttribute("transform", `translate(${x(epoch)})`);
    ["train", "val"].forEach((split, place) => {
      const dot = cursor.children[place + 1];
      dot.setAttribute("cx", x(epoch));
      dot.setAttribute("cy", y(mean(at(of, split, epoch))));
    });
  }

  const boxes = [...figure.querySelectorAll("input")]; // none if there is a single curve
  const isShown = index => boxes[index]?.checked ?? true;
  const nearest = (chart, event, places) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const away = place => Math.hypot(place.x - point.x, place.y - point.y);
    return places(point).reduce((near, other) => away(other) < away(near) ? other : near);
  };
  const onCurves = point => configurations.flatMap((of, index) => {
    const epoch = Math.max(1, Math.min(of.last, Math.round((point.x - left) / (right - left) * epochs)));
    return (isShown(index) ? ["val", "train"] : ["val"]).map(split => ({ index, epoch, x: x(epoch), y: y(mean(at(of, split, epoch))) }));
  });
  const onFront = () => [...front.querySelectorAll(".point")].map(({ dataset: { number, x, y } }) => ({ index: Number(number), epoch: configurations[number].best, x, y }));
  for (const [chart, places] of [[svg, onCurves], ...(front ? [[front, onFront]] : [])]) {
    chart.addEventListener("pointermove", event => { const near = nearest(chart, event, places); show(near.index, near.epoch); });
    chart.addEventListener("click", event => {
      const near = nearest(chart, event, places);
      if (boxes[near.index]) boxes[near.index].checked = true;
      placeLabels();
      show(near.index, near.epoch);
    });
  }

  // Labels of curves stand so far apart that they do not overlap.
  function placeLabels() {
    const labels = [...svg.querySelectorAll(".end")].filter(label => isShown(label.closest(".detail")?.dataset.number));
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
    const summary = () => show(box.dataset.number, configurations[box.dataset.number].best);
    box.addEventListener("change", placeLabels);
    box.addEventListener("focus", summary);
    box.parentElement.addEventListener("pointerenter", summary);
  }

  // A coloured curve is reached by Tab; the arrow keys walk along its epochs.
  for (const curve of figure.querySelectorAll(".detail")) {
    const index = curve.dataset.number, of = configurations[index];
    let epoch = of.best;
    const set = attributes => Object.entries(attributes).forEach(([name, value]) => curve.setAttribute(name, value));
    const walk = next => {
      epoch = Math.max(1, Math.min(of.last, next));
      const [validation, training] = ["val", "train"].map(split => number(mean(at(of, split, epoch))));
      set({ "aria-valuenow": epoch, "aria-valuetext": `epoch ${epoch}: validation ${validation}, training ${training}` });
      show(index, epoch);
    };
    set({ tabindex: 0, role: "slider", "aria-label": of.name, "aria-valuemin": 1, "aria-valuemax": of.last, "aria-valuenow": epoch });
    curve.addEventListener("focus", () => walk(epoch));
    curve.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -of.last, End: of.last }[event.key];
      if (step) { event.preventDefault(); walk(epoch + step); }
    });
  }

  placeLabels();
  readout.hidden = false;
  readout.textContent = "Point at a curve or a mark, tap it, or reach it with Tab and the arrow keys.";
}

// The heads of a table that sorts are buttons: a click sorts by the column's values, another one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const [body] = table.tBodies, heads = [...table.querySelectorAll("th[scope=col]")];
  const number = text => text === "over a million" ? Infinity : Number(text.split(" ±")[0].replaceAll(",", ""));
  const compared = (one, other) => Number.isNaN(number(one) - number(other)) ? one.localeCompare(other, "en", { numeric: true }) : number(one) - number(other);
  heads.forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1, text = row => row.cells[column].textContent.trim();
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      // what has no value comes last
      body.append(...[...body.rows].sort((one, other) => !text(one) - !text(other) || sign * compared(text(one), text(other))));
    });
    head.replaceChildren(button);
  });
}

// Unfold what the address leads to; without scripts the browser may do so itself.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
