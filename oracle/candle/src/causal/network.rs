//! The decoder of the Gemma 3 family: configuration, weights, and the forward pass with a cache of keys and values.

use rayon::prelude::*;

use super::gguf::Gguf;
use super::tokenizer::MOST_TOKENS;
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::attention::{KeyValues, Mask, Rows, attend};
use crate::kernels::int8::{Codes, Int8Weights, PANEL};
use crate::kernels::rows::{add, gated_gelu, rms_norm, scale};

/// Every sixth layer sees all positions; the others only a window of them.
const GLOBAL_EVERY: usize = 6;

/// Wave length base of the layers that see only a window.
const LOCAL_BASE: f32 = 10_000.0;

/// Rows handled together by one thread: enough to use each weight often, few enough to stay in its cache.
const CHUNK: usize = 72;

/// Panels of outputs that one thread takes at a time when there is one row.
const PANELS: usize = 8;

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) width: usize,
    layers: usize,
    inner: usize,
    heads: usize,
    kv_heads: usize,
    head: usize,
    pub(crate) vocabulary: usize,
    /// Positions the model was trained for.
    pub(crate) context: usize,
    window: usize,
    epsilon: f32,
    base: f32,
}

impl Config {
    fn read(gguf: &Gguf, vocabulary: usize) -> Result<Self> {
        let architecture = gguf.text("general.architecture")?;
        if architecture != "gemma3" {
            return Err(gguf.invalid(format!("its architecture is {architecture:?}, not gemma3")));
        }
        if gguf.has("gemma3.rope.scaling.factor") {
            return Err(gguf.invalid("its positions are scaled, which is not supported"));
        }
        let count = |key: &str, most: usize| gguf.count(&format!("gemma3.{key}"), most);
        let config = Self {
            width: count("embedding_length", 16_384)?,
            layers: count("block_count", 128)?,
            inner: count("feed_forward_length", 65_536)?,
            heads: count("attention.head_count", 128)?,
            kv_heads: count("attention.head_count_kv", 128)?,
            head: count("attention.key_length", 1024)?,
            vocabulary,
            context: count("context_length", 1 << 20)?,
            window: count("attention.sliding_window", 1 << 20)?,
            epsilon: gguf.number("gemma3.attention.layer_norm_rms_epsilon")?,
            base: gguf.number("gemma3.rope.freq_base")?,
        };
        let panels = [
            ("embedding_length", config.width),
            ("feed_forward_length", config.inner),
            ("attention.key_length", config.head),
            ("vocabulary", vocabulary),
        ];
        for (name, value) in panels {
            if !value.is_multiple_of(PANEL) {
                return Err(gguf.invalid(format!("{name} is {value}, not a multiple of {PANEL}")));
            }
        }
        if count("attention.value_length", 1024)? != config.head
            || !config.heads.is_multiple_of(config.kv_heads)
        {
            return Err(gguf.invalid("its heads do not go together"));
        }
        Ok(config)
    }

    fn query_width(&self) -> usize {
        self.heads * self.head
    }

    fn kv_width(&self) -> usize {
        self.kv_heads * self.head
    }

    fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.kv_width()
    }

    fn is_global(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(GLOBAL_EVERY)
    }
}

struct Layer {
    before_attention: Vec<f32>,
    qkv: Int8Weights,
    query_norm: Vec<f32>,
    key_norm: Vec<f32>,
    attended: Int8Weights,
    after_attention: Vec<f32>,
    before_inner: Vec<f32>,
    gate_and_up: Int8Weights,
    down: Int8Weights,
    after_inner: Vec<f32>,
    /// Positions that a position sees, itself included.
    window: usize,
    /// Angle of each pair of coordinates from one position to the next.
    turns: Vec<f64>,
}

/// A model's weights.
pub(crate) struct Network {
    pub(crate) config: Config,
    /// Embeddings of the tokens, which also make the scores of the next one.
    tokens: Int8Weights,
    output_norm: Vec<f32>,
    layers: Vec<Layer>,
    level: Level,
}

/// Keys and values of every layer, for the tokens read so far.
#[derive(Clone)]
pub(crate) struct State {
    /// By layer, then by head of keys and values.
    seen: Vec<Vec<KeyValues>>,
}

