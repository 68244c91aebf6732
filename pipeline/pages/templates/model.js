"use strict";
// The models of the page, in plain functions: a network and a counting model step from one character to the next.
// Shapes: V symbols, L layers, H units, G gates of a cell, K orders of n-grams.

// --- arrays ---

const TYPES = {
  uint8: Uint8Array, uint16: Uint16Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array,
};

// The numbers of {type, data in base64, for rounded weights the step of each row}; those of weights are Float32Arrays.
function numbers({ type, data, steps }) {
  const text = atob(data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const found = new TYPES[type](bytes.buffer);
  if (!steps) return found;
  const ofRow = numbers(steps), columns = found.length / ofRow.length;
  return Float32Array.from(found, (value, i) => value * ofRow[Math.floor(i / columns)]);
}

const decoded = arrays => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, numbers(array)]));

// Adds the product of the rows `first` to `last` of a matrix and a part of a vector to `out`, four rows at a time. The
// matrix and the vector are Float32Arrays and `out` a Float64Array, always: engines compile it once, for these types.
function addProduct(out, matrix, vector, at, columns, first, last) {
  let row = first;
  for (; row + 3 < last; row += 4) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0, p = row * columns, q = p + columns, r = q + columns, s = r + columns; i < columns; i++) {
      const x = vector[at + i];
      a += matrix[p + i] * x;
      b += matrix[q + i] * x;
      c += matrix[r + i] * x;
      d += matrix[s + i] * x;
    }
    out[row] += a;
    out[row + 1] += b;
    out[row + 2] += c;
    out[row + 3] += d;
  }
  for (; row < last; row++) for (let i = 0; i < columns; i++) out[row] += matrix[row * columns + i] * vector[at + i];
}

const sigmoid = x => 1 / (1 + Math.exp(-x));

function logSoftmax(logits) {
  const largest = Math.max(...logits);
  const log = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
  return Float64Array.from(logits, logit => logit - log);
}

// --- networks ---

// Each cell: x (G H) is the product of the input and its weights, u (G H) the bias of the state's weights; h begins at
// `at` in the old state and in the next one, an LSTM's c `apart` after it. The equations are those of models/cells.py.
const CELLS = {
  rnn: { gates: 1, parts: 1, step(H, weights, x, u, old, next, at) {
    addProduct(u, weights, old, at, H, 0, H);
    for (let i = 0; i < H; i++) next[at + i] = Math.tanh(x[i] + u[i]);
  } },
  gru: { gates: 3, parts: 1, step(H, weights, x, u, old, next, at, apart, book) {
    addProduct(u, weights, old, at, H, 0, book ? 2 * H : 3 * H);
    for (let i = 0; i < 2 * H; i++) u[i] = sigmoid(x[i] + u[i]);  // reset, update
    if (book) {  // the reset comes before the recurrent product
      for (let i = 0; i < H; i++) next[at + i] = u[i] * old[at + i];
      addProduct(u, weights, next, at, H, 2 * H, 3 * H);
    }
    for (let i = 0; i < H; i++) {
      const candidate = Math.tanh(x[2 * H + i] + (book ? 1 : u[i]) * u[2 * H + i]);
      next[at + i] = (1 - u[H + i]) * candidate + u[H + i] * old[at + i];
    }
  } },
  lstm: { gates: 4, parts: 2, step(H, weights, x, u, old, next, at, apart) {
    addProduct(u, weights, old, at, H, 0, 4 * H);
    for (let i = 0; i < H; i++) {
      const [input, forget] = [sigmoid(x[i] + u[i]), sigmoid(x[H + i] + u[H + i])];
      const cell = forget * old[apart + at + i] + input * Math.tanh(x[2 * H + i] + u[2 * H + i]);
      next[apart + at + i] = cell;
      next[at + i] = sigmoid(x[3 * H + i] + u[3 * H + i]) * Math.tanh(cell);
    }
  } },
};

