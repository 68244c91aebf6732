"use strict";
// The models of the page, in plain functions: a network and a counting model step from one character to the next.
// Shapes: V symbols, L layers, H units, G gates of a cell, K orders of n-grams.

// --- arrays ---

const TYPES = { u8: Uint8Array, u16: Uint16Array, i8: Int8Array, f16: Uint16Array, f32: Float32Array, i32: Int32Array };

// The numbers of {type, data in base64, for 8-bit weights the scale of each row}.
function numbers({ type, data, scale }) {
  const found = new TYPES[type](Uint8Array.from(atob(data), character => character.charCodeAt(0)).buffer);
  if (type === "f16") return Float32Array.from(found, half);
  if (!scale) return found;
  const scales = numbers(scale), columns = found.length / scales.length;
  return Float32Array.from(found, (value, at) => value * Math.fround(scales[Math.floor(at / columns)] / 127));
}

const decoded = arrays => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, numbers(array)]));

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

// Adds the product of some rows (all of them, if no others are given) of a matrix and a part of a vector to `out`.
function addProduct(out, matrix, vector, at, columns, first = 0, last = out.length) {
  for (let row = first, place = first * columns; row < last; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += matrix[place++] * vector[at + column];
    out[row] += sum;
  }
}

const sigmoid = x => 1 / (1 + Math.exp(-x));

function logSoftmax(logits) {
  const largest = Math.max(...logits);
  const log = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
  return Float64Array.from(logits, logit => logit - log);
}

// --- networks ---

// Each cell: x (G H) is the product of the input and its weights, h begins at `at` in the old state and in the new one,
// an LSTM's c `apart` after it. A layer has the weights and bias of the state; equations of models/cells.py.
const CELLS = {
  rnn: { gates: 1, parts: 1, step(H, layer, x, old, next, at) {
    const u = layer.stateBias.slice();
    addProduct(u, layer.state, old, at, H);
    for (let i = 0; i < H; i++) next[at + i] = Math.tanh(x[i] + u[i]);
  } },
  gru: { gates: 3, parts: 1, step(H, layer, x, old, next, at, apart, book) {
    const u = layer.stateBias.slice();  // zeros if `book`
    addProduct(u, layer.state, old, at, H, 0, book ? 2 * H : 3 * H);
    if (book) {  // the reset comes before the recurrent product
      const reset = u.slice(0, H);
      for (let i = 0; i < H; i++) reset[i] = sigmoid(x[i] + u[i]) * old[at + i];
      addProduct(u, layer.state, reset, 0, H, 2 * H);
    }
    for (let i = 0; i < H; i++) {
      const update = sigmoid(x[H + i] + u[H + i]), reset = book ? 1 : sigmoid(x[i] + u[i]);
      next[at + i] = (1 - update) * Math.tanh(x[2 * H + i] + reset * u[2 * H + i]) + update * old[at + i];
    }
  } },
  lstm: { gates: 4, parts: 2, step(H, layer, x, old, next, at, apart) {
    const u = layer.stateBias.slice();
    addProduct(u, layer.state, old, at, H);
    for (let i = 0; i < u.length; i++) u[i] += x[i];
    for (let i = 0; i < H; i++) {
      const cell = sigmoid(u[H + i]) * old[apart + at + i] + sigmoid(u[i]) * Math.tanh(u[2 * H + i]);
      next[apart + at + i] = cell;
      next[at + i] = sigmoid(u[3 * H + i]) * Math.tanh(cell);
    }
  } },
};