impl State {
    /// Positions read.
    pub(crate) fn count(&self) -> usize {
        self.seen
            .first()
            .and_then(|layer| layer.first())
            .map_or(0, KeyValues::count)
    }
}

/// One thread's buffers.
#[derive(Default)]
struct Workspace {
    codes: Codes,
    row: Vec<f32>,
    attended: Vec<f32>,
    out: Vec<f32>,
    inner: Vec<f32>,
    queries: Vec<f32>,
    heads: Vec<f32>,
    scores: Vec<f32>,
}

impl Network {
    pub(crate) fn read(gguf: &mut Gguf, vocabulary: usize, level: Level) -> Result<Self> {
        if vocabulary > MOST_TOKENS {
            return Err(gguf.invalid("its vocabulary is too large"));
        }
        let config = Config::read(gguf, vocabulary)?;
        let width = config.width;
        if gguf.has_tensor("output.weight") {
            return Err(gguf.invalid("its scores do not share the embeddings"));
        }
        let tokens = gguf.matrix(&[("token_embd.weight", vocabulary)], width)?;
        let output_norm = gguf.vector("output_norm.weight", width)?;
        let layers = (0..config.layers)
            .map(|index| Layer::read(gguf, &config, index))
            .collect::<Result<_>>()?;
        Ok(Self {
            config,
            tokens,
            output_norm,
            layers,
            level,
        })
    }

    /// The state before any token.
    pub(crate) fn start(&self) -> State {
        let config = &self.config;
        State {
            seen: vec![vec![KeyValues::new(config.head); config.kv_heads]; config.layers],
        }
    }