// A layer's product with a vector, and its bias.
function linear(weights, name, vector) {
  const out = Float64Array.from(weights[`${name}.bias`]);
  addProduct(out, weights[`${name}.weight`], vector, 0, vector.length, 0, out.length);
  return out;
}

// The weight of each order of n-grams by their gate, from what it sees, as in models/gated_ngrams.py: how sure each order
// is and, if it sees letters, how many stand in a row; `before` are the characters before a position, or -1.
function orderWeights(weights, prefix, { seen, before }) {
  const [mean, deviation, isLetter] = ["mean", "deviation", "is_letter"].map(name => weights[`${prefix}${name}`]);
  const inputs = Array.from(seen, (value, i) => (value - mean[i]) / deviation[i]);
  if (isLetter) {
    const inRow = [...before, -1].findIndex(id => !isLetter[id]);
    inputs.push(...[...before, -1].map((_, n) => Number(n === inRow)));
  }
  const units = linear(weights, `${prefix}hidden`, inputs);
  return linear(weights, `${prefix}output`, Float32Array.from(units, Math.tanh));
}

// The network of one entry of "models". Its state: h of all layers, then an LSTM's c; and the contexts of its n-grams.
function networkModel(spec, V, tables = []) {
  const { cell, layers: L, hidden_size: H, residual, book } = spec, { gates, parts, step } = CELLS[cell], rows = gates * H;
  const weights = decoded(spec.weights), embedding = weights["embedding.weight"], E = embedding ? embedding.length / V : 0;
  const grams = spec.tables === null ? null : ngramTables(tables[spec.tables], V);
  const x = new Float64Array(rows), u = new Float64Array(rows), noBias = new Float32Array(rows);

  const lastLayer = (old, next, id) => {
    const output = new Float32Array(H);
    for (let layer = 0; layer < L; layer++) {
      const input = weights[`${layer}.input`];
      x.set(weights[`${layer}.input_bias`]);
      u.set(weights[`${layer}.state_bias`] ?? noBias);
      if (layer) addProduct(x, input, output, 0, H, 0, rows);
      else if (E) addProduct(x, input, embedding, id * E, E, 0, rows);
      else for (let row = 0; row < rows; row++) x[row] += input[row * V + id];
      step(H, weights[`${layer}.state`], x, u, old, next, layer * H, L * H, book);
      for (let i = 0; i < H; i++) output[i] = next[layer * H + i] + (residual && layer ? output[i] : 0);
    }
    return output;
  };
  return {
    start: () => ({ hidden: new Float32Array(parts * L * H), contexts: grams?.start() }),
    step(state, id) {
      const hidden = new Float32Array(parts * L * H), output = lastLayer(state.hidden, hidden, id);
      const logits = linear(weights, "output", output);
      if (!grams) return { logProbabilities: logSoftmax(logits), state: { hidden } };
      const contexts = grams.next(state.contexts, id), evidence = grams.evidence(contexts);
      const gate = linear(weights, "gates", output), byOrder = orderWeights(weights, "order_gate.", evidence);
      for (let v = 0; v < V; v++) logits[v] *= gate[0];
      evidence.logs.forEach((log, n) => { for (let v = 0; v < V; v++) logits[v] += (gate[1 + n] + byOrder[n]) * log[v]; });
      return { logProbabilities: logSoftmax(logits), state: { hidden, contexts } };
    },
  };
}

// --- counting ---

const HALF = 63, LARGEST_LOGIT = 8, SMALLEST_LOG = -12, MOST_DIVERGENCE = 5, LEAST_BACKOFF = 1e-7;  // models/packing.py
const LARGEST_ID = 2048;  // models/gated_ngrams.py

