"use strict";
// Shannon's game: a reader guesses the next letter of a passage until it is right, against the models of the page.
// A need is the number of guesses that a letter took.

// --- figures ---

const GIVEN = 60, GOALS = [60, 120], DRAWS = 1000; // characters that are shown, letters to guess, bootstrap samples
const SHOWN = Infinity; // the need of a letter that its player gave up: how many guesses it would have taken is unknown

// A model's need of a letter: it guesses by its probabilities, ties by id, and never the id `unknown`.
function rank(logProbabilities, id, unknown) {
  const own = logProbabilities[id], isBefore = (log, other) => log > own || log === own && other < id;
  return 1 + logProbabilities.reduce((sum, log, other) => sum + (other !== unknown && isBefore(log, other)), 0);
}

// Bounds of the bits per letter of a predictor with these needs: Shannon, "Prediction and Entropy of Printed English",
// Bell System Technical Journal 30 (1951), section 5, equation 17. For the lower one, shares descend, as those of an
// ideal predictor do. `corrected` is the upper one as Miller and Madow correct it, `deviation` its standard deviation.
function bounds(needs) {
  const counts = new Uint32Array(Math.max(...needs) + 1);
  for (const need of needs) counts[need]++;
  const shares = Array.from(counts.filter(Boolean).sort().reverse(), count => count / needs.length);
  const total = value => shares.reduce((sum, share, i) => sum + value(share, i), 0);
  const upper = -total(share => share * Math.log2(share));
  return {
    lower: total((share, i) => (i + 1) * (share - (shares[i + 1] ?? 0)) * Math.log2(i + 1)),
    upper,
    corrected: upper + (shares.length - 1) / (2 * needs.length * Math.LN2),
    deviation: Math.sqrt(total(share => share * (Math.log2(share) + upper) ** 2) / needs.length),
  };
}

// The 95 % interval of `corrected`, from 0 to log2(symbols) at most, by the studentised bootstrap: Efron and Tibshirani,
// "An Introduction to the Bootstrap" (1993), section 12.5. Equal shares, which have no deviation, get one letter more.
function interval(needs, symbols, random, draws = DRAWS) {
  const { corrected, deviation } = bounds(needs), most = Math.log2(symbols);
  if (deviation < 1e-9) return [0, interval([...needs, needs[0] + 1], symbols, random, draws)[1]];
  const errors = Float64Array.from({ length: draws }, () => {
    const drawn = bounds(needs.map(() => needs[Math.floor(random() * needs.length)]));
    return (drawn.corrected - corrected) / Math.max(drawn.deviation, 1e-9);
  }).sort();
  const end = share => Math.min(Math.max(corrected - errors[Math.floor(share * draws)] * deviation, 0), most);
  return [end(0.975), end(0.025)];
}

// How many of these needs are of letters that were shown: with any, the guesses and bits of a player are undefined.
function withoutFigure(needs) {
  const shown = needs.filter(need => need === SHOWN).length;
  return shown && `${shown} letter${shown === 1 ? "" : "s"} shown: no figure`;
}

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
const mark = need => need === SHOWN ? "·" : "▁▂▄"[need - 1] ?? (need < 10 ? "▆" : "█"); // of 1, 2, 3, 4 to 9 and more guesses

// --- the view ---