    /// Reads `tokens` after those of `state`; returns their last hidden states, normalised by the output norm:
    /// `tokens × width`. Runs on the current rayon pool. Tokens are below the vocabulary.
    pub(crate) fn read_on(&self, tokens: &[u32], state: &mut State) -> Vec<f32> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let (config, first) = (&self.config, state.count());
        let (width, qkv_width) = (config.width, config.qkv_width());
        let mut x = vec![0.0; tokens.len() * width];
        for (x, token) in x.chunks_exact_mut(width).zip(tokens) {
            self.tokens.row(self.level, *token as usize, x);
            scale(self.level, x, (width as f32).sqrt());
        }
        let mut qkv = vec![0.0; tokens.len() * qkv_width];
        let rows = tokens
            .len()
            .div_ceil(rayon::current_num_threads())
            .clamp(1, CHUNK);
        for (layer, seen) in self.layers.iter().zip(&mut state.seen) {
            x.par_chunks(rows * width)
                .zip(qkv.par_chunks_mut(rows * qkv_width))
                .enumerate()
                .for_each_init(Workspace::default, |work, (index, (x, qkv))| {
                    self.project(layer, first + index * rows, x, qkv, work);
                });
            for (head, seen) in seen.iter_mut().enumerate() {
                let part = |at: usize| Rows {
                    values: &qkv[at + head * config.head..],
                    stride: qkv_width,
                };
                let keys = part(config.query_width());
                let values = part(config.query_width() + config.kv_width());
                seen.extend(keys, values, tokens.len());
            }
            let seen: &[KeyValues] = seen;
            x.par_chunks_mut(rows * width)
                .zip(qkv.par_chunks(rows * qkv_width))
                .enumerate()
                .for_each_init(Workspace::default, |work, (index, (x, qkv))| {
                    self.attend(layer, seen, first + index * rows, x, qkv, work);
                    self.feed_forward(layer, x, work);
                });
        }
        let mut out = vec![0.0; x.len()];
        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            rms_norm(self.level, x, &self.output_norm, config.epsilon, out);
        }
        out
    }

    /// Scores of every token as the next one, from one normalised hidden state.
    pub(crate) fn scores(&self, hidden: &[f32]) -> Vec<f32> {
        let mut codes = Codes::default();
        codes.resize(1, self.config.width);
        codes.set(self.level, 0, &mut hidden.to_vec());
        let mut scores = vec![0.0; self.config.vocabulary];
        self.multiply(&self.tokens, &codes, 1, &mut scores);
        scores
    }

    /// Scores of some tokens as the next one.
    pub(crate) fn scores_of(&self, hidden: &[f32], tokens: &[u32]) -> Vec<f32> {
        let mut row = vec![0.0; self.config.width];
        let score = |token: &u32| {
            self.tokens.row(self.level, *token as usize, &mut row);
            row.iter().zip(hidden).map(|(a, b)| a * b).sum()
        };
        tokens.iter().map(score).collect()
    }

    /// `out ← codes·weightsᵀ`, a single row spread over the threads.
    fn multiply(&self, weights: &Int8Weights, codes: &Codes, rows: usize, out: &mut [f32]) {
        let (level, outputs) = (self.level, weights.outputs());
        if rows > 1 {
            let panels = 0..outputs / PANEL;
            return weights.multiply(level, codes, 0..rows, panels, None, (out, outputs));
        }
        let most = outputs / PANEL;
        let panels = (most / (4 * rayon::current_num_threads())).clamp(PANELS, 512);
        out[..outputs]
            .par_chunks_mut(panels * PANEL)
            .enumerate()
            .for_each(|(index, out)| {
                let own = index * panels..((index + 1) * panels).min(most);
                weights.multiply(level, codes, 0..1, own, None, (out, outputs));
            });
    }

    /// Queries, keys and values of the rows of `x`, the first of which is position `first`.
    fn project(
        &self,
        layer: &Layer,
        first: usize,
        x: &[f32],
        qkv: &mut [f32],
        work: &mut Workspace,
    ) {
        let (config, level) = (&self.config, self.level);
        let rows = x.len() / config.width;
        self.encode(x, &layer.before_attention, work);
        self.multiply(&layer.qkv, &work.codes, rows, qkv);
        let factor = 1.0 / (config.head as f32).sqrt();
        work.row.resize(config.head, 0.0);
        for (row, qkv) in qkv.chunks_exact_mut(config.qkv_width()).enumerate() {
            let turns: Vec<(f32, f32)> = layer
                .turns
                .iter()
                .map(|turn| {
                    let (sin, cos) = (turn * (first + row) as f64).sin_cos();
                    (sin as f32, cos as f32)
                })
                .collect();
            let (queries, rest) = qkv.split_at_mut(config.query_width());
            let queries = queries.chunks_exact_mut(config.head);
            let keys = rest[..config.kv_width()].chunks_exact_mut(config.head);
            let queries = queries.map(|query| (query, &layer.query_norm, factor));
            let keys = keys.map(|key| (key, &layer.key_norm, 1.0));
            for (vector, gain, factor) in queries.chain(keys) {
                rms_norm(level, vector, gain, config.epsilon, &mut work.row);
                turn(&work.row, &turns, factor, vector);
            }
        }
    }

    /// The rows of `x`, normalised, into the workspace's codes.
    fn encode(&self, x: &[f32], gain: &[f32], work: &mut Workspace) {
        let width = self.config.width;
        work.codes.resize(x.len() / width, width);
        work.row.resize(width, 0.0);
        for (row, x) in x.chunks_exact(width).enumerate() {
            rms_norm(
                self.level,
                x,
                gain,
                self.config.epsilon,
                &mut work.row[..width],
            );
            work.codes.set(self.level, row, &mut work.row[..width]);
        }
    }

    /// `x ← x + norm(attended(attention))`.
    fn attend(
        &self,
        layer: &Layer,
        seen: &[KeyValues],
        first: usize,
        x: &mut [f32],
        qkv: &[f32],
        work: &mut Workspace,
    ) {
        let (config, level) = (&self.config, self.level);
        let (rows, head) = (x.len() / config.width, config.head);
        let group = config.heads / config.kv_heads;
        let (own, whole) = (group * head, config.query_width());
        work.attended.resize(rows * whole, 0.0);
        work.heads.resize(rows * own, 0.0);
        for (index, seen) in seen.iter().enumerate() {
            work.queries.clear();
            for row in 0..rows {
                let at = row * config.qkv_width() + index * own;
                work.queries.extend_from_slice(&qkv[at..at + own]);
            }
            let queries = Rows {
                values: &work.queries,
                stride: head,
            };
            let mask = Mask::Causal {
                first,
                group,
                window: layer.window,
            };
            let out = (work.heads.as_mut_slice(), head);
            attend(
                level,
                (queries, rows * group),
                seen,
                mask,
                out,
                &mut work.scores,
            );
            for (row, heads) in work.heads.chunks_exact(own).take(rows).enumerate() {
                work.attended[row * whole + index * own..][..own].copy_from_slice(heads);
            }
        }
        work.codes.resize(rows, whole);
        for (row, attended) in work.attended.chunks_exact_mut(whole).take(rows).enumerate() {
            work.codes.set(level, row, attended);
        }
        work.out.resize(rows * config.width, 0.0);
        self.multiply(&layer.attended, &work.codes, rows, &mut work.out);
        self.merge(&layer.after_attention, x, work);
    }

    /// `x ← x + norm(down(gelu(gate(norm x))·up(norm x)))`.
    fn feed_forward(&self, layer: &Layer, x: &mut [f32], work: &mut Workspace) {
        let (config, level) = (&self.config, self.level);
        let (rows, inner) = (x.len() / config.width, config.inner);
        self.encode(x, &layer.before_inner, work);
        work.inner.resize(rows * 2 * inner, 0.0);
        self.multiply(&layer.gate_and_up, &work.codes, rows, &mut work.inner);
        work.codes.resize(rows, inner);
        for (row, both) in work
            .inner
            .chunks_exact_mut(2 * inner)
            .take(rows)
            .enumerate()
        {
            let (gate, up) = both.split_at_mut(inner);
            gated_gelu(level, gate, up);
            work.codes.set(level, row, gate);
        }
        self.multiply(&layer.down, &work.codes, rows, &mut work.out);
        self.merge(&layer.after_inner, x, work);
    }

    fn merge(&self, gain: &[f32], x: &mut [f32], work: &mut Workspace) {
        let width = self.config.width;
        work.row.resize(width.max(work.row.len()), 0.0);
        for (x, out) in x.chunks_exact_mut(width).zip(work.out.chunks_exact(width)) {
            let row = &mut work.row[..width];
            rms_norm(self.level, out, gain, self.config.epsilon, row);
            add(self.level, x, row);
        }
    }
}