// The network of one entry of "models". Its state: h of all layers, then an LSTM's c, and the contexts of its n-grams.
function networkModel(spec, V, tables = []) {
  const { cell, layers: L, hidden_size: H, residual, book } = spec, { gates, parts, step } = CELLS[cell];
  const weights = decoded(spec.weights);
  const rows = gates * H, layers = [...Array(L).keys()].map(index => ({
    input: weights[`${index}.input`], inputBias: weights[`${index}.input_bias`],
    state: weights[`${index}.state`], stateBias: weights[`${index}.state_bias`] ?? new Float32Array(rows),
  }));
  const E = weights["embedding.weight"] ? weights["embedding.weight"].length / V : 0;
  const grams = spec.tables === null ? null : ngramTables(tables[spec.tables], V);

  const network = (old, next, id) => {
    let output = new Float32Array(H), x;
    layers.forEach((layer, index) => {
      x = Float64Array.from(layer.inputBias);
      if (index) addProduct(x, layer.input, output, 0, H);
      else if (E) addProduct(x, layer.input, weights["embedding.weight"], id * E, E);
      else for (let row = 0; row < rows; row++) x[row] += layer.input[row * V + id];
      step(H, layer, x, old, next, index * H, L * H, book);
      const own = next.subarray(index * H, index * H + H);
      output = residual && index ? output.map((value, i) => value + own[i]) : own;
    });
    return output;
  };
  const linear = (name, vector) => {
    const out = Float64Array.from(weights[`${name}.bias`]);
    addProduct(out, weights[`${name}.weight`], vector, 0, vector.length);
    return out;
  };
  return {
    start: () => ({ hidden: new Float32Array(parts * L * H), contexts: grams?.start() }),
    step(state, id) {
      const hidden = new Float32Array(parts * L * H), output = network(state.hidden, hidden, id);
      const logits = linear("output", output);
      if (!grams) return { logProbabilities: logSoftmax(logits), state: { hidden } };
      const contexts = grams.next(state.contexts, id), { logs, seen } = grams.evidence(contexts);
      const gates = linear("gates", output);
      const within = seen.map((value, i) => (value - weights["order_gate.mean"][i]) / weights["order_gate.deviation"][i]);
      const byOrder = linear("order_gate.output", linear("order_gate.hidden", within).map(Math.tanh));
      for (let v = 0; v < V; v++) {
        logits[v] *= gates[0];
        for (let n = 0; n < logs.length; n++) logits[v] += (gates[1 + n] + byOrder[n]) * logs[n][v];
      }
      return { logProbabilities: logSoftmax(logits), state: { hidden, contexts } };
    },
  };
}

// --- counting ---

const HALF = 63, LARGEST_LOGIT = 8, SMALLEST_LOG = -12, MOST_DIVERGENCE = 5, LEAST_BACKOFF = 1e-7;  // models/packing.py

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

  const child = (context, id) => {
    if (context < 0) return -1;
    for (let i = first[context]; i < first[context + 1]; i++) if (last[i] === id) return i + 1;
    return -1;
  };
  const interpolated = ({ shares, backoff }, context, below) => {
    if (context < 0) return below;
    const out = below.map(value => value * backoff[context]);
    for (let i = first[context]; i < first[context + 1]; i++) out[last[i]] += shares[i];
    return out;
  };
  const uniform = new Float64Array(V).fill(1 / V);
  return {
    start: () => new Int32Array(K).fill(-1).fill(0, 0, 1),  // of 0 to K - 1 characters
    next: (contexts, id) => contexts.map((_, n) => n ? child(contexts[n - 1], id) : 0),
    probabilities: contexts => contexts.reduce((below, context) => interpolated(highest, context, below), uniform),
    // Log-probabilities by every order, and what the gate sees of each: entropy, largest log, divergence from the one below.
    evidence(contexts) {
      const logs = [], seen = [];
      let below = uniform;
      contexts.forEach((context, n) => {
        const own = interpolated(highest, context, below), log = own.map(Math.log);
        const lowerLog = logs[n - 1] ?? uniform.map(Math.log);
        const mean = of => own.reduce((sum, value, v) => sum + value * of(v), 0);
        seen.push(-mean(v => log[v]), Math.max(...log), Math.min(mean(v => log[v] - lowerLog[v]), MOST_DIVERGENCE));
        logs.push(log);
        if (n < K - 1) below = interpolated(lower, context, below);
      });
      return { logs, seen: Float64Array.from(seen) };
    },
  };
}

// The counting model: n-grams of one order, which back off to shorter ones. Its state: contexts of 0 to K - 1 characters.
function countingModel(spec, V) {
  const grams = ngramTables(spec.tables, V);
  return {
    start: grams.start,
    step(contexts, id) {
      const state = grams.next(contexts, id);
      return { logProbabilities: grams.probabilities(state).map(Math.log), state };
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