// Let a reader play a page's passages against the models that have these `names`. `predict(ids)` gives a function of a
// place among ids, whose value has by name the log-probabilities of the next id; `describe()`, sentences on the models.
// `titled(name)` is what a reader sees. Returns what begins an open game anew.
function game({ page, live, element, idOf, unknown, shown, spoken, names, titled, predict, describe }) {
  const view = live.querySelector(".game"), opener = live.querySelector(".play"), part = name => view.querySelector(name);
  const [passage, field, tiles, heard, figures, line] = [".passage", "input", ".tiles", ".heard", ".after", "textarea"].map(part);
  const symbols = page.symbols.length - 1, players = ["you", ...names], played = new Set(); // all but <unk>; passages
  let number, day, fromMemory, ids, after, goal, tried, letters; // of each letter: the needs by player, the bits by model
  const place = () => GIVEN + letters.length, isOpen = () => letters.length < goal;
  const next = () => GOALS.find(each => each > letters.length) ?? Infinity;
  const quoted = symbol => `“${spoken(symbol)}”`;

  function begin() {
    const days = Math.floor(Date.now() / 864e5); // UTC
    day = new Date(days * 864e5).toISOString().slice(0, 10);
    number = days % page.passages.length;
    ids = Array.from(page.passages[number], symbol => idOf.get(symbol));
    [fromMemory, after, goal, tried, letters] = [played.has(number), predict(ids), GOALS[0], [], []];
    heard.textContent = "";
    draw();
  }
  function toggle(isShown) {
    live.classList.toggle("playing", isShown);
    view.hidden = !isShown;
    if (!isShown) return opener.focus();
    begin();
    attend();
  }
  function attend() { // by touch not the field, which would open a keyboard
    (!isOpen() ? figures : matchMedia("(pointer: coarse)").matches ? passage : field).focus();
  }
  function draw() {
    view.classList.toggle("over", !isOpen());
    part(".goal").textContent = goal;
    const text = ids.slice(0, place()).map(id => page.symbols[id]).join("");
    passage.replaceChildren(text, ...isOpen() ? [element("b", {}, "?")] : []);
    for (const tile of tiles.children) tile.classList.toggle("tried", tried.includes(Number(tile.value)));
  }

  function solved(need) {
    const id = ids[place()], logs = after(place() - 1);
    const needs = { you: need }, bits = {};
    for (const name of names) [needs[name], bits[name]] = [rank(logs[name], id, unknown), -logs[name][id] / Math.LN2];
    letters.push({ needs, bits });
    played.add(number);
    tried = [];
    if (!isOpen()) finish();
    const guesses = Object.entries(needs).map(([name, own]) => own === SHOWN ? "shown" : `${titled(name)} ${own}`).join(", ");
    return `${letters.length} of ${goal}, ${quoted(page.symbols[id])}: ${guesses}.`;
  }
  function guess(symbol) {
    const id = idOf.get(page.alphabet !== "letters" ? symbol : symbol.trim() ? symbol.toLowerCase() : " ");
    if (id === undefined) return `${quoted(symbol)} is no symbol of this text: it does not count.`;
    if (tried.includes(id)) return `You tried ${quoted(page.symbols[id])} before: it does not count.`;
    if (id === ids[place()]) return solved(tried.length + 1);
    tried.push(id);
    return `Not ${quoted(page.symbols[id])}. Tried: ${tried.map(other => shown(page.symbols[other])).join(" ")}`;
  }
  function hear(...guesses) {
    const said = guesses.length > 1 ? [`${guesses.length} characters, each a guess.`] : [];
    for (const symbol of guesses) if (isOpen()) said.push(guess(symbol));
    heard.textContent = said.join(" ");
    draw();
    if (!isOpen()) attend();
  }

  function finish() {
    if (!letters.length) return toggle(false);
    goal = letters.length;
    const needs = Object.fromEntries(players.map(name => [name, letters.map(letter => letter.needs[name])]));
    part("tbody").replaceChildren(...players.map(name => {
      const undefinedFor = withoutFigure(needs[name]), head = element("th", { scope: "row" }, titled(name));
      if (undefinedFor) return element("tr", {}, head, element("td", { colSpan: 4 }, undefinedFor));
      const { lower, corrected } = bounds(needs[name]);
      const [low, high] = interval(needs[name], symbols, generator(number)).map(end => end.toFixed(2));
      const paid = name === "you" ? "–" : mean(letters.map(letter => letter.bits[name])).toFixed(2);
      const cells = [mean(needs[name]).toFixed(2), lower.toFixed(2), `${corrected.toFixed(2)} (${low} to ${high})`, paid];
      return element("tr", {}, head, ...cells.map(cell => element("td", {}, cell)));
    }));
    part(".only").replaceChildren(...["you", "counting", "network"].map((name, _, all) => {
      const others = all.filter(other => other !== name);
      const places = [...letters.keys()].filter(i => needs[name][i] === 1 && others.every(other => needs[other][i] > 1));
      const found = places.map(i => {
        const before = ids.slice(GIVEN + i - 8, GIVEN + i).map(id => shown(page.symbols[id])).join("");
        return element("samp", {}, `…${before}`, element("b", {}, shown(page.symbols[ids[GIVEN + i]])));
      });
      return element("li", {}, `Guessed at once only by ${titled(name)}, ${places.length} of ${goal}. `, ...found);
    }));
    part(".models").textContent = describe();
    const which = `${page.text}, passage ${number + 1} of ${page.passages.length}, ${day}${fromMemory ? ", from memory" : ""}`;
    const rates = players.map(name => `${titled(name)} ${withoutFigure(needs[name]) || mean(needs[name]).toFixed(2)}`).join(", ");
    line.value = `${which}: guesses per letter in ${goal}: ${rates} ${needs.you.map(mark).join("")}`;
    part(".more").hidden = ids.length < GIVEN + next();
  }

  opener.hidden = false;
  opener.addEventListener("click", () => toggle(true));
  view.addEventListener("keydown", event => { if (event.key === "Escape" && !event.isComposing) toggle(false); });
  field.addEventListener("keydown", event => {
    const symbol = { Enter: "\n", Tab: event.shiftKey || !idOf.has("\t") ? undefined : "\t" }[event.key];
    if (!symbol || event.isComposing) return;
    event.preventDefault();
    hear(symbol);
  });
  const typed = event => {
    if (event.isComposing) return;
    const guesses = field.value.normalize("NFC");
    field.value = "";
    if (guesses) hear(...guesses);
  };
  field.addEventListener("input", typed);
  field.addEventListener("compositionend", typed);
  tiles.append(...page.tiles.map(id => {
    const symbol = page.symbols[id];
    return element("button", { type: "button", value: id, ariaLabel: spoken(symbol) }, shown(symbol));
  }));
  tiles.addEventListener("click", ({ target }) => { if (target.value) hear(page.symbols[target.value]); });
  const acts = {
    pass: () => { heard.textContent = solved(SHOWN); },
    stop: finish,
    more: () => { goal = next(); },
  };
  for (const [name, act] of Object.entries(acts)) part(`.${name}`).addEventListener("click", () => {
    act();
    draw();
    attend();
  });
  part(".back").addEventListener("click", () => toggle(false));
  part(".copy").addEventListener("click", () => {
    navigator.clipboard.writeText(line.value).then(() => { heard.textContent = "Copied."; }, () => line.select());
  });
  part(".copy").hidden = !navigator.clipboard;
  return () => { if (!view.hidden) begin(); };
}