// The trie of n-grams of all orders. Context 0 is the empty one, context i + 1 is n-gram i; -1 is not in the table.
function ngramTables(spec, V) {
  const arrays = decoded(spec);
  const { sizes, followers, last } = arrays, K = sizes.length, first = new Int32Array(followers.length + 1);
  for (let context = 0; context < followers.length; context++) first[context + 1] = first[context] + followers[context];

  // Shares and what they leave in each context, from the codes of models/packing.py, for `entries` n-grams.
  const coded = (prefix, entries) => {
    const unigrams = arrays[`${prefix}unigrams`], left = arrays[`${prefix}left`], parts = arrays[`${prefix}parts`];
    const shares = new Float32Array(entries), backoff = new Float32Array(first.length).fill(1);
    shares.set(unigrams);
    for (let context = 0, code = 0; context < followers.length && first[context] < entries; context++) {
      const [begin, end] = [first[context], first[context + 1]];
      if (context && begin < end) {
        const total = 1 / (1 + Math.exp((left[code++] - (HALF + 1)) / HALF * LARGEST_LOGIT));
        let sum = 0;
        for (let i = begin; i < end; i++) {
          const part = parts[i - unigrams.length];
          sum += shares[i] = part && Math.exp((part - 1) / (2 * HALF) * SMALLEST_LOG);
        }
        for (let i = begin; i < end; i++) shares[i] *= total / Math.max(sum, 1e-30);
      }
      backoff[context] = Math.max(1 - shares.subarray(begin, end).reduce((sum, share) => sum + share, 0), LEAST_BACKOFF);
    }
    return { shares, backoff };
  };
  const highest = coded("", last.length), lower = arrays.lower_left && coded("lower_", last.length - sizes[K - 1]);

  const oldest = new Int32Array(followers.length).fill(-1);  // the first character of each context
  for (let context = 0; context < followers.length; context++) {
    for (let i = first[context]; i < first[context + 1]; i++) {
      if (highest.shares[i]) oldest[i + 1] = context ? oldest[context] : Math.min(last[i], LARGEST_ID);
    }
  }

  const child = (context, id) => {
    if (context < 0) return -1;
    for (let i = first[context]; i < first[context + 1]; i++) if (last[i] === id) return i + 1;
    return -1;
  };
  const interpolated = ({ shares, backoff }, context, below) => {
    if (context < 0) return below;
    const out = new Float64Array(V);
    for (let v = 0; v < V; v++) out[v] = below[v] * backoff[context];
    for (let i = first[context]; i < first[context + 1]; i++) out[last[i]] += shares[i];
    return out;
  };
  const uniform = new Float64Array(V).fill(1 / V);
  return {
    start: () => new Int32Array(K).fill(-1).fill(0, 0, 1),  // of 0 to K - 1 characters
    next: (contexts, id) => contexts.map((_, n) => n ? child(contexts[n - 1], id) : 0),
    longest: contexts => contexts.findLastIndex(context => followers[context] > 0),  // characters that predict the next one
    probabilities: contexts => contexts.reduce((below, context) => interpolated(highest, context, below), uniform),
    // Log-probabilities by every order, and what the gate sees of each: entropy, largest log, divergence from the one below;
    // and the characters before, from the last one back, as far as there are contexts, then -1.
    evidence(contexts) {
      const logs = [], seen = new Float32Array(3 * K);
      let below = uniform, lowerLog = uniform.map(Math.log);
      for (let n = 0; n < K; n++) {
        const own = interpolated(highest, contexts[n], below), log = own.map(Math.log);
        let entropy = 0, largest = -Infinity, divergence = 0;
        for (let v = 0; v < V; v++) {
          entropy -= own[v] * log[v];
          largest = Math.max(largest, log[v]);
          divergence += own[v] * (log[v] - lowerLog[v]);
        }
        seen.set([entropy, largest, Math.min(divergence, MOST_DIVERGENCE)], 3 * n);
        logs.push(log);
        lowerLog = log;
        if (n < K - 1) below = interpolated(lower, contexts[n], below);
      }
      return { logs, seen, before: Array.from(contexts.subarray(1), context => oldest[context] ?? -1) };
    },
  };
}