impl Layer {
    fn read(gguf: &mut Gguf, config: &Config, index: usize) -> Result<Self> {
        let (width, inner, head) = (config.width, config.inner, config.head);
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let [q, k, v] = ["attn_q", "attn_k", "attn_v"].map(name);
        let (queries, kv) = (config.query_width(), config.kv_width());
        let (gate, up) = (name("ffn_gate"), name("ffn_up"));
        let global = config.is_global(index);
        let base = f64::from(if global { config.base } else { LOCAL_BASE });
        let turn = |pair: usize| base.powf(-2.0 * pair as f64 / head as f64);
        Ok(Self {
            before_attention: gguf.vector(&name("attn_norm"), width)?,
            qkv: gguf.matrix(&[(&q, queries), (&k, kv), (&v, kv)], width)?,
            query_norm: gguf.vector(&name("attn_q_norm"), head)?,
            key_norm: gguf.vector(&name("attn_k_norm"), head)?,
            attended: gguf.matrix(&[(&name("attn_output"), width)], queries)?,
            after_attention: gguf.vector(&name("post_attention_norm"), width)?,
            before_inner: gguf.vector(&name("ffn_norm"), width)?,
            gate_and_up: gguf.matrix(&[(&gate, inner), (&up, inner)], width)?,
            down: gguf.matrix(&[(&name("ffn_down"), width)], inner)?,
            after_inner: gguf.vector(&name("post_ffw_norm"), width)?,
            window: if global { usize::MAX } else { config.window },
            turns: (0..head / 2).map(turn).collect(),
        })
    }
}

/// Turns coordinate `i` with coordinate `i + half` by the angle whose (sine, cosine) are given, times `factor`.
fn turn(from: &[f32], turns: &[(f32, f32)], factor: f32, to: &mut [f32]) {
    let half = turns.len();
    let (low, high) = to.split_at_mut(half);
    for (i, (sin, cos)) in turns.iter().enumerate() {
        let (a, b) = (from[i] * factor, from[i + half] * factor);
        low[i] = a * cos - b * sin;
        high[i] = b * cos + a * sin;
    }
}
