"use strict";
// The models of the page, in plain functions: a network and a counting model step from one character to the next.
// Shapes: V symbols, L layers, H units, G gates of a cell, K orders of n-grams.

// --- arrays ---

const TYPES = { u8: Uint8Array, u16: Uint16Array, i8: Int8Array, f16: Uint16Array, f32: Float32Array, i32: Int32Array };

// The numbers of {type, data in base64, for 8-bit weights the scale of each row}; those of weights are Float32Arrays.
function numbers({ type, data, scale }) {
  const text = atob(data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const found = new TYPES[type](bytes.buffer);
  if (type === "f16") return Float32Array.from(found, half);
  if (!scale) return found;
  const scales = numbers(scale), columns = found.length / scales.length, weights = new Float32Array(found.length);
  for (let row = 0, i = 0; row < scales.length; row++) {
    const part = Math.fround(scales[row] / 127);
    for (const end = i + columns; i < end; i++) weights[i] = found[i] * part;
  }
  return weights;
}

const decoded = arrays => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, numbers(array)]));

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

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
  const linear = (name, vector) => {
    const out = Float64Array.from(weights[`${name}.bias`]);
    addProduct(out, weights[`${name}.weight`], vector, 0, vector.length, 0, out.length);
    return out;
  };
  return {
    start: () => ({ hidden: new Float32Array(parts * L * H), contexts: grams?.start() }),
    step(state, id) {
      const hidden = new Float32Array(parts * L * H), output = lastLayer(state.hidden, hidden, id);
      const logits = linear("output", output);
      if (!grams) return { logProbabilities: logSoftmax(logits), state: { hidden } };
      const contexts = grams.next(state.contexts, id), { logs, seen } = grams.evidence(contexts);
      const gate = linear("gates", output), mean = weights["order_gate.mean"], deviation = weights["order_gate.deviation"];
      const units = linear("order_gate.hidden", seen.map((value, i) => (value - mean[i]) / deviation[i]));
      const byOrder = linear("order_gate.output", Float32Array.from(units, Math.tanh));
      for (let v = 0; v < V; v++) logits[v] *= gate[0];
      logs.forEach((log, n) => { for (let v = 0; v < V; v++) logits[v] += (gate[1 + n] + byOrder[n]) * log[v]; });
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
    const out = new Float64Array(V);
    for (let v = 0; v < V; v++) out[v] = below[v] * backoff[context];
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
      return { logs, seen };
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