// The n-grams: of one order, which back off to shorter ones, or of all orders, combined by a gate. Their state: contexts
// of 0 to K - 1 characters.
// A step also has the length of the longest context that predicts the next character.
function countingModel(spec, V) {
  const grams = ngramTables(spec.tables, V), gate = spec.gate && decoded(spec.gate);
  const gated = contexts => {
    const evidence = grams.evidence(contexts), byOrder = orderWeights(gate, "", evidence), logits = new Float64Array(V);
    evidence.logs.forEach((log, n) => { for (let v = 0; v < V; v++) logits[v] += byOrder[n] * log[v]; });
    return logSoftmax(logits);
  };
  return {
    start: grams.start,
    step(contexts, id) {
      const state = grams.next(contexts, id);
      const logProbabilities = gate ? gated(state) : grams.probabilities(state).map(Math.log);
      return { logProbabilities, state, longest: grams.longest(state) };
    },
  };
}

// --- both, and drawing a character ---

// linear: w p_network + (1 - w) p_counting; geometric: p_network^w p_counting^(1 - w), normalised.
function both(kind, weight, network, counting) {
  if (kind === "geometric") return logSoftmax(network.map((log, v) => weight * log + (1 - weight) * counting[v]));
  return network.map((log, v) => Math.log(weight * Math.exp(log) + (1 - weight) * Math.exp(counting[v])));
}

// Uniform numbers in [0, 1) of a seed (mulberry32).
function generator(seed) {
  return () => {
    seed = seed + 0x6D2B79F5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

// A character drawn from softmax(log-probabilities / temperature), never the one that is forbidden, as <unk>.
function sampled(logProbabilities, temperature, random, forbidden = -1) {
  const largest = Math.max(...logProbabilities.filter((_, id) => id !== forbidden));
  const weights = logProbabilities.map((log, id) => id === forbidden ? 0 : Math.exp((log - largest) / temperature));
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0), id = 0, chosen = 0;
  for (; id < weights.length && left >= 0; id++) if (weights[id] > 0) [chosen, left] = [id, left - weights[id]];
  return chosen;
}

// --- the page ---
// A text is read letter by letter; each is coloured by its surprise, and the model writes on from the last one.
if (document.getElementById("models")) {
  const live = document.getElementById("live"), find = name => live.querySelector(name);
  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  addEventListener("error", () => {
    live.replaceChildren(element("p", { role: "alert" }, "This page is damaged, so that its model can't run: export or copy it again."));
    live.hidden = false;
  });
  const page = JSON.parse(document.getElementById("models").textContent);
  const V = page.symbols.length, UNKNOWN = page.symbols.indexOf("<unk>"), AT_ONCE = 250; // characters to write
  const PACE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 40; // milliseconds for each
  const [own, shade, write, seed, temperature, pick] = ["textarea", ".shade", ".first", ".seed", ".temperature", "#live-pick"].map(find);
  const NAMES = { " ": ["␣", "space"], "\n": ["↵", "line break"], "\t": ["⇥", "tab"] };
  const visible = symbol => /[\p{Z}\p{C}]/u.test(symbol) ? `U+${symbol.codePointAt().toString(16).padStart(4, "0").toUpperCase()}` : symbol;
  const shown = symbol => NAMES[symbol]?.[0] ?? visible(symbol), spoken = symbol => NAMES[symbol]?.[1] ?? visible(symbol);
  const idOf = new Map(page.symbols.map((symbol, id) => [symbol, id]).filter(([, id]) => id !== UNKNOWN));
  const number = value => value.toLocaleString("en");

  // A model with the steps that it has made over a text: step i has the distribution after character i.
  function reader(model) {
    const steps = [];
    let ids = [];
    const keep = wanted => {
      const changed = steps.findIndex((_, place) => ids[place] !== wanted[place]);
      if (changed >= 0) steps.length = changed;
      ids = wanted;
    };
    return { steps, keep, next: () => steps.push(model.step(steps.at(-1)?.state ?? model.start(), ids[steps.length])) };
  }

  const last = page.models.length - 1, best = page.models.findIndex(model => model.is_best); // of several trainings
  let chosen = best < 0 ? last : best, readers, kind = "network";
  const networks = []; // unpacked once they are chosen
  const counter = page.counting && countingModel(page.counting, V), counting = counter && reader(counter);
  const kinds = counting ? ["network", "counting", "both"] : ["network"];
  let letters = [], ids = [], scores = []; // of the text: its characters, the ids that are read, their bits by kind
  const titled = name => name === "counting" ? page.counting.name : name; // what a reader sees
  const SIDES = ["network", "counting"], DIFFERENCE = "difference"; // bits of counting - bits of the network, also a choice
  let painted = 0, draft = null, due = 0, frame = 0;
  let quiet = !page.is_held_out; // no figures: the first text is a prompt, and nobody has typed yet

  function choose(index) {
    const model = page.models[chosen = index];
    networks[index] ??= networkModel(model, V, page.tables);
    readers = { network: reader(networks[index]), ...(counting && { counting }) };
    const facts = [["", model.label], ["MACs per character", number(model.macs_per_char)], ["parameters", number(model.parameters)], ["test perplexity", model.test_perplexity.toFixed(3)]];
    find(".facts").replaceChildren(...facts.map(([name, value]) => element("span", {}, element("b", {}, value), ` ${name}`)));
    pick.setAttribute("aria-valuetext", [...model.picks.map(name => `@${name}`), ...facts.map(([name, value]) => `${value} ${name}`)].join(", "));
    [...find(".stops").children].forEach((stop, place) => stop.classList.toggle("chosen", place === index));
    const packed = model.packed_test_perplexity; // null if the text can't be read any more
    const changed = packed ? `: test perplexity ${packed.toFixed(4)} instead of ${model.test_perplexity.toFixed(4)}` : "";
    const pruned = model.tables === null ? "" : ", and its n-grams are pruned";
    const remarks = [`In this page the network's weights have ${model.bits} bits each${pruned}${changed}.`, ...page.remarks];
    find(".opponents").textContent = opponents();
    find(".remarks").replaceChildren(...remarks.map(text => element("li", {}, text)));
  }

  // Which n-grams run here and which the verdict compares the network with, each with its figure.
  function opponents() {
    if (!counting) return "";
    const { compared } = page.models[chosen], { label, test_perplexity: here } = page.counting;
    return `Test perplexity of the ${label}: ${here.toFixed(3)}; of the verdict's ${compared.name}: ${compared.test_perplexity.toFixed(3)}.`;
  }

  const distribution = (place, of = kind, from = readers) => of === "both"
    ? both(page.models[chosen].both.kind, page.models[chosen].both.weight, from.network.steps[place].logProbabilities, from.counting.steps[place].logProbabilities)
    : (from[of] ?? from.network).steps[place].logProbabilities;

  // The text's characters, as the alphabet has them: `read` is the place among the ids that are read, or -1.
  function parse() {
    let at = 0;
    const heard = [];
    const parsed = Array.from(own.value, text => {
      const symbol = page.alphabet !== "letters" ? text : /[a-z]/i.test(text) ? text.toLowerCase() : " ";
      const again = page.alphabet === "letters" && symbol === " " && page.symbols[heard.at(-1)] === " ";
      const letter = { text, at, id: again ? -1 : idOf.get(symbol) ?? -1, read: -1 };
      if (letter.id >= 0) letter.read = heard.push(letter.id) - 1;
      at += text.length;
      return letter;
    });
    let same = 0, after = 0; // characters that stay before and after a change; those after keep their colours for now
    const shorter = Math.min(parsed.length, letters.length);
    while (same < shorter && parsed[same].text === letters[same].text) same++;
    while (after < shorter - same && parsed.at(-1 - after).text === letters.at(-1 - after).text) after++;
    for (let gone = letters.length - after; gone > same; gone--) shade.children[same].remove();
    const added = parsed.slice(same, parsed.length - after).map(letter => element("span", {}, letter.text));
    if (added.length) shade.children[same - 1] ? shade.children[same - 1].after(...added) : shade.prepend(...added);
    painted = Math.min(painted, same);
    [letters, ids] = [parsed, heard];
    Object.values(readers).forEach(each => each.keep(ids));
    scores.length = Math.min(scores.length, ...Object.values(readers).map(each => each.steps.length));
    const others = [...new Set(letters.filter(({ text, id }) => page.alphabet === "letters" ? /[^a-z\s]/i.test(text) : id < 0).map(({ text }) => text))];
    find("#live-hint").textContent = page.alphabet === "letters"
      ? `It reads the letters a to z and spaces: capitals count as small letters, ${others.length ? `“${others.slice(0, 8).join("")}” and all else` : "all else"} as a space.`
      : others.length ? `It has never seen “${others.slice(0, 8).join("")}” and skips such characters.` : `It knows ${V - 1} characters.`;
  }

  // One animation frame: read, score and write for some milliseconds, then paint what is new.
  function work(now) {
    frame = 0;
    const end = performance.now() + 10;
    do {
      if (scores.length < ids.length) {
        for (const each of Object.values(readers)) if (each.steps.length === scores.length) each.next();
        const place = scores.length;
        const score = Object.fromEntries(kinds.map(each => [each, place ? -distribution(place - 1, each)[ids[place]] / Math.LN2 : NaN]));
        scores.push({ ...score, [DIFFERENCE]: score.counting - score.network });
      } else if (draft?.left && ids.length && now >= due) {
        const id = sampled(distribution(ids.length - 1), Number(temperature.value), draft.random, UNKNOWN);
        draft.text += page.symbols[id];
        draft.left--;
        due = draft.pace && now + draft.pace;
        own.setRangeText(page.symbols[id], own.value.length, own.value.length, "preserve");
        if (own.value.length >= own.maxLength) draft.left = 0;
        parse();
      } else break;
    } while (performance.now() < end);
    paint();
    if (scores.length < ids.length || draft?.left) go();
    else settle();
  }
  const go = () => {
    live.ariaBusy = true;
    frame ||= requestAnimationFrame(work);
  };

  function paint() {
    const pad = find(".pad"), atEnd = pad.scrollHeight - pad.scrollTop - pad.clientHeight < 60;
    for (; painted < letters.length && letters[painted].read < scores.length; painted++) {
      const { id, read, at } = letters[painted], span = shade.children[painted];
      const bits = read > 0 && !quiet ? scores[read][kind] : 0;
      span.dataset.ahead = kind === DIFFERENCE && bits ? SIDES[bits > 0 ? 0 : 1] : "";
      span.style.setProperty("--strength", Math.min(Math.abs(bits) / (kind === DIFFERENCE ? 4 : 8), 1).toFixed(2));
      span.classList.toggle("skipped", id < 0 && page.alphabet !== "letters");
      span.classList.toggle("written", draft !== null && at >= draft.prompt.length);
    }
    if (draft?.left && atEnd) pad.scrollTop = pad.scrollHeight;
    const known = quiet ? [] : scores.slice(1), sum = each => known.reduce((total, score) => total + score[each], 0);
    const show = (name, value, digits) => Object.assign(find(name), { value, textContent: known.length ? value.toFixed(digits) : "–" });
    for (const each of kinds) show(`[data-kind=${each}]`, sum(each) / known.length, 2);
    if (counting) SIDES.forEach((side, place) => {
      show(`[data-sum=${side}]`, sum(side), 1);
      show(`[data-letters=${side}]`, known.filter(score => score[side] < score[SIDES[1 - place]]).length, 0);
    });
    write.textContent = draft?.left ? "Stop" : "Write";
    find(".own").hidden = !draft?.text;
    read();
  }

  // The readout of the letter before the cursor, or under the pointer, and the distribution after it.
  const cursor = () => {
    const end = document.activeElement === own && !draft?.left ? own.selectionEnd : own.value.length;
    return letters.findLastIndex(letter => letter.at < end);
  };
  function sentence(place) {
    const letter = letters[place];
    if (!letter || quiet) return "Type or paste a text, or let it write.";
    const name = `“${spoken(letter.text)}”`;
    if (letter.read < 0) return page.alphabet === "letters" ? `${name} belongs to the space before it.` : `${name} is skipped: the model has never seen it.`;
    if (letter.read >= scores.length) return "";
    if (!letter.read) return `${name} is the first letter: nothing comes before it.`;
    const costs = `${name} cost ${kinds.map(each => `${titled(each)} ${scores[letter.read][each].toFixed(2)}`).join(", ")} bits`;
    if (kind !== DIFFERENCE) return `${costs}.`;
    const { longest } = counting.steps[letter.read - 1];
    return `${costs}; the ${titled("counting")} had a context of ${longest} character${longest === 1 ? "" : "s"}.`;
  }
  function expected(place) {
    const last = letters.slice(0, place + 1).findLast(letter => letter.read >= 0)?.read ?? -1;
    if (last < 0 || last >= scores.length) return [];
    const likely = Array.from(distribution(last), (log, id) => ({ id, probability: Math.exp(log) })).filter(({ id }) => id !== UNKNOWN);
    return likely.sort((one, other) => other.probability - one.probability);
  }
  const percent = ({ id, probability }, name) => `${name(page.symbols[id])} ${(100 * probability).toFixed(0)} %`;
  const bars = Array.from({ length: page.alphabet === "letters" ? V - 1 : Math.min(15, V - 1) }, () => element("div", {}, element("b", {}, element("i")), element("span")));

  function read(hovered) {
    const place = cursor(), likely = expected(place);
    find(".cost").textContent = sentence(hovered ?? place);
    const next = likely.slice(0, 3).map(each => percent(each, shown)).join(", ");
    find(".next").textContent = likely.length ? `Next letter: ${next}` : "Next letter";
    const drawn = page.alphabet === "letters" ? [...likely].sort((one, other) => one.id - other.id) : likely;
    bars.forEach((bar, index) => {
      bar.firstChild.firstChild.style.height = `${100 * (drawn[index]?.probability ?? 0)}%`;
      if (drawn[index]) bar.lastChild.textContent = shown(page.symbols[drawn[index].id]);
    });
  }

  // What a screen reader says, once nothing has changed for a while.
  let pause = 0;
  function settle() {
    live.ariaBusy = false;
    clearTimeout(pause);
    pause = setTimeout(() => {
      const place = cursor(), next = expected(place).slice(0, 3).map(each => percent(each, spoken)).join(", ");
      const wrote = draft?.text && document.activeElement !== own ? `It wrote: ${draft.text}. ` : "";
      find(".said").textContent = `${wrote}${sentence(place)} ${next && `Next: ${next}.`}`;
    }, 1000);
  }

  // The same text, model, temperature and seed: the same letters.
  function begin(prompt, length = AT_ONCE, pace = PACE) {
    if (page.alphabet === "letters" && /[^a-z\s]$/i.test(prompt)) prompt += " "; // "it." is read as "it "
    draft = { prompt, text: "", random: generator(Number(seed.value)), left: length, pace };
    painted = quiet ? 0 : Math.min(painted, letters.findIndex(letter => letter.at >= prompt.length) >>> 0);
    quiet = false;
    own.value = prompt;
    changed();
  }
  function changed() {
    due = 0;
    parse();
    go();
  }
  const prompt = () => draft?.prompt ?? (ids.length ? own.value : page.opening);
  const rewrite = () => { if (draft?.text) begin(draft.prompt, draft.text.length + draft.left, 0); };
  const stop = () => { if (draft) draft.left = 0; };

  write.addEventListener("click", () => {
    if (draft?.left) return stop();
    if (!draft) return begin(prompt());
    Object.assign(draft, { left: AT_ONCE, pace: PACE });
    go();
  });
  find(".another").addEventListener("click", () => {
    seed.value = Number(seed.value) + 1;
    begin(prompt());
  });
  find(".clear").addEventListener("click", () => {
    [draft, own.value] = [null, ""];
    own.focus();
    changed();
  });
  seed.addEventListener("change", () => begin(prompt()));
  const warmth = () => { find(".write output").textContent = Number(temperature.value).toFixed(1); };
  temperature.addEventListener("input", () => { warmth(); rewrite(); });
  own.addEventListener("input", event => {
    if (draft || quiet) [draft, quiet, painted] = [null, false, 0]; // what was written is the reader's text now
    const composed = page.alphabet === "letters" || event.isComposing ? own.value : own.value.normalize("NFC");
    if (composed !== own.value) own.value = composed;
    changed();
  });
  own.addEventListener("keydown", event => { if (event.key === "Escape") stop(); });
  document.addEventListener("selectionchange", () => { if (document.activeElement === own && !draft?.left) { read(); if (!frame) settle(); } });
  own.addEventListener("pointermove", event => {
    const span = document.elementsFromPoint(event.clientX, event.clientY).find(element => element.parentElement === shade);
    read(span && [...shade.children].indexOf(span));
  });
  own.addEventListener("pointerleave", () => read());
  pick.addEventListener("input", () => {
    choose(Number(pick.value));
    [scores, painted] = [[], 0];
    changed();
    rewrite();
    playAnew?.();
  });
  find(".kinds").addEventListener("change", event => {
    [kind, painted] = [event.target.value, 0];
    go();
  });

  for (const each of kinds) {
    const choice = element("input", { type: "radio", name: "kind", value: each, checked: each === "network" }), figure = element("data", {}, "–");
    figure.dataset.kind = each;
    find(".kinds > :last-child").before(element("label", {}, element("span", {}, choice, titled(each)), figure));
  }
  find(".kinds .difference").hidden = !counting;
  for (const rival of live.querySelectorAll(".rival")) rival.textContent = page.counting?.name;
  [pick.max, pick.value] = [last, chosen];
  find(".front").hidden = !last;
  if (last) find(".front").append(find(".facts"));
  if (best >= 0) find(".front label").textContent = "Which network? By MACs per character";
  const titles = page.models.map(({ picks, label }) => picks.map(name => `@${name}`).join(" ") || label);
  find(".stops").replaceChildren(...titles.map((title, place) => element("span", {}, last < 6 || place % last === 0 ? title : "")));
  find(".bars").replaceChildren(...bars);
  find(".play").addEventListener("click", stop);
  const playAnew = !counting || !page.passages?.length ? null : game({
    page, live, element, idOf, unknown: UNKNOWN, shown, spoken, names: ["counting", "network", "both"], titled,
    predict(ids) {
      const from = { network: reader(networks[chosen]), counting: reader(counter) };
      for (const each of Object.values(from)) each.keep(ids);
      return place => {
        for (const each of Object.values(from)) while (each.steps.length <= place) each.next();
        return Object.fromEntries(kinds.map(each => [each, distribution(place, each, from)]));
      };
    },
    describe: () => `${opponents()} Network: ${page.models[chosen].label}.`,
  });
  warmth();
  choose(chosen);
  live.hidden = false;
  own.value = page.opening;
  changed();
}
